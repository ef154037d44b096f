"""What reviewers read of the queue, and what they decide without changing the knowledge base.

Reads cost the same few queries however long the queue is: pages follow each other by the place of
their last row (harm, then primary key), which an index holds in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Count, Q, Sum
from django.utils import timezone

from retrieval import usage
from retrieval.exceptions import InvalidRequest, ReviewConflict
from retrieval.models import (
    Chunk,
    Collection,
    Feedback,
    ReviewItem,
    ReviewQuestion,
    ReviewSighting,
    Search,
)
from retrieval.models.review import ReviewItemQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGE = 50
#: Days of "asked 14 times by 9 people this week", today included.
WEEK = 7
#: Of a group, wordings and votes that are shown.
SHOWN = 50
MAX_NOTES = 4000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of the queue: what is left empty does not matter."""

    collection: int | None = None
    state: str = ""  #: empty: open or assigned
    assignee: int | None = None
    reason: str = ""
    text: str = ""  #: a part of the question


@dataclass(frozen=True, slots=True)
class Row:
    item: ReviewItem
    week_asked: int
    week_askers: int


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[Row]
    after: str  #: where the next page begins; empty on the last one


@dataclass(frozen=True, slots=True)
class Shown:
    """A passage of an answer, as it is now."""

    rank: int
    score: float
    chunk_id: int
    document_id: int
    title: str
    heading_path: Sequence[str]
    text: str
    is_live: bool  #: whether search may still return it
    is_at_fault: bool  #: somebody named it


@dataclass(frozen=True, slots=True)
class Details:
    row: Row
    questions: Sequence[ReviewQuestion]  #: the most frequent ones
    votes: Sequence[Feedback]  #: the newest ones
    search: Search | None  #: the newest one that is logged
    passages: Sequence[Shown] = field(default_factory=tuple)  #: of that search

    @property
    def correction(self) -> str:
        """The newest one that somebody gave."""
        return next((vote.correction for vote in self.votes if vote.correction), "")

    @property
    def answer(self) -> str:
        """What was answered: as a channel told it, else the best passage."""
        told = next((vote.answer for vote in self.votes if vote.answer), "")
        return told or (self.passages[0].text if self.passages else "")


# --- Reads ------------------------------------------------------------------------------------


def read_page(wanted: Wanted, after: str = "", size: int = PAGE) -> Page:
    """The next rows after a place, worst first, in two queries.

    Raises InvalidRequest if `after` is no place.
    """
    rows = select(wanted)
    if after:
        harm, pk = _place(after)
        rows = rows.filter(Q(harm__lt=harm) | Q(harm=harm, pk__lt=pk), harm__lte=harm)
    items = list(
        rows.by_harm()
        .select_related("collection", "assignee")
        .defer("vector", "terms", "notes")[: size + 1]
    )
    more = len(items) > size
    items = items[:size]
    return Page(_with_week(items), f"{items[-1].harm!r}~{items[-1].pk}" if more else "")


def select(wanted: Wanted) -> ReviewItemQuerySet:
    # No join: one could become what the rows are read by, and the index would not sort them.
    gone = Collection.objects.filter(deleted_at__isnull=False)
    rows = ReviewItem.objects.exclude(collection__in=gone.values("pk"))
    rows = rows.filter(state=wanted.state) if wanted.state else rows.open()
    for name in ("collection", "assignee", "reason"):
        if value := getattr(wanted, name):
            rows = rows.filter(**{name: value})
    return rows.filter(question__icontains=wanted.text) if wanted.text else rows


def _place(after: str) -> tuple[float, int]:
    harm, _, pk = after.partition("~")
    try:
        place = float(harm), int(pk)
    except ValueError:
        place = -1.0, -1
    if not (0 <= place[0] < float("inf") and 0 < place[1] < 2**63):
        raise InvalidRequest("There is no such place in the queue. Begin at its start.")
    return place


def _with_week(items: Sequence[ReviewItem]) -> list[Row]:
    since = usage.today() - timedelta(days=WEEK - 1)
    counts = {
        item: (times or 0, people)
        for item, times, people in ReviewSighting.objects.filter(
            item__in=[item.pk for item in items], day__gte=since
        )
        .values_list("item")
        .annotate(Sum("times"), people=Count("asker", filter=~Q(asker=""), distinct=True))
    }
    rows = []
    for item in items:
        times, people = counts.get(item.pk, (0, 0))
        rows.append(Row(item, times, max(people, 1) if times else people))
    return rows


