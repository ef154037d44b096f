import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from retrieval import calibration
from retrieval.calibration import Calibration, Decision
from retrieval.exceptions import CollectionNotFound, InvalidRequest, KnowledgeBaseError

WRONG_USE = 2


class Command(BaseCommand):
    help = "Learn how far to trust meaning and words in a collection, and when to be confident."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("collection", metavar="COLLECTION")
        parser.add_argument(
            "--questions", type=int, default=400, help="ask at most so many (default: 400)"
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="another seed draws other questions"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be decided, change nothing"
        )
        parser.add_argument("--json", action="store_true", help="print a report for programs")

    def handle(
        self,
        *args: Any,
        collection: str,
        questions: int,
        seed: int,
        dry_run: bool,
        json: bool,
        **options: Any,
    ) -> None:
        try:
            with tqdm(
                unit="question", file=self.stderr, mininterval=0.3 if self.stderr.isatty() else 10
            ) as bar:

                def progress(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                result = calibration.calibrate(
                    collection, most=questions, seed=seed, progress=progress
                )
            if not dry_run:
                calibration.adopt(result)
        except (CollectionNotFound, InvalidRequest) as error:
            raise CommandError(error.message, returncode=WRONG_USE) from error
        except KnowledgeBaseError as error:
            raise CommandError(error.message) from error
        if json:
            self.stdout.write(as_json(result, adopted=not dry_run))
        elif options["verbosity"] > 0:
            for decision in result.decisions:
                self.stdout.write(as_table(decision))
            self.stdout.write(as_sentence(result, dry_run))


def as_table(decision: Decision) -> str:
    """Every weight that was tried; the chosen one is marked."""
    lines = [
        f"\n{decision.script}: {decision.questions} questions",
        "  dense weight   MRR@10    hit@1",
    ]
    for row in decision.rows:
        marks = [
            mark
            for mark, weight in (("chosen", decision.chosen), ("model card", decision.declared))
            if abs(row.weight - weight) < 1e-9
        ]
        remark = f"   ← {', '.join(marks)}" if marks else ""
        lines.append(f"  {row.weight:12.2f}   {row.mrr:6.4f}   {row.hit_at_1:6.4f}{remark}")
    for made_of, pair in decision.thresholds.items():
        lines.append(f"  {made_of}: confidence low from {pair.low:.2f}, high from {pair.high:.2f}")
    return "\n".join(lines)


def as_sentence(result: Calibration, dry_run: bool) -> str:
    decided = ", ".join(
        f"{decision.chosen:.2f} for {decision.script} text" for decision in result.decisions
    )
    if not decided:
        return "Too few questions of any script: nothing was decided."
    verb = "would get" if dry_run else "has"
    return f"\n{result.collection} {verb} these weights of meaning: {decided} ({result.source})."


def as_json(result: Calibration, *, adopted: bool) -> str:
    record = result.as_json() | {"collection": result.collection, "adopted": adopted}
    return json.dumps(record, ensure_ascii=False, indent=2)
