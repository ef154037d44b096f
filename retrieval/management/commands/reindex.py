import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from retrieval import reindex, trials
from retrieval.collections import prepare_model
from retrieval.exceptions import KnowledgeBaseError
from retrieval.models import Collection, Index, Trial, Worker
from retrieval.worker import WorkerProcess

#: Seconds between looks at how far the workers are.
POLL = 0.5


class Command(BaseCommand):
    help = "Build an index beside the live one with other settings, then switch to it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("collection", metavar="COLLECTION")
        parser.add_argument("--model", help="embedding model, by name or folder")
        parser.add_argument("--space", choices=Collection.Space.values)
        parser.add_argument("--chunk-size", type=int, metavar="N")
        parser.add_argument("--chunk-overlap", type=int, metavar="N")
        parser.add_argument("--ef-construction", type=int, metavar="N")
        parser.add_argument("--ef-search", type=int, metavar="N")
        parser.add_argument("--max-neighbors", type=int, metavar="N")
        parser.add_argument(
            "--rollback", action="store_true", help="go back to the index that was live before"
        )
        parser.add_argument(
            "--cancel", action="store_true", help="give up the index that is being built"
        )
        parser.add_argument(
            "--cleanup", action="store_true", help="drop the retired indexes of COLLECTION now"
        )
        parser.add_argument(
            "--no-wait", action="store_true", help="leave the work to the worker and return"
        )

    def handle(self, *args: Any, collection: str, **options: Any) -> None:
        target = (
            Collection.objects.alive()
            .select_related("live_index__embedding_model", "live_index__replaces")
            .filter(slug=collection)
            .first()
        )
        if target is None:
            raise CommandError(f"There is no collection {collection!r}.", returncode=2)
        try:
            self._run(target, options)
        except KnowledgeBaseError as error:
            raise CommandError(error.message) from error

    def _run(self, target: Collection, options: dict[str, Any]) -> None:
        if options["cancel"]:
            building = Index.objects.building().filter(collection=target)
            for index in building.select_related("collection", "embedding_model"):
                reindex.cancel(index)
            self.stdout.write("Cancelled; the live index was not touched.")
            return
        if options["cleanup"]:
            count = reindex.drop_retired(collection=target)
            self.stdout.write(f"{count} retired indexes dropped.")
            return
        if options["rollback"]:
            index = reindex.rollback(target)
        else:
            index = trials.reindex_or_try(target, **self._changes(options))
        if options["no_wait"]:
            self.stdout.write(f"{index.physical_name} is being built; the worker goes on with it.")
            return
        self._follow(index)

    def _changes(self, options: dict[str, Any]) -> dict[str, Any]:
        names = (
            "space",
            "chunk_size",
            "chunk_overlap",
            "ef_construction",
            "ef_search",
            "max_neighbors",
        )
        changes = {name: options[name] for name in names if options[name] is not None}
        if options["model"]:
            changes["embedding_model"] = prepare_model(options["model"], self.stdout.write)
        return changes

    def _follow(self, index: Index) -> None:
        """Show progress until the index is live; do the work if no worker lives."""
        with tqdm(
            total=index.progress_total,
            unit="doc",
            file=self.stderr,
            mininterval=0.3 if self.stderr.isatty() else 10,
        ) as bar:

            def refresh() -> None:
                index.refresh_from_db()
                bar.total = index.progress_total
                bar.update(index.progress_done - bar.n)

            refresh()
            while index.state == Index.State.BUILDING or self._is_measured(index):
                if Worker.objects.alive().exists():
                    time.sleep(POLL)
                else:
                    with WorkerProcess("reindex") as process:
                        process.drain(refresh)
                    time.sleep(POLL)
                refresh()
        if index.state == Index.State.READY:
            raise CommandError(
                "The index is built and does not go live by itself: the golden set is answered "
                "worse, or could not be asked. Decide it on the collection's page."
            )
        if index.state != Index.State.LIVE:
            raise CommandError(f"The index was not switched to: {index.failure_message}")
        self.stdout.write(
            f"{index.collection.slug} is served by {index.physical_name} now: "
            f"{index.embedding_model}, {index.space}, chunks of {index.chunk_size} tokens. "
            f"To undo it: manage.py reindex {index.collection.slug} --rollback"
        )

    def _is_measured(self, index: Index) -> bool:
        """Whether the golden set is still asked of a built index before it may go live."""
        return Trial.objects.filter(index=index, state=Trial.State.MEASURING).exists()
