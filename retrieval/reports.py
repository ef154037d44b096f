"""Reports on an index that take longer than a page may: asked for, made in steps, kept.

What is asked for stands on a row with a lease, like all of a worker's work. The steps of one
report live in the memory of the worker that makes it; if that is killed, another begins anew.
"""

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from retrieval import embedding_map, quality, sync
from retrieval.exceptions import KnowledgeBaseError
from retrieval.leases import free_of_others
from retrieval.models import Index, IndexReport

logger = logging.getLogger(__name__)

Steps = Generator[tuple[int, int], None, dict[str, Any]]
#: Seconds that a step may take before documents that wait have their turn.
STEP = 1.0
#: Workers that may die over a report before it is given up.
MAX_ATTEMPTS = 3
#: Ids of each kind of difference that are kept.
IDS_KEPT = 200


def differences(index: Index) -> Steps:
    """What differs between an index and its rows, with nothing repaired."""
    yield 0, 1
    drift = sync.compare(index)
    return {
        "counts": drift.counts,
        "missing": drift.missing[:IDS_KEPT],
        "stale": drift.stale[:IDS_KEPT],
        "orphaned": drift.orphaned[:IDS_KEPT],
    }


MAKERS: dict[str, Callable[[Index], Steps]] = {
    IndexReport.Kind.DIFFERENCES: differences,
    IndexReport.Kind.QUALITY: quality.audit,
    IndexReport.Kind.MAP: embedding_map.draw,
}


def request(index: Index, kind: str) -> IndexReport:
    """Have a report made; one that is being made already goes on."""
    with transaction.atomic():
        report, is_new = IndexReport.objects.select_for_update().get_or_create(
            index=index, kind=IndexReport.Kind(kind)
        )
        if not is_new and not report.is_unfinished:
            report.state = IndexReport.State.QUEUED
            report.requested_at = timezone.now()
            report.attempts = report.progress_done = report.progress_total = 0
            report.failure_message = ""
            report.save()
    return report


def cancel(index: Index, kind: str) -> bool:
    """Stop a report; what the run before found is kept. Returns whether there was one."""
    waiting = IndexReport.objects.unfinished().filter(index=index, kind=kind)
    kept = waiting.filter(made_at__isnull=False).update(
        state=IndexReport.State.DONE, lease_owner="", lease_until=None
    )
    dropped, _ = waiting.filter(made_at=None).delete()
    return bool(kept or dropped)


def claim(owner: str) -> IndexReport | None:
    """The report that was asked for first and that nobody makes, with a lease."""
    if not IndexReport.objects.claimable().exists():
        return None  # nearly always: without a lock
    with transaction.atomic():
        report = free_of_others(IndexReport.objects.claimable()).first()
        if report is None:
            return None
        report.attempts += 1
        given_up = report.attempts > MAX_ATTEMPTS
        report.state = IndexReport.State.FAILED if given_up else IndexReport.State.RUNNING
        report.failure_message = (
            f"The worker died {MAX_ATTEMPTS} times while it made this." if given_up else ""
        )
        report.lease_owner = "" if given_up else owner
        report.lease_until = (
            None if given_up else timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
        )
        report.save(
            update_fields=["attempts", "state", "failure_message", "lease_owner", "lease_until"]
        )
    return None if given_up else report


@dataclass(slots=True)
class ReportMaker:
    """Makes the reports that are asked for, one after the other, a step at a time."""

    owner: str
    _report: IndexReport | None = None
    _steps: Steps | None = None

    def step(self) -> bool:
        """Work on for about a second; returns whether there was anything to do."""
        if self._report is None or self._steps is None:
            self._report = claim(self.owner)
            if self._report is None:
                return False
            index = (
                Index.objects.select_related("embedding_model", "collection")
                .filter(pk=self._report.index_id)
                .first()
            )
            if index is None:  # dropped this moment
                self._forget()
                return True
            self._steps = MAKERS[self._report.kind](index)
        try:
            self._advance(self._report, self._steps)
        except KnowledgeBaseError as error:
            logger.warning("report %s: %s", self._report, error.message)
            self._finish(state=IndexReport.State.FAILED, failure_message=error.message)
        return True

    def give_back(self) -> None:
        """What was begun cannot go on: let it begin anew."""
        self._forget()
        IndexReport.objects.all().held_by(self.owner).release()

    def _advance(self, report: IndexReport, steps: Steps) -> None:
        until = time.monotonic() + STEP
        done, total = 0, 0
        while time.monotonic() < until:
            try:
                done, total = next(steps)
            except StopIteration as end:
                self._finish(state=IndexReport.State.DONE, data=end.value, made_at=timezone.now())
                return
        mine = IndexReport.objects.filter(pk=report.pk).held_by(self.owner)
        if not mine.update(progress_done=done, progress_total=total):
            # Cancelled, or its index was dropped.
            self._forget()

    def _finish(self, **changes: Any) -> None:
        if self._report is not None:
            IndexReport.objects.filter(pk=self._report.pk).held_by(self.owner).update(
                lease_owner="", lease_until=None, **changes
            )
        self._forget()

    def _forget(self) -> None:
        self._report = self._steps = None
