"""What needs somebody, worst first: one sentence each, and one thing to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kbadmin.pages import parts as system
from kbadmin.pages.bounded import Count, count
from kbadmin.pages.revisions import latest_revisions
from retrieval import usage
from retrieval.admin import trial_state
from retrieval.admin.index_state import differences
from retrieval.feedback import queue
from retrieval.models import Acceptance, Collection, Document, Index, Search, Trial

FAILURES_SHOWN = 5
#: Indexes that are looked at, and those that are told of.
INDEXES_READ, INDEXES_SHOWN = 100, 3
TRIALS_SHOWN = 3
#: How long a difference that was repaired is worth telling.
DRIFT_TOLD = timedelta(days=1)
#: The searches among which questions with weak answers are looked for.
WEAK_DAYS, WEAK_READ, WEAK_SHOWN = timedelta(days=7), 300, 5


@dataclass(frozen=True, slots=True)
class Item:
    #: failed (something does not work) or low (somebody should look)
    tone: str
    icon: str
    sentence: str
    detail: str = ""
    action: str = ""  #: words of the link or button; none where this user may not act
    url: str = ""
    is_post: bool = False


@dataclass(frozen=True, slots=True)
class Attention:
    failed: Count
    failures: list[Document]
    items: list[Item]

    @property
    def is_calm(self) -> bool:
        return not self.failed and not self.items

    @property
    def number(self) -> int:
        return len(self.items) + (1 if self.failed else 0)


def attention(request: HttpRequest) -> Attention:
    """All of it, in a fixed number of bounded queries."""
    failed = count(latest_revisions().failed())
    return Attention(
        failed=failed,
        failures=latest_failures() if failed else [],
        items=[
            *indexes(request),
            *waiting_settings(request),
            *parts(request),
            *feedback(request),
            *weak_questions(request),
        ],
    )


def latest_failures() -> list[Document]:
    revisions = (
        latest_revisions()
        .failed()
        .select_related("document__collection")
        .defer("text", "metadata")
        .order_by("-state_at")[:FAILURES_SHOWN]
    )
    documents = []
    for revision in revisions:
        revision.document.latest_revision = revision
        documents.append(revision.document)
    return documents


def indexes(request: HttpRequest) -> list[Item]:
    """Damaged ones, new ones that cannot be built, and those that had drifted."""
    rows = (
        Index.objects.filter(
            state__in=[Index.State.LIVE, Index.State.BUILDING, Index.State.DAMAGED],
            collection__deleted_at=None,
        )
        .select_related("collection__live_index")
        .order_by("-pk")[:INDEXES_READ]
    )
    found = [item for row in rows if (item := _of_index(request, row)) is not None]
    return sorted(found, key=lambda item: item.tone != "failed")[:INDEXES_SHOWN]


def _of_index(request: HttpRequest, index: Index) -> Item | None:
    words = {"collection": index.collection.title}
    page = reverse("admin:retrieval_collection_change", args=[index.collection_id])
    may_look = request.user.has_perm("retrieval.view_collection")
    see = (_("See the index"), page) if may_look else ("", "")
    if index.state == Index.State.DAMAGED:
        if index.pk != index.collection.live_index_id:
            return None
        text = _("The index of %(collection)s is damaged; a new one is built beside it.")
        return Item("failed", "database_off", text % words, index.failure_message, *see)
    if index.state == Index.State.BUILDING:
        if not index.failure_message:
            return None
        text = _("The new index of %(collection)s cannot be built yet.")
        return Item("failed", "database_off", text % words, index.failure_message, *see)
    drift = differences(index)
    is_recent = index.checked_at and index.checked_at > timezone.now() - DRIFT_TOLD
    if not (any(drift.values()) and is_recent):
        return None
    text = _("The index of %(collection)s had drifted from the database and was repaired.")
    detail = _("%(missing)s missing, %(stale)s stale, %(orphaned)s orphaned records.") % drift
    if request.user.has_perm("retrieval.change_collection"):
        again = reverse("admin:retrieval_collection_reconcile", args=[index.collection_id])
        return Item(
            "low", "difference", text % words, detail, _("Compare again"), again, is_post=True
        )
    return Item("low", "difference", text % words, detail, *see)


def waiting_settings(request: HttpRequest) -> Iterator[Item]:
    """Settings that were measured and do not go live unless somebody says so."""
    if not request.user.has_perm("retrieval.view_collection"):
        return
    waiting = trial_state.opened().filter(state=Trial.State.WAITING).order_by("created_at")
    for trial in waiting[:TRIALS_SHOWN]:
        words = {"collection": trial.collection.title}
        text = _("New settings of %(collection)s wait for a decision.")
        page = reverse("admin:retrieval_collection_change", args=[trial.collection_id])
        detail = trial_state.TrialState(trial).sentence
        yield Item("low", "rule", text % words, detail, _("Decide"), f"{page}#kb-index")


def parts(request: HttpRequest) -> Iterator[Item]:
    """Parts of the installation that do not work, in the words of the status page."""
    see = ("", "")
    if request.user.has_perm("retrieval.view_index"):
        see = (_("See the status"), reverse("admin:status"))
    for part, icon in (
        (system.chroma(), "cloud_off"),
        (system.model(), "hub"),
        (system.disk(), "hard_drive"),
    ):
        if part.tone == "failed" or (part.tone == "low" and icon == "hard_drive"):
            yield Item(part.tone, icon, f"{part.name}: {part.sentence}", "", *see)
    worker = system.worker()
    # Without work, a worker that is away is missed by nobody.
    if worker.tone == "failed" and latest_revisions().unfinished().exists():
        yield Item("failed", "hourglass_empty", f"{worker.name}: {worker.sentence}", "", *see)


def feedback(request: HttpRequest) -> Iterator[Item]:
    if not request.user.has_perm("retrieval.view_feedback"):
        return
    waiting = count(queue.select(queue.Wanted()))
    if waiting:
        text = ngettext(
            "%(n)s question with a bad answer or a vote waits for a review.",
            "%(n)s questions with a bad answer or a vote wait for a review.",
            waiting.number,
        )
        url = reverse("admin:review")
        yield Item("low", "thumbs_up_down", text % {"n": waiting}, "", _("Review"), url)
    undecided = count(
        Acceptance.objects.filter(
            state=Acceptance.State.WAITING, item__collection__deleted_at=None
        ).order_by("pk")
    )
    if undecided:
        text = ngettext(
            "%(n)s accepted correction would make others worse: it waits for a decision.",
            "%(n)s accepted corrections would make others worse: they wait for a decision.",
            undecided.number,
        )
        url = reverse("admin:review")
        yield Item("low", "trending_down", text % {"n": undecided}, "", _("Decide"), url)


def weak_questions(request: HttpRequest) -> Iterator[Item]:
    """Questions whose newest answer cannot be relied on: a good answer ends it."""
    if not request.user.has_perm("retrieval.view_search"):
        return
    recent = Search.objects.filter(created_at__gte=timezone.now() - WEAK_DAYS)
    asked = usage.read(recent.order_by("-created_at"), WEAK_READ)
    weak = [question for question in usage.questions(asked) if question.newest.is_weak]
    # Those of deleted collections are nobody's business any more.
    collections = Collection.objects.alive().in_bulk({row.newest.collection_id for row in weak})
    weak = [question for question in weak if question.newest.collection_id in collections]
    for question in weak[:WEAK_SHOWN]:
        search = question.newest
        collection = collections[search.collection_id]
        if not search.result_count:
            found = _("Nothing was found.")
        elif search.confidence == Search.Confidence.LOW:
            found = _("What was found fits it only in part.")
        else:
            found = _("What was found hardly fits it.")
        times = ngettext("Asked once.", "Asked %(n)d times.", question.times)
        yield Item(
            "low",
            "help",
            _("“%(question)s”") % {"question": search.query[:160]},
            f"{collection.title}: {found} {times % {'n': question.times}}",
            _("Try it"),
            playground_url(collection, search.query),
        )


def playground_url(collection: Collection, question: str) -> str:
    """The playground with this question asked."""
    asked = urlencode({"collection": collection.slug, "q": question})
    return f"{reverse('admin:playground')}?{asked}"