def read_details(item_id: int) -> Details:
    """Everything about a group that a reviewer decides by, in eight queries at most.

    Raises ReviewItem.DoesNotExist.
    """
    item = ReviewItem.objects.select_related("collection", "assignee", "closed_by").get(pk=item_id)
    questions = list(item.questions.order_by("-asked", "pk")[:SHOWN])
    votes = list(
        Feedback.objects.filter(item=item)
        .select_related("search", "chunk", "document", "reviewer")
        .order_by("-updated_at")[:SHOWN]
    )
    named = [question.last_search for question in questions if question.last_search]
    newest = Search.objects.filter(pk__in=named).order_by("-created_at").first()
    # What was voted on says more than what was asked last.
    voted = next((vote.search for vote in votes if vote.search and vote.rating == -1), None)
    search = voted or newest
    return Details(
        row=_with_week([item])[0],
        questions=questions,
        votes=votes,
        search=search,
        passages=_passages(search, votes) if search else (),
    )


def _passages(search: Search, votes: Sequence[Feedback]) -> list[Shown]:
    logged: list[dict[str, Any]] = search.results
    ids = [result["chunk_id"] for result in logged]
    live = set(Chunk.objects.live().filter(pk__in=ids).values_list("pk", flat=True))
    chunks = Chunk.objects.select_related("document").in_bulk(ids)
    at_fault = {vote.chunk_id for vote in votes}
    documents = {vote.document_id for vote in votes if vote.document_id}
    return [
        Shown(
            rank=result["rank"],
            score=result["score"],
            chunk_id=chunk.pk,
            document_id=chunk.document_id,
            title=str(chunk.document),
            heading_path=chunk.heading_path,
            text=chunk.text,
            is_live=chunk.pk in live,
            is_at_fault=chunk.pk in at_fault or chunk.document_id in documents,
        )
        for result in logged
        if (chunk := chunks.get(result["chunk_id"])) is not None
    ]


# --- Decisions --------------------------------------------------------------------------------


def assign(item_id: int, user: "User | None") -> ReviewItem:
    """Give a group to somebody, or back to everybody. Raises ReviewConflict if it is closed."""
    with transaction.atomic():
        item = lock_open(item_id)
        item.assignee = user
        item.state = ReviewItem.State.ASSIGNED if user else ReviewItem.State.OPEN
        item.save(update_fields=["assignee", "state"])
    return item


def note(item_id: int, *, reason: str | None = None, notes: str | None = None) -> ReviewItem:
    """Say why a group is there, or what to remember of it. Raises InvalidRequest."""
    if reason and reason not in ReviewItem.Reason.values:
        raise InvalidRequest(f"{reason} is no reason; choose one of the list.")
    if notes and len(notes) > MAX_NOTES:
        raise InvalidRequest(f"Notes may have {MAX_NOTES:,} characters; these have {len(notes):,}.")
    changes = {"reason": reason, "notes": notes}
    changes = {name: value for name, value in changes.items() if value is not None}
    ReviewItem.objects.filter(pk=item_id).update(**changes)
    return ReviewItem.objects.get(pk=item_id)


def reject(item_id: int, user: "User", *, reason: str = "", notes: str | None = None) -> ReviewItem:
    """Close a group without changing anything; its votes are rejected with it.

    Raises ReviewConflict if somebody has closed it already, or InvalidRequest.
    """
    with transaction.atomic():
        lock_open(item_id)
        item = note(item_id, reason=reason or None, notes=notes)
        close(item, user, ReviewItem.State.REJECTED)
    return item


def reopen(item_id: int) -> ReviewItem:
    """Put a rejected group back into the queue; what was accepted is rolled back instead.

    Raises ReviewConflict if it is not rejected.
    """
    with transaction.atomic():
        item = ReviewItem.objects.select_for_update(of=("self",)).get(pk=item_id)
        if item.state != ReviewItem.State.REJECTED:
            raise ReviewConflict("This question is not rejected, or not any more.")
        item.reopen()
        item.save()
        reopen_votes(item)
    return item


def lock_open(item_id: int) -> ReviewItem:
    """The group, locked until the transaction ends. Raises ReviewConflict if it is closed."""
    item = (
        ReviewItem.objects.select_for_update(of=("self",))
        .select_related("collection", "closed_by")
        .get(pk=item_id)
    )
    if not item.is_open:
        who = item.closed_by.get_username() if item.closed_by else "Somebody"
        raise ReviewConflict(f"{who} has closed this question meanwhile. Load it again.")
    return item


def close(item: ReviewItem, user: "User", state: ReviewItem.State) -> None:
    """Close a group that is locked, and decide on its votes."""
    now = timezone.now()
    item.state, item.is_open, item.closed_at, item.closed_by = state, False, now, user
    item.save(update_fields=["state", "is_open", "closed_at", "closed_by"])
    decided = (
        Feedback.State.ACCEPTED if state == ReviewItem.State.ACCEPTED else Feedback.State.REJECTED
    )
    Feedback.objects.filter(item=item, state=Feedback.State.PENDING).update(
        state=decided, reviewer=user, closed_at=now
    )


def reopen_votes(item: ReviewItem) -> None:
    Feedback.objects.filter(item=item).exclude(state=Feedback.State.PENDING).update(
        state=Feedback.State.PENDING, reviewer=None, closed_at=None
    )
