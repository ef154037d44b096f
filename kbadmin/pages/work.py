"""What is being done now: documents by stage, indexes being built, comparisons."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy
from django_tasks_db.models import DBTaskResult

from kbadmin.pages.bounded import CAP, Count, count
from kbadmin.pages.revisions import latest_revisions
from retrieval import tasks
from retrieval.models import Index, Revision, Worker

WORKERS_SHOWN = 5
INDEXES_SHOWN = 10
COMPARISONS_SHOWN = 10
DOCUMENTS_SHOWN = 5
#: A task whose worker was killed stays marked as running for ever.
COMPARISON_LASTS = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Stage:
    name: Any
    state: str
    number: Count


@dataclass(frozen=True, slots=True)
class Comparison:
    """An index that is compared with the database, or waits for it."""

    key: str
    index: Index
    is_running: bool


@dataclass(frozen=True, slots=True)
class Work:
    stages: list[Stage]
    documents: list[Revision]  #: some of those in work, longest first
    building: list[Index]
    comparisons: list[Comparison]
    workers: list[Worker]

    @property
    def unfinished(self) -> int:
        return sum(stage.number.number for stage in self.stages)

    @property
    def is_running(self) -> bool:
        """Whether the page has something to look at again soon."""
        return bool(self.unfinished or self.building or self.comparisons)


def now() -> Work:
    """In six bounded queries, whatever there is."""
    in_work = latest_revisions().in_work()
    # As many as workers hold leases for; what waits may be the whole knowledge base.
    states = Counter(in_work.order_by().values_list("state", flat=True)[: CAP + 1])
    waiting = latest_revisions().filter(state=Revision.State.QUEUED)
    stages = [Stage(gettext_lazy("waiting"), Revision.State.QUEUED, count(waiting))]
    stages += [
        Stage(state.label, state, Count(min(states[state], CAP), states[state] > CAP))
        for state in Revision.IN_WORK
    ]
    return Work(
        stages=stages,
        documents=list(
            in_work.select_related("document__collection")
            .defer("text", "metadata")
            .order_by("state_at")[:DOCUMENTS_SHOWN]
        ),
        building=list(
            Index.objects.building()
            .select_related("collection", "embedding_model")
            .order_by("pk")[:INDEXES_SHOWN]
        ),
        comparisons=comparisons(),
        workers=list(Worker.objects.alive().order_by("-seen_at")[:WORKERS_SHOWN]),
    )


def comparison_tasks() -> "QuerySet[DBTaskResult[Any, Any]]":
    """Those that wait, and those that were begun not too long ago to be still running."""
    of_indexes = DBTaskResult.objects.filter(task_path=tasks.reconcile_index.module_path)
    recent = of_indexes.running().filter(started_at__gte=timezone.now() - COMPARISON_LASTS)
    return of_indexes.ready() | recent


def comparisons() -> list[Comparison]:
    rows = list(comparison_tasks().order_by("enqueued_at")[:COMPARISONS_SHOWN])
    indexes = Index.objects.select_related("collection").in_bulk(
        [row.args_kwargs["args"][0] for row in rows]
    )
    return [
        Comparison(str(row.pk), index, row.started_at is not None)
        for row in rows
        if (index := indexes.get(row.args_kwargs["args"][0])) is not None
    ]
