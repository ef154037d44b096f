"""The log of what was asked, written beside the searches that wait for nothing.

Rows collect in memory for a moment and are inserted together by one thread. A normal stop
writes what is left; a `kill -9` loses at most the last moment. A vote on a search that is not
written yet waits for it (`flush`, `find`).
"""

import atexit
import logging
import queue
import threading
import time
import uuid

from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction

from retrieval.models import Collection, Search

logger = logging.getLogger(__name__)

#: Rows in one INSERT, seconds that a row waits for others, and rows that may wait at all.
BATCH, PATIENCE, CAPACITY = 500, 0.2, 10_000
#: Seconds between attempts while the database does not take them.
RETRY = 0.5
#: Seconds within which another process has certainly written its rows.
SETTLED = 0.6


class QueryLog:
    """One per process. Its thread begins with the first row, so that a fork before is safe."""

    def __init__(self) -> None:
        self._rows: queue.Queue[Search] = queue.Queue(CAPACITY)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopping = threading.Event()

    def add(self, row: Search) -> None:
        """Have a row written soon; at once where the queue is full, so that none is lost."""
        self._start()
        try:
            self._rows.put_nowait(row)
        except queue.Full:
            row.save(force_insert=True)

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until everything that was added is written; returns whether it was."""
        deadline = time.monotonic() + seconds
        while self._rows.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)
        return not self._rows.unfinished_tasks

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=5)
            if self._rows.unfinished_tasks:
                logger.error("%d searches could not be logged", self._rows.unfinished_tasks)

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="query-log", daemon=True)
                self._thread.start()
                atexit.register(self.stop)

    def _run(self) -> None:
        try:
            while not (self._stopping.is_set() and self._rows.empty()):
                rows = self._take()
                if rows:
                    self._write(rows)
                    for _ in rows:
                        self._rows.task_done()
        finally:
            connection.close()

    def _take(self) -> list[Search]:
        """The rows that came within a moment of the first one."""
        try:
            rows = [self._rows.get(timeout=PATIENCE)]
        except queue.Empty:
            return []
        self._stopping.wait(PATIENCE)
        while len(rows) < BATCH:
            try:
                rows.append(self._rows.get_nowait())
            except queue.Empty:
                break
        return rows

    def _write(self, rows: list[Search]) -> None:
        while True:
            try:
                insert(rows)
                return
            except DatabaseError as error:
                connection.close()
                if self._stopping.is_set():
                    logger.error("%d searches could not be logged: %s", len(rows), error)
                    return
                logger.warning("searches cannot be logged yet: %s", error)
                self._stopping.wait(RETRY)


def insert(rows: list[Search]) -> None:
    """Write rows together; those of a collection that is gone by now go with it."""
    try:
        with transaction.atomic():
            Search.objects.bulk_create(rows)
    except IntegrityError:
        kept = set(
            Collection.objects.filter(pk__in={row.collection_id for row in rows}).values_list(
                "pk", flat=True
            )
        )
        with transaction.atomic():
            Search.objects.bulk_create([row for row in rows if row.collection_id in kept])


_log = QueryLog()


def write(row: Search) -> None:
    """Log a search."""
    if settings.QUERY_LOG_BESIDE:
        _log.add(row)
    else:
        row.save(force_insert=True)


def flush() -> None:
    """Wait until this process's rows are written."""
    _log.flush()


def find(query_id: uuid.UUID) -> Search | None:
    """A logged search, also one that was answered a moment ago, here or in another process."""
    deadline = time.monotonic() + SETTLED
    while (search := Search.objects.filter(pk=query_id).first()) is None:
        if not settings.QUERY_LOG_BESIDE or time.monotonic() > deadline:
            return None
        flush()
        time.sleep(0.05)
    return search
