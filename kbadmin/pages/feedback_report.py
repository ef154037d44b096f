"""How content people are with the answers, and how reviewing goes, within a range of days."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.timesince import timesince

from kbadmin.pages.bounded import count
from kbadmin.pages.usage_report import Range, rounded
from retrieval.feedback import numbers
from retrieval.feedback.numbers import Votes
from retrieval.models import Collection

COLLECTIONS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Place:
    title: str
    votes: Votes


def report(shown: Range) -> dict[str, Any]:
    """Context of the section, in a fixed number of bounded queries."""
    collection = shown.collection.pk if shown.collection else None
    found = numbers.satisfaction(shown.first, shown.last, collection)
    weeks = numbers.weeks(shown.first, shown.last)
    return {
        "may_look_at_feedback": True,
        "open_items": count(numbers.open_items(collection)),
        "improved": count(numbers.improved(shown.first, shown.last, collection)),
        "time_to_close": _in_words(numbers.time_to_close(collection)),
        "satisfaction": found.total,
        "satisfaction_weeks": found.weeks.items(),
        "satisfaction_places": places(found),
        "satisfaction_is_capped": found.is_capped,
        "votes_read": numbers.VOTES_READ,
        "satisfaction_series": {
            "days": [week.isoformat() for week in weeks],
            "share": [rounded(found.weeks.get(week, Votes()).satisfaction) for week in weeks],
            "votes": [found.weeks.get(week, Votes()).number for week in weeks],
        },
    }


def _in_words(time: Any) -> str:
    if time is None:
        return ""
    now = timezone.now()
    return timesince(now - time, now, depth=1)


def places(found: numbers.Satisfaction) -> list[Place]:
    """The collections that were voted on most."""
    most = sorted(found.collections, key=lambda pk: -found.collections[pk].number)
    titles = dict(
        Collection.objects.alive()
        .filter(pk__in=most[:COLLECTIONS_SHOWN])
        .values_list("pk", "title")
    )
    return [
        Place(titles[pk], found.collections[pk]) for pk in most[:COLLECTIONS_SHOWN] if pk in titles
    ]
