"""Every file of the corpus of bad input goes the whole way that an upload goes.

Each ends as indexed, or as failed with a code of its own and a sentence that says what to do;
nothing hangs, and the memory of worker and sandbox together stays within bounds.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrieval.exceptions import FileTooLarge
from retrieval.ingest import accept
from retrieval.models import Collection, Document, Revision
from retrieval.parsers import sandbox
from tests.conftest import index_everything
from tests.retrieval.parsers import corpus

logger = logging.getLogger(__name__)

MEMORY = 1024**3
#: Generous: a quarter of it is enough for a machine that has nothing else to do.
SECONDS = 240


class Peak:
    """The most memory that this process has taken since, and its sandbox with it."""

    def __init__(self) -> None:
        self.bytes = 0
        self._before = sandbox.resident_bytes("self")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._done.wait(0.02):
            child = sandbox.resident_bytes(sandbox.shared.pid) if sandbox.shared.pid else 0
            grown = sandbox.resident_bytes("self") - self._before
            self.bytes = max(self.bytes, grown + child)


@contextmanager
def measured() -> Iterator[Peak]:
    peak = Peak()
    peak._thread.start()
    try:
        yield peak
    finally:
        peak._done.set()
        peak._thread.join()


@pytest.fixture
def small_limits(settings):
    settings.MAX_FILE_SIZE = corpus.MAX_FILE_SIZE
    settings.MAX_PAGES = corpus.MAX_PAGES
    settings.MAX_ZIP_ENTRIES = corpus.MAX_ZIP_ENTRIES
    settings.MAX_ZIP_SIZE = corpus.MAX_ZIP_SIZE
    settings.MAX_PARSE_SECONDS = 60.0


def offer(collection: Collection, name: str, data: bytes) -> str:
    """Accept a file as an upload does; returns the code if it is refused at the door."""
    try:
        accept(
            collection, external_id=name, filename=name, data=data, origin=Document.Origin.UPLOAD
        )
    except FileTooLarge as error:
        return error.code
    return ""


def ends(collection: Collection) -> dict[str, Revision]:
    rows = Revision.objects.filter(document__collection=collection).select_related("document")
    return {row.document.external_id: row for row in rows}


def end_of(revision: Revision) -> str:
    indexed = revision.state == Revision.State.INDEXED
    return "indexed" if indexed else revision.failure_code or f"still {revision.state}"


def test_the_corpus_is_large_and_has_no_twins():
    made = [case.make() for case in corpus.CORPUS if case.name != "line-50mb.txt"]
    assert len(made) >= 60
    filled = [data for data in made if data]
    assert len(set(filled)) == len(filled)


@pytest.mark.timeout(SECONDS + 60)
def test_every_file_ends_as_it_has_to(collection, small_limits):
    refused = {}
    started = time.monotonic()
    with measured() as peak:
        for case in corpus.CORPUS:
            if code := offer(collection, case.name, case.make()):
                refused[case.name] = code
        index_everything()
    seconds = time.monotonic() - started
    rows = ends(collection)
    found = refused | {
        case.name: end_of(rows[case.name]) for case in corpus.CORPUS if case.name in rows
    }
    expected = {case.name: case.expected for case in corpus.CORPUS}
    wrong = {
        name: f"{found.get(name)}, not {expected[name]}"
        for name in expected
        if found.get(name) != expected[name]
    }
    assert not wrong
    assert not [name for name, row in rows.items() if row.is_unfinished or row.lease_owner]
    for name, row in rows.items():
        if row.state == Revision.State.FAILED:
            assert len(row.failure_message) > 30, name
            assert row.failure_message.endswith((".", ".)")), (name, row.failure_message)
            assert str(Path.cwd()) not in row.failure_message
    assert end_of(rows["good.zip/a/b.md"]) == "indexed"
    assert peak.bytes < MEMORY, f"{peak.bytes / 1024**2:.0f} MB"
    assert seconds < SECONDS, f"{seconds:.0f} s"
    logger.info("%d files, %.0f s, %.0f MB", len(expected), seconds, peak.bytes / 1024**2)
