"""How votes and reviews go: in a few bounded queries, however many there are."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import median

from django.db.models import Count, Min, QuerySet
from django.utils import timezone

from retrieval import usage
from retrieval.models import Acceptance, Collection, Feedback, ReviewItem
from retrieval.models.review import ReviewItemQuerySet

#: The newest votes, among which those of a range are counted.
VOTES_READ = 10_000
#: The newest closed questions, of whose times the median is told.
CLOSED_READ = 1_000
CLOSED_WITHIN = timedelta(days=30)


@dataclass(slots=True)
class Votes:
    up: int = 0
    down: int = 0

    @property
    def number(self) -> int:
        return self.up + self.down

    @property
    def satisfaction(self) -> float | None:
        """Per cent that found the answer helpful; None where nobody voted."""
        return 100 * self.up / self.number if self.number else None

    def add(self, rating: int | None) -> None:
        if rating == Feedback.Rating.UP:
            self.up += 1
        else:
            self.down += 1


@dataclass(frozen=True, slots=True)
class Satisfaction:
    total: Votes = field(default_factory=Votes)
    #: by the Monday that a week begins with: only those in which somebody voted
    weeks: Mapping[date, Votes] = field(default_factory=dict)
    #: by the primary key of a collection
    collections: Mapping[int, Votes] = field(default_factory=dict)
    is_capped: bool = False  #: whether there are older votes in the range, which are not counted


def week_of(day: date) -> date:
    """The Monday that its week begins with."""
    return day - timedelta(days=day.weekday())


def weeks(first: date, last: date) -> list[date]:
    """The Mondays of all weeks of a range."""
    begin = week_of(first)
    return [begin + timedelta(weeks=n) for n in range((last - begin).days // 7 + 1)]


def satisfaction(first: date, last: date, collection: int | None = None) -> Satisfaction:
    """Votes from one day to another, both included, of one collection or of all.

    Two queries, which read at most the newest VOTES_READ votes.
    """
    votes = _votes(collection)
    newest = votes[: VOTES_READ + 1].aggregate(
        number=Count("pk"), first=Min("pk"), at=Min("created_at")
    )
    is_cut = newest["number"] > VOTES_READ
    begin, end = usage.midnight(first), usage.midnight(last + timedelta(days=1))
    if is_cut:
        votes = votes.filter(pk__gt=newest["first"])
    rows = votes.filter(rating__isnull=False, created_at__gte=begin, created_at__lt=end)
    total = Votes()
    by_week: dict[date, Votes] = defaultdict(Votes)
    by_collection: dict[int, Votes] = defaultdict(Votes)
    for place, created_at, rating in rows.values_list("collection", "created_at", "rating"):
        total.add(rating)
        by_week[week_of(usage.day_of(created_at))].add(rating)
        by_collection[place].add(rating)
    is_capped = is_cut and newest["at"] >= begin
    return Satisfaction(total, dict(sorted(by_week.items())), dict(by_collection), is_capped)


def open_items(collection: int | None = None) -> QuerySet[ReviewItem]:
    """Questions that wait for a review."""
    return _items(collection).open()


def improved(first: date, last: date, collection: int | None = None) -> QuerySet[ReviewItem]:
    """Questions for which an acceptance became final in a range of days and still is."""
    final = Acceptance.objects.filter(
        state=Acceptance.State.FINAL,
        final_at__gte=usage.midnight(first),
        final_at__lt=usage.midnight(last + timedelta(days=1)),
    )
    return _items(collection).filter(pk__in=final.values("item"))


def time_to_close(collection: int | None = None) -> timedelta | None:
    """The median time from when a question was first asked until a reviewer closed it, of those
    closed within CLOSED_WITHIN; None where there is none."""
    closed = (
        _items(collection)
        .filter(closed_at__gte=timezone.now() - CLOSED_WITHIN)
        .order_by("-closed_at")
        .values_list("closed_at", "first_asked_at")[:CLOSED_READ]
    )
    times = [(end - begin).total_seconds() for end, begin in closed if end is not None]
    return timedelta(seconds=max(median(times), 0)) if times else None


def _votes(collection: int | None) -> QuerySet[Feedback]:
    """Newest first."""
    votes = Feedback.objects.order_by("-pk")
    if collection is not None:
        return votes.filter(collection=collection)
    return votes.exclude(collection__in=_gone())


def _items(collection: int | None) -> ReviewItemQuerySet:
    if collection is not None:
        return ReviewItem.objects.filter(collection=collection)
    # No join: one could become what the rows are read by.
    return ReviewItem.objects.exclude(collection__in=_gone())


def _gone() -> QuerySet[Collection, int]:
    return Collection.objects.filter(deleted_at__isnull=False).values_list("pk", flat=True)
