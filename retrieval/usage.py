"""How the knowledge base is asked: searches by day, by confidence and by the time they took.

A log of a million searches cannot be counted for every look at it. The worker sums up each
day once (`sum_up_next`); what was asked since is counted from the log itself (`daily`). Days
are those of settings.TIME_ZONE.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from retrieval.models import Search, SearchDay

logger = logging.getLogger(__name__)

#: Each bucket of latencies is so many times as long as the one before: a percentile read from
#: them is at most 2.5 % off.
GROWTH = 1.05
#: By then a row is committed that says it was written so long ago.
SETTLED = timedelta(seconds=5)
#: Searches that are counted from the log, where the worker has not summed them up yet.
UNSUMMED_COUNTED = 5_000


def bucket(milliseconds: float) -> int:
    """The bucket of a latency; 0 holds all up to one millisecond."""
    return math.ceil(math.log(milliseconds, GROWTH)) if milliseconds > 1 else 0


def milliseconds(number: int) -> float:
    """The middle of a bucket."""
    return GROWTH ** (number - 0.5) if number else 1.0


@dataclass(slots=True)
class Tally:
    """Searches counted by how far their answers can be relied on and by how long they took."""

    high: int = 0
    low: int = 0
    none: int = 0
    empty: int = 0  #: of all of them, those that returned no passage
    latencies: Counter[int] = field(default_factory=Counter)

    @property
    def searches(self) -> int:
        return self.high + self.low + self.none

    @property
    def weak(self) -> int:
        """Those that cannot be relied on."""
        return self.low + self.none

    def add(self, confidence: str, result_count: int, total_ms: float) -> None:
        if confidence == Search.Confidence.HIGH:
            self.high += 1
        elif confidence == Search.Confidence.LOW:
            self.low += 1
        else:
            self.none += 1
        self.empty += result_count == 0
        self.latencies[bucket(total_ms)] += 1

    def merge(self, other: "Tally") -> None:
        self.high += other.high
        self.low += other.low
        self.none += other.none
        self.empty += other.empty
        self.latencies.update(other.latencies)

    def percentile(self, share: float) -> float | None:
        """Milliseconds within which this share of the searches was answered (nearest rank)."""
        rank = max(1, math.ceil(share * self.latencies.total()))
        for number, count in sorted(self.latencies.items()):
            rank -= count
            if rank <= 0:
                return milliseconds(number)
        return None


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked in a range of days."""

    days: Mapping[date, Tally]  #: only those on which something was asked
    is_capped: bool  #: whether more was asked lately than is counted here

    @property
    def total(self) -> Tally:
        total = Tally()
        for tally in self.days.values():
            total.merge(tally)
        return total


def day_of(moment: datetime) -> date:
    return timezone.localdate(moment, timezone.get_default_timezone())


def today() -> date:
    return day_of(timezone.now())


def midnight(day: date) -> datetime:
    """When a day begins."""
    return datetime.combine(day, time.min, timezone.get_default_timezone())


def summed_until() -> datetime | None:
    """Searches before this moment are in the sums."""
    return (
        SearchDay.objects.filter(collection=None)
        .order_by("-day")
        .values_list("until", flat=True)
        .first()
    )


def sum_up_next() -> bool:
    """Sum up the first day with searches that no sum holds yet; returns whether a later day
    may follow. A day is counted anew as a whole, so a rerun changes nothing."""
    settled = timezone.now() - SETTLED
    waiting = Search.objects.filter(created_at__lt=settled)
    since = summed_until()
    if since is not None:
        waiting = waiting.filter(created_at__gte=since)
    first = waiting.order_by("created_at").values_list("created_at", flat=True).first()
    if first is None:
        return False
    day = day_of(first)
    end = midnight(day + timedelta(days=1))
    until = min(end, settled)
    of_the_day = Search.objects.filter(created_at__gte=midnight(day), created_at__lt=until)
    tallies: dict[int | None, Tally] = {None: Tally()}
    columns = ("collection_id", "confidence", "result_count", "total_ms")
    for collection, *answer in of_the_day.values_list(*columns).iterator(chunk_size=5000):
        tallies[None].add(*answer)
        tallies.setdefault(collection, Tally()).add(*answer)
    try:
        with transaction.atomic():
            SearchDay.objects.filter(day=day).delete()
            SearchDay.objects.bulk_create(
                _row(day, collection, tally, until) for collection, tally in tallies.items()
            )
    except IntegrityError:
        # Another worker did the same, or a collection was purged meanwhile.
        logger.info("the searches of %s are summed up another time", day)
        return False
    return until == end


