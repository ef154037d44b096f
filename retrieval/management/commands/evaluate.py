import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from retrieval import evaluation
from retrieval.evaluation import Change, Comparison, QuestionSet
from retrieval.exceptions import InvalidRequest, KnowledgeBaseError
from retrieval.models import Collection, EvaluationRun
from retrieval.search import MAX_TOP_K
from retrieval.types import Mode

WRONG_USE = 2
#: Questions that got worse or better of which a comparison shows this many.
SHOWN = 10
REASONS = {
    "empty": "ask nothing",
    "unanswerable": "are marked as unanswerable",
    "without_document": "have no document in this collection that answers them",
}


class Command(BaseCommand):
    help = "Measure how well a collection answers questions whose documents are known."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("collection", metavar="COLLECTION")
        parser.add_argument(
            "--questions",
            type=Path,
            metavar="FILE",
            help="SQuAD-style .json, .csv (question,document) or .jsonl; "
            "without it, the golden set of the collection",
        )
        parser.add_argument(
            "--mode", choices=[str(mode) for mode in Mode], help="as the collection has it"
        )
        parser.add_argument("--name", default="", metavar="LABEL", help="what the run is called")
        parser.add_argument("--top-k", type=int, default=10, metavar="K", help="passages (10)")
        parser.add_argument("--sample", type=int, metavar="N", help="ask N of the questions")
        parser.add_argument("--seed", type=int, default=0, help="which N (0)")
        parser.add_argument(
            "--compare", type=int, metavar="RUN", help="question by question with an earlier run"
        )
        parser.add_argument("--json", action="store_true", help="print a report for programs")

    def handle(self, *args: Any, collection: str, **options: Any) -> None:
        target = Collection.objects.alive().filter(slug=collection).first()
        if target is None:
            known = ", ".join(Collection.objects.alive().values_list("slug", flat=True)) or "none"
            raise wrong_use(f"There is no collection {collection!r}. There are: {known}.")
        earlier = self._earlier(options["compare"])
        if not 1 <= options["top_k"] <= MAX_TOP_K:
            raise wrong_use(f"--top-k must lie between 1 and {MAX_TOP_K}.")
        try:
            stored = self._run(target, self._questions(target, options), options)
        except InvalidRequest as error:
            raise wrong_use(error.message) from error
        except KnowledgeBaseError as error:
            raise CommandError(error.message) from error
        comparison, refusal = None, None
        if earlier:
            try:
                comparison = evaluation.compare(earlier, stored)
            except InvalidRequest as error:
                refusal = error  # the run itself is worth its report
        if options["json"]:
            self.stdout.write(as_json(stored, earlier, comparison))
        else:
            self.stdout.write("\n".join(report_of(stored)))
            if earlier and comparison:
                lines = report_of_comparison(earlier, stored, comparison)
                self.stdout.write("\n".join(["", *lines]))
        if refusal:
            raise wrong_use(refusal.message)

    def _earlier(self, run_id: int | None) -> EvaluationRun | None:
        if run_id is None:
            return None
        earlier = EvaluationRun.objects.filter(pk=run_id).first()
        if earlier is None:
            raise wrong_use(f"There is no evaluation run {run_id} to compare with.")
        return earlier

    def _questions(self, target: Collection, options: dict[str, Any]) -> QuestionSet:
        if options["questions"] is None:
            questions = evaluation.judgments_as_questions(target)
        else:
            questions = evaluation.load_questions(options["questions"])
        if options["sample"] is None:
            return questions
        if options["sample"] < 1:
            raise wrong_use("--sample must be at least 1.")
        if options["seed"] < 0:
            raise wrong_use("--seed must not be negative.")
        return questions.sample(options["sample"], options["seed"])

    def _run(
        self, target: Collection, questions: QuestionSet, options: dict[str, Any]
    ) -> EvaluationRun:
        with tqdm(
            unit="question",
            file=self.stderr,
            # A log file gets a line now and then instead of a bar that redraws itself.
            mininterval=0.3 if self.stderr.isatty() else 10,
        ) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return evaluation.run(
                target,
                questions,
                mode=options["mode"],
                top_k=options["top_k"],
                name=options["name"],
                progress=progress,
            )


