import json
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import F
from tqdm import tqdm

from retrieval.exceptions import SourceError
from retrieval.folders import Failure, FolderReport, accept_folders
from retrieval.models import Chunk, Collection, Document, Revision, Worker

#: Seconds between looks at how far the workers are.
POLL = 0.3
#: Documents in one query: SQLite takes a limited number of parameters.
LOOKUP_BATCH = 900
WRONG_USE = 2


class Command(BaseCommand):
    help = "Read folders of Markdown into a collection."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--collection", required=True, metavar="SLUG")
        parser.add_argument(
            "--prune", action="store_true", help="delete documents that are gone from PATH"
        )
        parser.add_argument(
            "--wait", action="store_true", help="return when everything is indexed or failed"
        )
        parser.add_argument(
            "--keep-duplicates",
            action="store_true",
            help="index files whose bytes another document has, too",
        )
        parser.add_argument("--json", action="store_true", help="print a report for programs")

    def handle(
        self,
        *args: Any,
        paths: list[Path],
        collection: str,
        prune: bool,
        wait: bool,
        keep_duplicates: bool,
        json: bool,
        **options: Any,
    ) -> None:
        started = time.monotonic()
        target = Collection.objects.alive().filter(slug=collection).first()
        if target is None:
            known = ", ".join(Collection.objects.alive().values_list("slug", flat=True)) or "none"
            raise CommandError(
                f"There is no collection {collection!r}. There are: {known}.", returncode=WRONG_USE
            )
        try:
            report = accept_folders(target, paths, prune=prune, keep_duplicates=keep_duplicates)
        except SourceError as error:
            raise CommandError(error.message, returncode=WRONG_USE) from error
        if wait:
            given = set(report.given)
            self._wait_for(target, given)
            members = members_of(target, given)
            self._wait_for(target, members)
            report.failed += failures_of(target, given | members)
        seconds = time.monotonic() - started
        if json:
            self.stdout.write(as_json(target, report, seconds))
        elif options["verbosity"] > 0:
            self.stdout.write(as_sentence(report, wait, seconds))
            for failure in report.failed:
                self.stderr.write(f"failed: {failure.external_id}: {failure.message}")
        if report.failed:
            raise SystemExit(1)

    def _wait_for(self, collection: Collection, given: set[str]) -> None:
        """Until none of the given documents is unfinished; does the work if no worker lives."""
        unfinished = still_unfinished(collection, given)
        if not unfinished:
            return
        chunks_before = Chunk.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        with tqdm(
            total=len(unfinished),
            unit="doc",
            file=self.stderr,
            # A log file gets a line now and then instead of a bar that redraws itself.
            mininterval=0.3 if self.stderr.isatty() else 10,
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n}/{total} documents, "
            "{rate_fmt}{postfix}, {remaining} left",
        ) as bar:
            began = time.monotonic()

            def refresh() -> set[str]:
                left = still_unfinished(collection, unfinished)
                newest = Chunk.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
                rate = (newest - chunks_before) / max(time.monotonic() - began, 0.001)
                bar.set_postfix_str(f"{rate:.0f} chunks/s", refresh=False)
                bar.update(len(unfinished) - len(left) - bar.n)
                return left

            while refresh():
                if Worker.objects.alive().exists():
                    time.sleep(POLL)
                else:
                    self._work(refresh)

    def _work(self, refresh: Any) -> None:
        from retrieval.worker import WorkerProcess

        with WorkerProcess("ingest") as process:
            process.drain(refresh)
        time.sleep(POLL)  # what is left is due later, or held by somebody


def still_unfinished(collection: Collection, external_ids: set[str]) -> set[str]:
    """Which of these documents have a latest revision that is not finished."""
    rows = Revision.objects.unfinished().filter(document__collection=collection)
    return set(rows.values_list("document__external_id", flat=True)) & external_ids


def members_of(collection: Collection, external_ids: set[str]) -> set[str]:
    """The documents that came out of the archives among the given ones."""
    archives = [
        document.member_source
        for document in Document.objects.filter(
            collection=collection, latest_revision__failure_code="unpacked"
        ).only("pk", "external_id")
        if document.external_id in external_ids
    ]
    rows = Document.objects.filter(collection=collection, deleted_at=None, source__in=archives)
    return set(rows.values_list("external_id", flat=True))


def failures_of(collection: Collection, given: set[str]) -> list[Failure]:
    """The given documents whose latest revision failed, with its reason."""
    return [
        Failure(external_id, code, message)
        for external_id, code, message in Revision.objects.failed()
        .filter(
            document__collection=collection,
            document__deleted_at=None,
            document__latest_revision=F("pk"),
        )
        .values_list("document__external_id", "failure_code", "failure_message")
        if external_id in given
    ]


def as_json(collection: Collection, report: FolderReport, seconds: float) -> str:
    return json.dumps(
        {
            "collection": collection.slug,
            "added": len(report.added),
            "updated": len(report.updated),
            "unchanged": len(report.unchanged),
            "retried": len(report.retried),
            "duplicate": len(report.duplicate),
            "removed": len(report.removed),
            "failed": len(report.failed),
            "left_out": report.left_out,
            "seconds": round(seconds, 3),
            "documents": {
                "added": report.added,
                "updated": report.updated,
                "retried": report.retried,
                "duplicate": report.duplicate,
                "removed": report.removed,
                "failed": [
                    {
                        "external_id": failure.external_id,
                        "code": failure.code,
                        "message": failure.message,
                    }
                    for failure in report.failed
                ],
            },
        },
        ensure_ascii=False,
        indent=2,
    )


def as_sentence(report: FolderReport, waited: bool, seconds: float) -> str:
    parts = [
        f"{len(part)} {name}"
        for name, part in (
            ("added", report.added),
            ("updated", report.updated),
            ("unchanged", report.unchanged),
            ("tried again", report.retried),
            ("duplicate", report.duplicate),
            ("removed", report.removed),
            ("failed", report.failed),
        )
        if part or name in {"added", "unchanged", "failed"}
    ]
    rest = (
        "."
        if waited or not (report.added or report.updated or report.retried)
        else ("; the worker indexes them now.")
    )
    if report.left_out:
        parts.append(f"{report.left_out} left out, being of kinds that cannot be read")
    return f"{', '.join(parts)} in {seconds:.1f} s{rest}"