def _row(day: date, collection: int | None, tally: Tally, until: datetime) -> SearchDay:
    return SearchDay(
        day=day,
        collection_id=collection,
        high=tally.high,
        low=tally.low,
        none=tally.none,
        empty=tally.empty,
        latencies=dict(tally.latencies),
        until=until,
    )


def daily(first: date, last: date, collection: int | None = None) -> Usage:
    """What was asked from one day to another, both included, of one collection or of all.

    Three queries, whose rows do not grow with the log: one for each day, and at most
    UNSUMMED_COUNTED searches.
    """
    days = {
        row.day: Tally(
            row.high,
            row.low,
            row.none,
            row.empty,
            Counter({int(number): count for number, count in row.latencies.items()}),
        )
        for row in SearchDay.objects.filter(day__range=(first, last), collection=collection)
    }
    begin = midnight(first)
    since = summed_until()
    lately = asked(max(begin, since) if since else begin, last, collection)
    columns = ("created_at", "confidence", "result_count", "total_ms")
    rows = list(lately.values_list(*columns)[: UNSUMMED_COUNTED + 1])
    for created_at, *answer in rows[:UNSUMMED_COUNTED]:
        days.setdefault(day_of(created_at), Tally()).add(*answer)
    return Usage(dict(sorted(days.items())), len(rows) > UNSUMMED_COUNTED)


def asked(begin: datetime, last: date, collection: int | None = None) -> QuerySet[Search]:
    """Searches from a moment to the end of a day, newest first."""
    searches = Search.objects.filter(
        created_at__gte=begin, created_at__lt=midnight(last + timedelta(days=1))
    )
    if collection is not None:
        searches = searches.filter(collection=collection)
    return searches.order_by("-created_at")


class Asked(NamedTuple):
    """What the lists need of a logged search; rows of a thousand models would be slow."""

    collection_id: int
    query: str
    confidence: str
    result_count: int
    results: Any = ()  #: as logged: dicts with the `document_id` of each passage

    @property
    def is_weak(self) -> bool:
        return self.confidence != Search.Confidence.HIGH


def read(searches: QuerySet[Search], most: int, with_results: bool = False) -> list[Asked]:
    """At most so many of these searches, in their order."""
    columns = Asked._fields if with_results else Asked._fields[:-1]
    return [Asked(*row) for row in searches.values_list(*columns)[:most]]


@dataclass(slots=True)
class Question:
    """One question, however often it was asked; its words and answer are the newest ones."""

    newest: Asked
    times: int = 0


def questions(searches: Iterable[Asked]) -> list[Question]:
    """Searches, newest first, by question: the same but for case and spaces. The most
    frequent ones come first, and of equals the newest."""
    found: dict[tuple[int, str], Question] = {}
    for search in searches:
        key = (search.collection_id, " ".join(search.query.casefold().split()))
        if key not in found:
            found[key] = Question(search)
        found[key].times += 1
    return sorted(found.values(), key=lambda question: -question.times)


def documents(searches: Iterable[Asked]) -> Counter[int]:
    """In how many of these answers each document stood, by its primary key."""
    found: Counter[int] = Counter()
    for search in searches:
        hits = search.results if isinstance(search.results, list) else []
        found.update(
            {
                hit["document_id"]
                for hit in hits
                if isinstance(hit, dict) and isinstance(hit.get("document_id"), int)
            }
        )
    return found
