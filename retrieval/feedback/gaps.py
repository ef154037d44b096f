"""Topics that people ask about and the knowledge base cannot answer, over time.

A topic is a group of questions (`ReviewItem`) that were answered without confidence, or of which
a reviewer said that their content is missing. Reads cost the same few queries however many there
are: pages follow each other by harm, then primary key, which an index holds in order.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, IntegerField, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from retrieval import usage
from retrieval.exceptions import InvalidRequest
from retrieval.feedback.numbers import week_of, weeks
from retrieval.models import Collection, ReviewItem, ReviewQuestion, ReviewSighting
from retrieval.models.review import ReviewItemQuerySet

PAGE = 25
#: Of what waits for a review, so much is looked through for a page: the worst of it.
LOOKED_AT = 3_000
#: Rows that an export reads at once.
BATCH = 200
#: Wordings of one topic that are listed.
WORDINGS = 30


class Trend(StrEnum):
    NEW = "new"  #: first asked in the range
    GROWING = "growing"  #: asked more often than in as many days before
    STEADY = "steady"
    GONE = "gone"  #: asked in as many days before, but no more


@dataclass(frozen=True, slots=True)
class Span:
    """Days from one to another, both included, of one collection or of all."""

    first: date
    last: date
    collection: int | None = None

    @property
    def before(self) -> date:
        """The first of as many days before."""
        return self.first - (self.last - self.first) - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Topic:
    item: ReviewItem
    trend: Trend
    asked: int  #: times within the span
    asked_before: int  #: and in as many days before
    people: int  #: who asked within the span
    weeks: Mapping[date, int] = field(default_factory=dict)  #: times, for each Monday of the span


@dataclass(frozen=True, slots=True)
class Page:
    topics: Sequence[Topic]
    after: str  #: where the next page begins; empty on the last one


def waiting(span: Span) -> ReviewItemQuerySet:
    """All that waits for a review."""
    gone = Collection.objects.filter(deleted_at__isnull=False)
    rows = ReviewItem.objects.open().exclude(collection__in=gone.values("pk"))
    return rows if span.collection is None else rows.filter(collection=span.collection)


def select(span: Span, trend: str = "", most: int | None = LOOKED_AT) -> ReviewItemQuerySet:
    """Open topics that were asked about in a span, or before it where they are gone since; only
    among so many of what waits for a review, the worst of it, or among all."""
    rows = waiting(span)
    if most is not None:
        rows = ReviewItem.objects.filter(pk__in=rows.by_harm().values("pk")[:most])
    rows = rows.exclude(reason=ReviewItem.Reason.NOT_OURS)
    rows = rows.filter(
        Q(none_count__gt=0) | Q(low_count__gt=0) | Q(reason=ReviewItem.Reason.MISSING)
    )
    begin, end = usage.midnight(span.first), usage.midnight(span.last + timedelta(days=1))
    before = usage.midnight(span.before)
    if trend == Trend.GONE:
        return rows.filter(last_asked_at__gte=before, last_asked_at__lt=begin)
    rows = rows.filter(last_asked_at__gte=begin, first_asked_at__lt=end)
    if trend == Trend.NEW:
        return rows.filter(first_asked_at__gte=begin)
    if trend == Trend.GROWING:
        return (
            rows.filter(first_asked_at__lt=begin)
            .alias(
                now=_times(span.first, span.last),
                earlier=_times(span.before, span.first - timedelta(days=1)),
            )
            .filter(now__gt=F("earlier"))
        )
    return rows


def _times(first: date, last: date) -> Any:
    """How often the questions of a group were asked, as an expression."""
    sightings = ReviewSighting.objects.filter(item=OuterRef("pk"), day__range=(first, last))
    total = sightings.order_by().values("item").annotate(total=Sum("times")).values("total")
    return Coalesce(Subquery(total, output_field=IntegerField()), 0)


def read_page(
    span: Span,
    trend: str = "",
    after: str = "",
    size: int = PAGE,
    most: int | None = LOOKED_AT,
) -> Page:
    """The next topics after a place, worst first, in three queries.

    Raises InvalidRequest if `after` is no place.
    """
    rows = select(span, trend, most)
    if after:
        harm, pk = _place(after)
        rows = rows.filter(Q(harm__lt=harm) | Q(harm=harm, pk__lt=pk), harm__lte=harm)
    items = list(
        rows.by_harm().select_related("collection").defer("vector", "terms", "notes")[: size + 1]
    )
    more = len(items) > size
    items = items[:size]
    return Page(_topics(span, items), f"{items[-1].harm!r}~{items[-1].pk}" if more else "")


def _place(after: str) -> tuple[float, int]:
    harm, _, pk = after.partition("~")
    try:
        place = float(harm), int(pk)
    except ValueError:
        place = -1.0, -1
    if not (0 <= place[0] < float("inf") and 0 < place[1] < 2**63):
        raise InvalidRequest("There is no such place in the list. Begin at its start.")
    return place


def each(span: Span, trend: str = "") -> Iterator[Topic]:
    """All topics, worst first, a batch at a time."""
    after = ""
    while True:
        page = read_page(span, trend, after, BATCH, most=None)
        yield from page.topics
        after = page.after
        if not after:
            return


def _topics(span: Span, items: Sequence[ReviewItem]) -> list[Topic]:
    sightings = ReviewSighting.objects.filter(
        item__in=[item.pk for item in items], day__range=(span.before, span.last)
    )
    by_day: dict[int, dict[date, int]] = defaultdict(dict)
    rows = sightings.order_by().values_list("item", "day").annotate(times=Sum("times"))
    for item, day, times in rows:
        by_day[item][day] = times
    people = dict(
        sightings.filter(day__gte=span.first)
        .exclude(asker="")
        .order_by()
        .values_list("item")
        .annotate(number=Count("asker", distinct=True))
    )
    mondays = weeks(span.first, span.last)
    return [_topic(span, item, by_day[item.pk], people.get(item.pk, 0), mondays) for item in items]


def _topic(
    span: Span, item: ReviewItem, days: Mapping[date, int], people: int, mondays: Sequence[date]
) -> Topic:
    of_weeks = dict.fromkeys(mondays, 0)
    asked = before = 0
    for day, times in days.items():
        if day < span.first:
            before += times
        else:
            asked += times
            of_weeks[week_of(day)] += times
    if item.last_asked_at < usage.midnight(span.first):
        trend = Trend.GONE
    elif item.first_asked_at >= usage.midnight(span.first):
        trend = Trend.NEW
    else:
        trend = Trend.GROWING if asked > before else Trend.STEADY
    return Topic(item, trend, asked, before, max(people, 1) if asked else people, of_weeks)


def skeleton(item: ReviewItem) -> str:
    """A Markdown page that lists what people ask as headings, for somebody to write below them."""
    wordings = ReviewQuestion.objects.filter(item=item).order_by("-asked", "pk")
    asked = [item.question, *wordings.values_list("text", flat=True)[:WORDINGS]]
    title, *others = dict.fromkeys(heading for text in asked if (heading := _heading(text)))
    return "\n\n".join([f"# {title}", *(f"## {other}" for other in others)]) + "\n\n"


def _heading(text: str) -> str:
    return " ".join(text.split()).lstrip("# ")[:200]