def wrong_use(message: str) -> CommandError:
    return CommandError(message, returncode=WRONG_USE)


def report_of(stored: EvaluationRun) -> list[str]:
    """A run for people, line by line."""
    named = f" ({stored.name})" if stored.name else ""
    lines = [
        f"Run {stored.pk}{named}: {stored.collection.slug}, {stored.mode}, top {stored.top_k}, "
        f"{stored.question_count} questions from {stored.questions_source} "
        f"in {stored.seconds:.1f} s",
        f"settings {stored.fingerprint[:12]}",
        "",
        f"{'':<10} {'mean':>6}   95 % interval",
    ]
    for name, interval in stored.metrics.items():
        lines.append(
            f"{name:<10} {interval['mean']:>6.3f}   {interval['low']:.3f} to {interval['high']:.3f}"
        )
    notes = [
        f"{stored.left_out[reason]} questions were left out: they {text}."
        for reason, text in REASONS.items()
        if stored.left_out.get(reason)
    ]
    if stored.left_out.get("unknown_documents"):
        examples = ", ".join(stored.left_out["examples"][:5])
        more = " …" if stored.left_out["unknown_documents"] > 5 else ""
        notes.append(
            f"{stored.left_out['unknown_documents']} documents are not in the collection: "
            f"{examples}{more}"
        )
    if stored.degraded_count:
        notes.append(
            f"DEGRADED: {stored.degraded_count} of {stored.question_count} answers lacked a part "
            "of the search. Run it again when every part is up."
        )
    return [*lines, "", *notes] if notes else lines


def report_of_comparison(
    before: EvaluationRun, after: EvaluationRun, comparison: Comparison
) -> list[str]:
    lines = [
        f"Against run {before.pk} ({before.name or before.fingerprint[:12]}, {before.mode}): "
        f"{len(comparison.won)} questions won, {len(comparison.lost)} lost, "
        f"{comparison.unchanged} unchanged"
    ]
    if comparison.only_before or comparison.only_after:
        lines.append(
            f"over the {comparison.common} questions that both asked; {comparison.only_before} "
            f"only run {before.pk} asked, {comparison.only_after} only run {after.pk}"
        )
    lines += ["", f"{'':<10} {'change':>7}   95 % interval"]
    for name, interval in comparison.differences.items():
        verdict = "" if interval.excludes_zero else "   may be chance"
        lines.append(
            f"{name:<10} {interval.mean:>+7.3f}   {interval.low:+.3f} to {interval.high:+.3f}"
            f"{verdict}"
        )
    for title, changes in (("lost", comparison.lost), ("won", comparison.won)):
        if changes:
            lines += ["", f"{title} (rank before → after):", *shown(changes)]
    return lines


def shown(changes: Iterable[Change]) -> list[str]:
    changes = list(changes)
    lines = [
        f"  {change.before or '-':>3} → {change.after or '-':<3} {change.question}"
        for change in changes[:SHOWN]
    ]
    if len(changes) > SHOWN:
        lines.append(f"  and {len(changes) - SHOWN} more; --json has all")
    return lines


def as_json(
    stored: EvaluationRun, earlier: EvaluationRun | None, comparison: Comparison | None
) -> str:
    report: dict[str, Any] = {
        "run": stored.pk,
        "name": stored.name,
        "collection": stored.collection.slug,
        "mode": stored.mode,
        "top_k": stored.top_k,
        "fingerprint": stored.fingerprint,
        "settings": stored.settings,
        "questions": stored.question_count,
        "questions_from": stored.questions_source,
        "questions_hash": stored.questions_hash,
        "left_out": stored.left_out,
        "degraded": stored.degraded_count,
        "metrics": stored.metrics,
        "seconds": stored.seconds,
    }
    if earlier and comparison:
        report["comparison"] = {
            "with": earlier.pk,
            "common": comparison.common,
            "only_before": comparison.only_before,
            "only_after": comparison.only_after,
            "unchanged": comparison.unchanged,
            "won": [asdict(change) for change in comparison.won],
            "lost": [asdict(change) for change in comparison.lost],
            "differences": {
                name: asdict(interval) for name, interval in comparison.differences.items()
            },
        }
    return json.dumps(report, ensure_ascii=False, indent=2)
