"""What a batch adds to groups."""

from dataclasses import dataclass, field
from datetime import date, datetime

from retrieval.feedback.batch import NOT_ASKED, Entry
from retrieval.models import Feedback, ReviewItem, ReviewQuestion, Search
from retrieval.usage import day_of


@dataclass(slots=True)
class Tally:
    """What a batch adds to a group."""

    asked: int = 0
    none: int = 0
    low: int = 0
    last: datetime | None = None
    reopens: datetime | None = None  #: the newest vote that does
    weak_at: datetime | None = None  #: the newest bad answer
    #: by day, key of the question, and who asked
    sightings: dict[tuple[date, str, str], int] = field(default_factory=dict)


def count(
    entry: Entry, question: ReviewQuestion, tally: Tally, was_known: bool, until: datetime
) -> None:
    """Count an entry for its wording and its group. `was_known`: the wording, before this batch;
    `until`: how far the log is read after it."""
    vote = entry.vote
    times = 1
    if vote is not None:
        times = 0 if vote.item_id is not None else _unseen(vote, was_known, until)
        if vote.rating == Feedback.Rating.DOWN or vote.correction:
            tally.reopens = max(filter(None, (tally.reopens, entry.at)))
    elif entry.is_weak:
        if entry.confidence == Search.Confidence.LOW:
            tally.low += 1
            question.low_count += 1
        else:
            tally.none += 1
            question.none_count += 1
        tally.weak_at = max(filter(None, (tally.weak_at, entry.at)))
    question.asked += times
    tally.asked += times
    if vote is None or vote.item_id is None:
        question.last_asked_at = max(question.last_asked_at, entry.at)
        tally.last = max(filter(None, (tally.last, entry.at)))
        seen = (day_of(entry.at), entry.key, entry.asker)
        tally.sightings[seen] = tally.sightings.get(seen, 0) + times
    if entry.search is not None:
        question.last_search = entry.search


def _unseen(vote: Feedback, was_known: bool, until: datetime) -> int:
    """1 if what was voted on is no search that is counted itself."""
    search = vote.search
    if search is None:
        return 1
    is_weak = search.confidence != Search.Confidence.HIGH or not search.result_count
    is_counted = was_known or (is_weak and not search.degraded and search.channel not in NOT_ASKED)
    return 0 if is_counted or search.created_at > until else 1


def add(item: ReviewItem, tally: Tally) -> None:
    """To a row that the caller saves; who asked and who voted is not in it."""
    item.asked += tally.asked
    item.none_count += tally.none
    item.low_count += tally.low
    if tally.last is not None:
        item.last_asked_at = max(item.last_asked_at, tally.last)
