"""The worker: indexes what waits, builds indexes, cleans up behind, keeps Chroma in step.

Any number may run. What one does is on rows with a lease, so one that dies is replaced by
whoever comes next.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models import F
from django.db.utils import OperationalError
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker as TaskRunner
from django_tasks_db.models import DBTaskResult

from retrieval import (
    addresses,
    aliases,
    indexing,
    maintenance,
    moving,
    reindex,
    sync,
    trials,
    usage,
)
from retrieval.evaluation_runs import Evaluator
from retrieval.exceptions import (
    KnowledgeBaseError,
    VectorStoreError,
    VectorStoreUnavailable,
)
from retrieval.feedback import grouping, proof
from retrieval.models import Acceptance, EvaluationRun, Index, IndexReport, Revision, Worker
from retrieval.models.worker import HEARTBEAT
from retrieval.reports import ReportMaker

logger = logging.getLogger(__name__)

#: Seconds between looks at an empty queue.
IDLE = 0.5
#: Pages of the web that are fetched at once, beside everything else.
FETCHERS = 4
#: Seconds between comparisons of Chroma with the rows, and between tries after a failure.
RECONCILE_EVERY = 15 * 60
RECONCILE_RETRY = 5
#: Seconds between looks whether Chroma answers at all: killed and started again, it may hold
#: damaged indexes or none, and nothing else would tell while nobody uploads.
PROBE_EVERY = 15
#: Seconds between looks for what has been deleted long enough.
PURGE_EVERY = 60 * 60
#: Seconds between sums of what was asked; where summing takes long, a small share of the time.
SUM_UP_EVERY = 60
SUM_UP_SHARE = 0.05
#: Seconds between looks for votes and badly answered questions that no group holds yet.
GATHER_EVERY = 3
KEEP_TASK_RESULTS = timedelta(days=7)
KEEP_WORKERS = timedelta(days=7)

_current: "WorkerProcess | None" = None


@contextmanager
def current_worker() -> Iterator["WorkerProcess"]:
    """The worker of this process; a short-lived one where none runs."""
    if _current is not None:
        yield _current
        return
    with WorkerProcess("task") as process:
        yield process


class WorkerProcess:
    """One worker's life, as a context manager: registered, heart beating, stopped."""

    def __init__(self, kind: str = "worker") -> None:
        self.host = socket.gethostname()[:200]
        self.name = f"{kind}-{os.getpid()}-{secrets.token_hex(4)}"
        self.stopping = threading.Event()
        self._done = threading.Event()
        self._doing = "starting"
        self._finished = 0
        self._counting = threading.Lock()
        self._pulse = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._second = ThreadPoolExecutor(max_workers=1, thread_name_prefix="second")
        self._beside: Future[None] | None = None
        self._fetchers = ThreadPoolExecutor(max_workers=FETCHERS, thread_name_prefix="fetch")
        self._fetches: set[Future[None]] = set()
        self._tasks = TaskRunner(
            queue_names=["*"],
            interval=0,
            batch=True,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id=self.name[:64],
            excluded_queue_names=[],
        )
        self._reports = ReportMaker(self.name)
        self._evaluations = Evaluator(self.name)
        self._reconcile_at = 0.0
        self._probe_at = 0.0
        self._chroma_was_away = False
        self._purge_at = 0.0
        self._build_at = 0.0
        self._sum_up_at = 0.0
        self._move_at = 0.0
        self._gather_at = 0.0
        self._prove_at = 0.0
        self._try_at = 0.0

    def __enter__(self) -> Self:
        global _current
        release_abandoned(self.host)
        Worker.objects.filter(seen_at__lt=timezone.now() - KEEP_WORKERS).delete()
        Worker.objects.create(name=self.name, host=self.host, pid=os.getpid(), doing=self._doing)
        self._pulse.start()
        _current = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _current
        _current = None
        self.stopping.set()
        self._second.shutdown()
        # A site may take its time; what is still being fetched is given back below.
        self._fetchers.shutdown(wait=False, cancel_futures=True)
        self._done.set()
        self._pulse.join(timeout=5)
        # What is still held was cut short by an error or a stop: others may have it at once.
        Revision.objects.all().held_by(self.name).release()
        Index.objects.all().held_by(self.name).release()
        self._reports.give_back()
        self._evaluations.give_back()
        Worker.objects.filter(name=self.name).update(
            stopped_at=timezone.now(), doing="", done_count=self._finished
        )

    def _beat(self) -> None:
        """Say that this worker lives and extend what it holds, on a connection of its own."""
        seconds = HEARTBEAT.total_seconds()
        while not self._done.wait(seconds):
            try:
                Worker.objects.filter(name=self.name).update(
                    seen_at=timezone.now(), doing=self._doing[:200], done_count=self._finished
                )
                Revision.objects.all().extend_lease(self.name, settings.LEASE_SECONDS)
                Index.objects.all().extend_lease(self.name, settings.LEASE_SECONDS)
                IndexReport.objects.all().extend_lease(self.name, settings.LEASE_SECONDS)
                EvaluationRun.objects.all().extend_lease(self.name, settings.LEASE_SECONDS)
            except OperationalError as error:
                logger.warning("heartbeat missed: %s", error)
                close_old_connections()
        connection.close()

    # --- What there is to do --------------------------------------------------------------

    def work_once(self) -> bool:
        """Do the next thing there is to do of each kind; False if there was nothing."""
        fetching = self._fetch_some()
        indexed = self._index_batch()
        built = self._build_step()
        moved = self._move_step()
        # However much there is to index: somebody waits for what was accepted.
        proved = self._prove_step()
        busy = indexed or built or moved or proved or self._clean_up()
        reported = self._reports.step()
        evaluated = self._evaluations.step() or self._trial_step()
        return reported or evaluated or busy or (fetching and self._wait_for_pages())

    def index_pending(self) -> int:
        """Index until nothing is due; returns the documents that were finished."""
        before = self._finished
        while not self.stopping.is_set():
            fetching = self._fetch_some()
            if not (self._index_batch() or (fetching and self._wait_for_pages())):
                break
        return self._finished - before

    def _fetch_some(self) -> bool:
        """Begin with pages that wait to be fetched; returns whether any is being fetched.

        Raises what stopped one of them, as if it had happened here.
        """
        done = {fetch for fetch in self._fetches if fetch.done()}
        self._fetches -= done
        for fetch in done:
            fetch.result()
        if free := FETCHERS - len(self._fetches):
            for revision in addresses.claim(self.name, free):
                self._fetches.add(self._fetchers.submit(self._fetch, revision))
        return bool(self._fetches)

    def _fetch(self, revision: Revision) -> None:
        try:
            addresses.fetch(self.name, revision)
        finally:
            connection.close()

    def _wait_for_pages(self) -> bool:
        """While nothing else is to be done: until a page is there, or for a moment."""
        wait(self._fetches, timeout=IDLE, return_when=FIRST_COMPLETED)
        return True

    def _index_batch(self) -> bool:
        revisions = indexing.claim(self.name)
        if not revisions:
            return self._wait_for_second()
        is_free = self._beside is None or self._beside.done()
        if is_free and len(revisions) == indexing.BATCH_DOCUMENTS:
            # There is more: while one thread embeds, on all cores, the other one prepares
            # its batch or writes it.
            self._wait_for_second()
            self._beside = self._second.submit(self._index_beside)
        self._process(revisions)
        return True

    def _process(self, revisions: list[Revision]) -> None:
        self._doing = f"indexing {len(revisions)} documents"
        error = indexing.process(self.name, revisions)
        if error is None:
            with self._counting:
                self._finished += len(revisions)
        elif isinstance(error, VectorStoreError):
            # Perhaps the index is damaged: look at once, not in a quarter of an hour.
            self._reconcile_at = min(self._reconcile_at, time.monotonic() + RECONCILE_RETRY)

    def _index_beside(self) -> None:
        """What the second thread does: index until nothing is due."""
        try:
            while not self.stopping.is_set() and (revisions := indexing.claim(self.name)):
                self._process(revisions)
        finally:
            connection.close()

    def _wait_for_second(self) -> bool:
        """Until the second thread has nothing to do; returns whether it had.

        Raises what stopped it, as if it had happened here.
        """
        beside, self._beside = self._beside, None
        if beside is None:
            return False
        beside.result()
        return True

    def _build_step(self) -> bool:
        if time.monotonic() < self._build_at:
            return False
        index = reindex.claim(self.name)
        if index is None:
            return False
        self._doing = f"building an index of {index.collection.slug}"
        try:
            reindex.step(index)
        except KnowledgeBaseError as error:
            logger.warning("building %s: %s", index.physical_name, error.message)
            Index.objects.filter(pk=index.pk).update(failure_message=error.message)
            self._build_at = time.monotonic() + RECONCILE_RETRY
            return False
        return True

    def _move_step(self) -> bool:
        if time.monotonic() < self._move_at:
            return False
        try:
            return moving.step()
        except KnowledgeBaseError as error:
            # They stay where they are, and are searched there, until it can go on.
            logger.warning("cannot move documents yet: %s", error.message)
            self._move_at = time.monotonic() + RECONCILE_RETRY
            return False

    def _prove_step(self) -> bool:
        """Show what an acceptance has changed, once it is searched."""
        if time.monotonic() < self._prove_at:
            return False
        try:
            return proof.step(self.name)
        except KnowledgeBaseError as error:
            logger.warning("cannot prove what was accepted yet: %s", error.message)
            self._prove_at = time.monotonic() + RECONCILE_RETRY
            return False

    def _trial_step(self) -> bool:
        """Take settings that are tried one step further."""
        if time.monotonic() < self._try_at:
            return False
        try:
            return trials.step()
        except KnowledgeBaseError as error:
            logger.warning("cannot go on with other settings yet: %s", error.message)
            self._try_at = time.monotonic() + RECONCILE_RETRY
            return False

    def _clean_up(self) -> bool:
        self._doing = "cleaning up"
        try:
            return indexing.clean_up() + aliases.clean_up() > 0
        except KnowledgeBaseError as error:
            # Retired rows stay where they are, and are cleaned when Chroma is back.
            logger.warning("cannot clean up yet: %s", error.message)
            return False

    def drain(self, progress: Callable[[], None] = lambda: None) -> None:
        """Work until nothing is due."""
        while not self.stopping.is_set() and self.work_once():
            progress()

    def run(self) -> None:
        """Work until told to stop."""
        logger.info("worker %s is ready", self.name)
        cut_short = False
        while not self.stopping.is_set():
            close_old_connections()
            try:
                if cut_short:
                    # The heartbeat would hold for ever what an error has left in work.
                    self._wait_for_second()
                    Revision.objects.all().held_by(self.name).release()
                    self._reports.give_back()
                    self._evaluations.give_back()
                    cut_short = False
                self._reconcile_when_due()
                self._probe_when_due()
                self._purge_when_due()
                self._sum_up_when_due()
                self._gather_when_due()
                self._tasks.run()
                busy = self.work_once()
            except OperationalError as error:
                logger.warning("the database does not answer: %s", error)
                busy, cut_short = False, True
            if not busy:
                self._doing = "waiting"
                self.stopping.wait(IDLE)
        logger.info("worker %s stops", self.name)

    def _probe_when_due(self) -> None:
        """Have everything compared at once when Chroma comes back, or back without an index."""
        now = time.monotonic()
        if now < self._probe_at:
            return
        self._probe_at = now + PROBE_EVERY
        live = [index for index in sync.active_indexes() if index.state == Index.State.LIVE]
        try:
            is_well = all(sync.answers(index) for index in live)
        except VectorStoreUnavailable:
            self._chroma_was_away = True
            return
        if self._chroma_was_away or not is_well:
            self._reconcile_at = 0.0
        self._chroma_was_away = False

    def _reconcile_when_due(self) -> None:
        """Compare every index with its rows at the start, then now and then."""
        now = time.monotonic()
        if now < self._reconcile_at:
            return
        self._doing = "comparing Chroma with the database"
        self._reconcile_at = now + RECONCILE_EVERY
        try:
            for index in sync.active_indexes():
                if self.stopping.is_set():
                    return
                if sync.is_damaged(index):
                    reindex.rebuild_damaged(index)
                elif index.state != Index.State.BUILDING:
                    sync.reconcile(index)
        except KnowledgeBaseError as error:
            logger.warning("cannot compare Chroma with the database yet: %s", error.message)
            self._reconcile_at = now + RECONCILE_RETRY

    def _purge_when_due(self) -> None:
        now = time.monotonic()
        if now < self._purge_at:
            return
        self._doing = "deleting what was deleted long ago"
        self._purge_at = now + PURGE_EVERY
        try:
            maintenance.clean_deleted_collections()
            maintenance.drop_old_indexes()
            maintenance.purge()
            grouping.forget_old()
        except KnowledgeBaseError as error:
            logger.warning("cannot delete old indexes yet: %s", error.message)
            self._purge_at = now + RECONCILE_RETRY
        DBTaskResult.objects.finished().filter(
            finished_at__lt=timezone.now() - KEEP_TASK_RESULTS
        ).delete()

    def _sum_up_when_due(self) -> None:
        """Sum up what was asked, one day at a time."""
        begin = time.monotonic()
        if begin < self._sum_up_at:
            return
        self._doing = "summing up searches"
        if usage.sum_up_next():
            return
        took = time.monotonic() - begin
        self._sum_up_at = begin + max(SUM_UP_EVERY, took / SUM_UP_SHARE)

    def _gather_when_due(self) -> None:
        """Put votes and badly answered questions into groups, a batch at a time."""
        now = time.monotonic()
        if now < self._gather_at:
            return
        self._doing = "grouping questions to review"
        if not grouping.gather():
            self._gather_at = now + GATHER_EVERY


def release_abandoned(host: str) -> int:
    """Give back what workers of this host hold whose process is gone; returns how many.

    Their leases would run out by themselves; this spares a restart the wait.
    """
    released = 0
    for worker in Worker.objects.filter(host=host, stopped_at=None):
        if _is_running(worker.pid):
            continue  # if it is not that worker any more, the lease decides
        released += Revision.objects.all().held_by(worker.name).abandon()
        Index.objects.all().held_by(worker.name).release()
        IndexReport.objects.all().held_by(worker.name).release()
        EvaluationRun.objects.all().held_by(worker.name).release()
        Acceptance.objects.filter(lease_owner=worker.name).update(lease_owner="", lease_until=None)
        Worker.objects.filter(pk=worker.pk).update(stopped_at=F("seen_at"), doing="")
    return released


def _is_running(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
