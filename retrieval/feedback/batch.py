"""What came since the log and the votes were read last, with the vectors that grouping needs."""

import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from django.db.models import Q
from django.utils import timezone

from retrieval.asked_before import between_unrelated
from retrieval.exceptions import KnowledgeBaseError
from retrieval.factories import embedder_for
from retrieval.feedback.candidates import Vector
from retrieval.fusion import declared_weight, script_of
from retrieval.likeness import question_key
from retrieval.models import Collection, Embedding, Feedback, ReviewQuestion, Search

logger = logging.getLogger(__name__)

#: Searches and votes in one batch: a short one, because it holds the only lock that SQLite has.
BATCH = 100
#: By then a row is committed that says it was written so long ago.
SETTLED = timedelta(seconds=5)
#: Channels whose questions are tries, not somebody's.
NOT_ASKED = ("playground", "evaluation", "review")


@dataclass(slots=True)
class Entry:
    """A search or a vote, as far as grouping is concerned."""

    collection_id: int
    text: str
    at: datetime
    asker: str
    key: str
    search: uuid.UUID | None
    confidence: str = ""  #: of a search
    is_weak: bool = False
    vector: Vector | None = None  #: that the search had, of the model `vector_model`
    vector_model: int | None = None
    vote: Feedback | None = None


@dataclass(slots=True)
class Batch:
    """What is written together."""

    entries: list[Entry]
    place: tuple[datetime, uuid.UUID]  #: how far the log is read after it
    is_last: bool
    vectors: dict[tuple[int, str], Vector] = field(default_factory=dict)
    #: by collection the model whose vectors these are, and their dimension
    models: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: by collection the cosine of unrelated questions with that model
    bases: dict[int, float] = field(default_factory=dict)
    #: searches whose vectors are needed no more
    spent: list[uuid.UUID] = field(default_factory=list)


def read(place: tuple[datetime, uuid.UUID]) -> Batch:
    """What came after a place in the log, and votes that are in no group yet."""
    asked_at, last = place
    rows = list(
        Search.objects.filter(
            Q(created_at__gt=asked_at) | Q(created_at=asked_at, pk__gt=last),
            created_at__gte=asked_at,
            created_at__lt=timezone.now() - SETTLED,
        )
        .order_by("created_at", "pk")
        .values_list(
            "pk",
            "collection_id",
            "query",
            "created_at",
            "asker",
            "confidence",
            "result_count",
            "degraded",
            "channel",
            "vector",
            "vector_model",
        )[:BATCH]
    )
    entries = [
        Entry(
            collection_id,
            query,
            at,
            asker,
            question_key(query),
            pk,
            confidence=confidence,
            is_weak=Search.is_weak(confidence, results, degraded),
            vector=None if vector is None else Embedding.unpack(vector),
            vector_model=model,
        )
        for (
            *(pk, collection_id, query, at, asker, confidence, results, degraded),
            channel,
            vector,
            model,
        ) in rows
        if channel not in NOT_ASKED
    ]
    votes = list(
        Feedback.objects.filter(is_grouped=False).select_related("search").order_by("pk")[:BATCH]
    )
    entries += [
        Entry(
            vote.collection_id,
            vote.question,
            vote.updated_at,
            _person(vote),
            question_key(vote.question),
            vote.search_id,
            vote=vote,
        )
        for vote in votes
    ]
    return Batch(
        entries,
        place=(rows[-1][3], rows[-1][0]) if rows else place,
        is_last=len(rows) < BATCH and len(votes) < BATCH,
        spent=[row[0] for row in rows if row[-1] is not None],
    )


def _person(vote: Feedback) -> str:
    """Who asked, as far as that is known: whoever holds a link is another one for each answer."""
    if vote.search is not None and vote.search.asker:
        return vote.search.asker
    if vote.search is None or ":" in vote.voter:
        return vote.voter
    return f"{vote.voter}@{vote.search_id}"


def still_waiting(entries: Sequence[Entry]) -> list[Entry]:
    """Without votes that another worker has settled, or that were changed since they were read."""
    votes = {entry.vote.pk for entry in entries if entry.vote is not None}
    rows = Feedback.objects.filter(pk__in=votes, is_grouped=False)
    waiting = dict(rows.values_list("pk", "updated_at"))
    return [
        entry
        for entry in entries
        if entry.vote is None or waiting.get(entry.vote.pk) == entry.vote.updated_at
    ]


def embed(batch: Batch) -> None:
    """Vectors of wordings that no group knows yet, where the collection's model reads them."""
    known = known_wordings(batch.entries)
    wanted: dict[int, dict[str, Entry]] = defaultdict(dict)
    for entry in batch.entries:
        place = (entry.collection_id, entry.key)
        if place not in known and founds(entry):
            wanted[entry.collection_id].setdefault(entry.key, entry)
    collections = Collection.objects.filter(pk__in=wanted).select_related(
        "live_index__embedding_model"
    )
    for collection in collections:
        batch.models[collection.pk] = model_of(collection)
        entries = wanted[collection.pk]
        model = batch.models[collection.pk]
        vectors = vectors_of(
            collection,
            {key: entry.text for key, entry in entries.items()},
            {
                key: entry.vector
                for key, entry in entries.items()
                if entry.vector is not None and (entry.vector_model, len(entry.vector)) == model
            },
        )
        if vectors and collection.live_index is not None:
            try:
                base = between_unrelated(collection.live_index.embedding_model)
            except KnowledgeBaseError as error:
                logger.warning("questions are grouped by their words alone: %s", error.message)
                continue
            batch.bases[collection.pk] = base
        batch.vectors |= {(collection.pk, key): vector for key, vector in vectors.items()}


def model_of(collection: Collection) -> tuple[int, int]:
    """Primary key and dimension of the model that a collection is searched with; 0 if it is not."""
    index = collection.live_index
    return (index.embedding_model_id, index.embedding_model.dimension) if index else (0, 1)


def vectors_of(
    collection: Collection,
    texts: Mapping[str, str],
    ready: Mapping[str, Vector] = MappingProxyType({}),
) -> dict[str, Vector]:
    """Of the texts that the collection's model understands; none but the ones that are ready while
    it cannot answer."""
    index = collection.live_index
    if index is None:
        return {}
    languages = index.embedding_model.languages
    found = {}
    try:
        for key, text in texts.items():
            if declared_weight(script_of(text), languages) > 0:
                vector = ready.get(key)
                if vector is None:
                    vector = embedder_for(index.embedding_model).embed_query(text)
                found[key] = vector
    except KnowledgeBaseError as error:
        logger.warning("questions are grouped by their words alone: %s", error.message)
    return found


def known_wordings(entries: Sequence[Entry]) -> dict[tuple[int, str], ReviewQuestion]:
    """Of a batch those that a group has already, by collection and key."""
    rows = ReviewQuestion.objects.filter(
        collection__in={entry.collection_id for entry in entries},
        key__in={entry.key for entry in entries},
    )
    return {(row.collection_id, row.key): row for row in rows}


def founds(entry: Entry) -> bool:
    """Whether an entry may begin a group, or only counts where there is one."""
    vote = entry.vote
    if vote is None:
        return entry.is_weak
    return vote.rating == Feedback.Rating.DOWN or bool(vote.correction or vote.comment)
