"""Votes and corrections: how they are taken. What becomes of them is decided by a reviewer."""

import uuid
from dataclasses import dataclass

from retrieval import query_log
from retrieval.exceptions import InvalidRequest, SearchNotFound
from retrieval.likeness import question_key
from retrieval.lookup import find_collection
from retrieval.models import Chunk, Document, Feedback, Search

#: Characters of a question, and of what may be said of its answer.
MAX_QUESTION, MAX_ANSWER, MAX_COMMENT, MAX_CORRECTION, MAX_VOTER = 4000, 20_000, 4000, 4000, 200


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's opinion of one answer: of a search, or of a question and its answer where
    no search is known, as in a chat that answered from several."""

    query_id: str = ""
    rating: int | None = None  #: 1 or -1
    comment: str = ""
    correction: str = ""
    chunk_id: int | None = None  #: the passage at fault, one of those that were answered
    document_id: int | None = None  #: the document at fault, likewise
    voter: str = ""
    channel: str = "api"
    #: without a query_id: what was asked, what was answered, and of which collection
    question: str = ""
    answer: str = ""
    collection: str = ""


def record(vote: Vote) -> tuple[Feedback, bool]:
    """Store a vote; the same voter's next one on the same answer replaces it.

    Returns the row and whether it is new. A vote that was already decided on is reopened.

    Raises:
        SearchNotFound, CollectionNotFound: there is no such search or collection.
        InvalidRequest: something is too long, nothing is said, or the passage or document was
            not among the answers.
    """
    _check(vote)
    said: dict[str, object] = {
        "rating": vote.rating,
        "comment": vote.comment,
        "correction": vote.correction,
        "channel": vote.channel,
        "state": Feedback.State.PENDING,
        "is_grouped": False,
    }
    if vote.answer:
        said["answer"] = vote.answer
    if not vote.query_id:
        return _record_without_search(vote, said)
    # Outside any transaction: it may have to wait for the row to be written.
    search = _find_search(vote.query_id)
    _check_answered(vote, search)
    return Feedback.objects.update_or_create(
        search=search,
        voter=vote.voter,
        defaults={
            **said,
            "collection_id": search.collection_id,
            "question": search.query,
            # What was at fault may have been replaced since it was answered.
            "chunk": Chunk.objects.filter(pk=vote.chunk_id or 0).first(),
            "document": Document.objects.filter(pk=vote.document_id or 0).first(),
        },
    )


def _record_without_search(vote: Vote, said: dict[str, object]) -> tuple[Feedback, bool]:
    """The same voter has one vote on the same question in a collection."""
    collection = find_collection(vote.collection)
    question = " ".join(vote.question.split())
    live = Chunk.objects.live().filter(document__collection=collection)
    chunk = live.filter(pk=vote.chunk_id or 0).first()
    document = (
        Document.objects.alive().filter(collection=collection, pk=vote.document_id or 0).first()
    )
    if vote.chunk_id is not None and chunk is None:
        raise InvalidRequest(f"chunk_id {vote.chunk_id} is no passage of {collection.slug}.")
    if vote.document_id is not None and document is None:
        raise InvalidRequest(f"document_id {vote.document_id} is no document of {collection.slug}.")
    return Feedback.objects.update_or_create(
        search=None,
        collection_id=collection.pk,
        question_key=question_key(question),
        voter=vote.voter,
        defaults={**said, "question": question, "chunk": chunk, "document": document},
    )


def _check(vote: Vote) -> None:
    for name, longest in (
        ("question", MAX_QUESTION),
        ("answer", MAX_ANSWER),
        ("comment", MAX_COMMENT),
        ("correction", MAX_CORRECTION),
        ("voter", MAX_VOTER),
    ):
        text = getattr(vote, name)
        if len(text) > longest:
            raise InvalidRequest(
                f"{name} has {len(text):,} characters; at most {longest:,} are possible."
            )
        if "\0" in text:
            raise InvalidRequest(f"{name} holds a null character. Send it as plain text.")
    if not vote.query_id and not vote.question.strip():
        raise InvalidRequest("Send the query_id of the answer, or the question that was asked.")
    if vote.rating is None and not (vote.comment.strip() or vote.correction.strip()):
        raise InvalidRequest("Send a rating (up or down), a comment or a correction.")
    if vote.rating not in (None, *Feedback.Rating.values):
        raise InvalidRequest("A rating is 1 (helpful) or -1 (not helpful).")


def _check_answered(vote: Vote, search: Search) -> None:
    for name in ("chunk_id", "document_id"):
        wanted = getattr(vote, name)
        if wanted is not None and wanted not in {result[name] for result in search.results}:
            raise InvalidRequest(f"{name} {wanted} was not among the answers to this query.")


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
