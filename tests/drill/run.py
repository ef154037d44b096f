"""The drill from the first process to the last line."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import connection

from retrieval.collections import create_collection
from retrieval.models import Collection, Revision
from tests.drill import scenarios, storm
from tests.drill.checks import Check, check_searches, check_state
from tests.drill.notes import Note, journalled, operations_of, outcome_of, write_operations
from tests.drill.processes import Service, services, wait_until
from tests.drill.searcher import Searcher

SLUG = "drill"
#: Seconds from the last kill until everything has to be in step, with nobody doing anything.
CONVERGE_WITHIN = 180.0
#: Over so many seconds per kill the acceptor spreads its work.
SECONDS_BETWEEN_KILLS = 2.0


@dataclass(slots=True)
class Drill:
    folder: Path
    seeds: list[int]
    notes: int
    kills: int
    key: str
    crew: dict[str, Service] = field(default_factory=dict)
    known: list[Note] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)
    passed: bool = True

    def run(self, setup: Callable[[], object]) -> bool:
        began = time.monotonic()
        logs = self.folder / "logs"
        logs.mkdir()
        self.crew = services(logs)
        database = connection.vendor
        say(f"data folder {self.folder}, database {database}, seeds {self.seeds}")
        setup()
        collection = create_collection(slug=SLUG, title="Drill")
        # Stopped by `kill` or `timeout`, it must not leave its processes behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for name in ("chroma", "worker", "web"):
                self.crew[name].start()
            assert wait_until(lambda: scenarios.answers(self.key, SLUG), 60), "web did not start"
            for number, seed in enumerate(self.seeds):
                self._storm(
                    collection,
                    seed,
                    share(self.notes, number, self.seeds),
                    share(self.kills, number, self.seeds),
                )
            self._scenarios(collection)
        finally:
            for name in ("acceptor", "web", "worker", "chroma"):
                if name in self.crew:
                    self.crew[name].stop()
        kills = sum(count for name, count in self.killed.items() if name != "acceptor")
        each = ", ".join(f"{name} {count}" for name, count in sorted(self.killed.items()))
        say("")
        say(
            f"{'PASSED' if self.passed else 'FAILED'}: {len(self.known)} notes, {kills} kills of "
            f"kbadmin's processes ({each}), {time.monotonic() - began:.0f} s"
        )
        return self.passed

    def _storm(self, collection: Collection, seed: int, notes: int, kills: int) -> None:
        folder = self.folder / f"storm-{seed}"
        folder.mkdir()
        operations = operations_of(seed, notes)
        write_operations(folder / "operations", operations)
        plan = storm.plan_of(seed, kills)
        kinds = Counter(operation.kind for operation in operations)
        what = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        say(f"\nstorm {seed}: {len(operations)} operations ({what}), {kills} kills")
        acceptor = storm.acceptor(SLUG, folder, SECONDS_BETWEEN_KILLS * len(plan))
        crew = {**self.crew, "acceptor": acceptor}
        before = {name: service.kills for name, service in crew.items()}
        journal = folder / "journal"
        finished = Revision.objects.filter(
            document__collection=collection, state=Revision.State.INDEXED
        )
        indexed_before = finished.count()

        def progress() -> storm.Progress:
            indexed = finished.count() - indexed_before
            return storm.Progress(len(journalled(journal)), indexed, len(operations))

        phrases = [operation.phrase for operation in operations if operation.phrase]
        with Searcher(settings.LOCAL_URL, self.key, SLUG, phrases) as searcher:
            acceptor.start()
            self.crew["acceptor"] = acceptor
            storm.rage(plan, crew, progress, say)
            calm = time.monotonic()
            done = wait_until(
                lambda: acceptor.process is not None and acceptor.process.poll() is not None,
                CONVERGE_WITHIN,
            )
            self.known += outcome_of(operations)
            wait_until(
                lambda: all(check.passed for check in check_state(collection, self.known)),
                CONVERGE_WITHIN - (time.monotonic() - calm),
                every=1,
            )
            took = time.monotonic() - calm
        for name, service in crew.items():
            self.killed[name] += service.kills - before[name]
        say(
            f"in step {took:.1f} s after the last start; the searches meanwhile: "
            + ", ".join(f"{count} {kind}" for kind, count in searcher.answers.most_common())
        )
        code = acceptor.process.returncode if done and acceptor.process else "still running"
        journal_wrong = []
        if code != 0 or len(journalled(journal)) != len(operations):
            journal_wrong.append(f"the acceptor ended with {code}, see {acceptor.log}")
        ended = [
            f"{name} ended with {code}" for name, service in crew.items() for code in service.ended
        ]
        self._report(
            [
                Check("operations accepted and in the journal", len(operations), journal_wrong),
                *self._state(collection),
                Check(
                    "searches during the storm, none answered with 5xx",
                    sum(searcher.answers.values()),
                    [kind for kind in searcher.answers if kind.startswith("5")],
                ),
                Check("processes, none ended by itself", len(crew), ended),
            ]
        )
        for service in crew.values():
            service.ended.clear()

    def _scenarios(self, collection: Collection) -> None:
        say("\nChroma's folder is deleted")
        found = scenarios.delete_chroma_folder(self.crew, collection, self.known, self.key, say)
        self._report(found, self._state(collection))
        if scenarios.is_persisting():  # with less than 1000 records it never does
            say("\nChroma is killed while it persists")
            found = scenarios.kill_while_persisting(
                self.crew, collection, self.known, self.key, say
            )
            self._report(found, self._state(collection))
        say("\nChroma is stopped")
        extra = outcome_of(
            operation for operation in operations_of(99, 12) if operation.kind == "add"
        )
        found = scenarios.stop_chroma(self.crew, collection, self.known, extra, self.key, say)
        self.known += extra
        self._report(found, self._state(collection))

    def _state(self, collection: Collection) -> list[Check]:
        return [
            *check_state(collection, self.known),
            *check_searches(self.known, settings.LOCAL_URL, self.key, SLUG),
        ]

    def _report(self, checks: list[Check], again: Sequence[Check] = ()) -> None:
        """Print a table; of the checks that are made `again`, only those that fail."""
        for check in [*checks, *(check for check in again if not check.passed)]:
            say(f"  {check}")
        checks = [*checks, *again]
        if again and all(check.passed for check in again):
            say(f"  ok    and the {len(again)} checks of the storms, again")
        self.passed = self.passed and all(check.passed for check in checks)


def share(total: int, number: int, parts: list[int]) -> int:
    """The number-th of nearly equal parts."""
    return total // len(parts) + (number < total % len(parts))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
