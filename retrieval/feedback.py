"""Votes and corrections: how they are taken. What becomes of them is decided by a reviewer."""

import uuid
from dataclasses import dataclass

from retrieval import query_log
from retrieval.exceptions import InvalidRequest, SearchNotFound
from retrieval.models import Chunk, Feedback, Search


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's opinion of one answer."""

    query_id: str
    rating: int | None = None  #: 1 or -1
    comment: str = ""
    correction: str = ""
    chunk_id: int | None = None  #: the passage at fault, one of those that were answered
    voter: str = ""
    channel: str = "api"


def record(vote: Vote) -> tuple[Feedback, bool]:
    """Store a vote; the same voter's next one on the same search replaces it.

    Returns the row and whether it is new. A vote that was already decided on is reopened.

    Raises SearchNotFound, or InvalidRequest if the passage was not among the answers.
    """
    # Outside any transaction: it may have to wait for the row to be written.
    search = _find_search(vote.query_id)
    if vote.chunk_id is not None:
        answered = {result["chunk_id"] for result in search.results}
        if vote.chunk_id not in answered:
            raise InvalidRequest(
                f"chunk_id {vote.chunk_id} was not among the answers to this query."
            )
    feedback, is_new = Feedback.objects.update_or_create(
        search=search,
        voter=vote.voter,
        defaults={
            "collection_id": search.collection_id,
            "question": search.query,
            "rating": vote.rating,
            "comment": vote.comment,
            "correction": vote.correction,
            # The passage may have been replaced since it was answered.
            "chunk": Chunk.objects.filter(pk__in=[vote.chunk_id or 0]).first(),
            "channel": vote.channel,
            "state": Feedback.State.PENDING,
        },
    )
    return feedback, is_new


def _find_search(query_id: str) -> Search:
    try:
        search = query_log.find(uuid.UUID(query_id))
    except ValueError:
        search = None
    if search is None:
        raise SearchNotFound(
            f"No search has the query_id {query_id!r}. Send the one that /search answered with."
        )
    return search
