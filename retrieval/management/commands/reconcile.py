import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from retrieval import reindex, sync
from retrieval.exceptions import KnowledgeBaseError
from retrieval.models import Collection, Index


class Command(BaseCommand):
    help = "Compare Chroma with the database and repair what differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--collection", metavar="SLUG", help="only this one")
        parser.add_argument("--dry-run", action="store_true", help="report, repair nothing")
        parser.add_argument("--json", action="store_true", help="print a report for programs")

    def handle(
        self,
        *args: Any,
        collection: str | None,
        dry_run: bool,
        **options: Any,
    ) -> None:
        indexes = [index for index in sync.active_indexes() if index.state == Index.State.LIVE]
        if collection is not None:
            if not Collection.objects.alive().filter(slug=collection).exists():
                raise CommandError(f"There is no collection {collection!r}.", returncode=2)
            indexes = [index for index in indexes if index.collection.slug == collection]
        try:
            reports = [self._report(index, dry_run) for index in indexes]
        except KnowledgeBaseError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps({"repaired": not dry_run, "indexes": reports}, indent=2))
            return
        for report in reports:
            self.stdout.write(as_sentence(report, dry_run))

    def _report(self, index: Index, dry_run: bool) -> dict[str, Any]:
        report: dict[str, Any] = {
            "collection": index.collection.slug,
            "index": index.physical_name,
            "damaged": sync.is_damaged(index),
        }
        if report["damaged"]:
            if not dry_run:
                report["rebuilt_as"] = reindex.rebuild_damaged(index).physical_name
            return report
        drift = sync.compare(index) if dry_run else sync.reconcile(index)
        return {**report, **drift.counts}


def as_sentence(report: dict[str, Any], dry_run: bool) -> str:
    name = report["collection"]
    if report["damaged"]:
        after = "." if dry_run else "; the worker builds it again beside."
        return f"{name}: Chroma cannot read this index{after}"
    differs = [
        f"{report[kind]} {kind}"
        for kind in ("missing", "stale", "orphaned", "wrong_dimension")
        if report.get(kind)
    ]
    if not differs:
        return f"{name}: {report['expected']} chunks, all in Chroma."
    done = "found" if dry_run else f"repaired; {report['embedded']} texts embedded"
    return f"{name}: {report['expected']} chunks; {', '.join(differs)}: {done}."
