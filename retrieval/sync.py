"""Rows → Chroma, and back: what differs between the two, and its repair.

Chroma is a copy. Whatever is wrong with it is mended from the rows and the stored
embeddings; nothing is ever read from it but ids, hashes and distances.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from django.db.models import F, Q
from django.utils import timezone

from retrieval import aliases
from retrieval.embeddings import Vectors, embeddings_of, stored_embeddings
from retrieval.exceptions import (
    VectorCollectionMissing,
    VectorStoreError,
    VectorStoreUnavailable,
)
from retrieval.factories import chunker_for, vector_store
from retrieval.models import AliasPlace, Chunk, Index
from retrieval.types import FIRST_ALIAS_ID, is_alias_id, is_chunk_id

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from retrieval.vector_store import VectorRecord, VectorStore

logger = logging.getLogger(__name__)

#: Chunks that are read from the database and sent to Chroma at once during a repair.
REPAIR_BATCH = 500


@dataclass(frozen=True, slots=True)
class Drift:
    """How an index differs from its rows. Ids are chunk ids, as Chroma holds them."""

    index_id: int
    expected: int  #: live chunks, and aliases that lead to them, in the database
    found: int  #: records in Chroma
    missing: tuple[str, ...]  #: live chunks that Chroma does not hold
    stale: tuple[str, ...]  #: records whose text has changed
    orphaned: tuple[str, ...]  #: records that no chunk row stands behind
    embedded: int = 0  #: texts that the repair had to embed: 0 unless stored ones were lost

    @property
    def is_clean(self) -> bool:
        return not (self.missing or self.stale or self.orphaned)

    @property
    def counts(self) -> dict[str, int]:
        return {
            "expected": self.expected,
            "found": self.found,
            "missing": len(self.missing),
            "stale": len(self.stale),
            "orphaned": len(self.orphaned),
            "embedded": self.embedded,
        }


def ensure_index(store: "VectorStore", index: Index) -> bool:
    """Make the physical collection if Chroma does not hold it; returns whether it was made."""
    from retrieval.vector_store import VectorSpace

    return store.ensure(
        index.physical_name,
        VectorSpace(
            space=index.space,
            ef_construction=index.ef_construction,
            ef_search=index.ef_search,
            max_neighbors=index.max_neighbors,
        ),
    )


def send_chunks(
    store: "VectorStore", index: Index, chunks: Sequence[Chunk], vectors: Vectors
) -> None:
    """Write the vectors of chunks into an index, in place of what it held under their ids."""
    from retrieval.vector_store import VectorRecord

    records = [
        VectorRecord(id=chunk.vector_id, hash=chunk.text_hash, vector=vectors[chunk.text_hash])
        for chunk in chunks
    ]
    places = AliasPlace.objects.filter(chunk__in=[chunk.pk for chunk in chunks])
    _send(store, index, [*records, *_alias_records(index, places)])


def send_aliases(store: "VectorStore", alias_ids: Sequence[int]) -> None:
    """Write the vectors of aliases into every index that their chunks are in."""
    places = AliasPlace.objects.filter(alias__in=alias_ids)
    collections = set(places.values_list("alias__document__collection", flat=True))
    for index in (
        Index.objects.active().filter(collection__in=collections).select_related("embedding_model")
    ):
        here = places.filter(
            chunk__chunking=index.chunking, alias__document__collection=index.collection_id
        )
        _send(store, index, _alias_records(index, here))


def _alias_records(index: Index, places: "QuerySet[AliasPlace]") -> "list[VectorRecord]":
    from retrieval.vector_store import VectorRecord

    rows = list(places.filter(alias__retired_at=None).select_related("alias"))
    if not rows:
        return []
    vectors = aliases.vectors_of(
        index.embedding_model, {place.alias.question_hash: place.alias.question for place in rows}
    )
    return [
        VectorRecord(
            id=str(place.record_id),
            hash=place.alias.question_hash,
            vector=vectors[place.alias.question_hash],
        )
        for place in rows
    ]


def _send(store: "VectorStore", index: Index, records: "Sequence[VectorRecord]") -> None:
    ensure_index(store, index)
    try:
        store.replace(index.physical_name, records)
    except VectorCollectionMissing:
        # Dropped since it was last seen: make it again. What else it held comes back with
        # the next reconciliation.
        ensure_index(store, index)
        store.replace(index.physical_name, records)
        Index.objects.filter(pk=index.pk).update(checked_at=None)
    _drop_if_given_up(index)


def drop_physical(index: Index) -> None:
    """Take an index out of Chroma, if it is there."""
    try:
        vector_store().drop(index.physical_name)
    except VectorCollectionMissing:
        logger.debug("%s was already gone", index.physical_name)


def _drop_if_given_up(index: Index) -> None:
    """A write that crosses a drop must not leave a physical collection that no row names."""
    if not Index.objects.filter(pk=index.pk).exists():
        drop_physical(index)


def delete_vectors(store: "VectorStore", collection_id: int, chunk_ids: Sequence[int]) -> None:
    """Delete chunks, and their aliases, from every index of a collection that Chroma may still
    hold."""
    if chunk_ids:
        delete_records(store, collection_id, [*chunk_ids, *aliases.record_ids(chunk_ids)])


def delete_records(store: "VectorStore", collection_id: int, record_ids: Sequence[int]) -> None:
    """Delete records from every index of a collection that Chroma may still hold."""
    if not record_ids:
        return
    ids = [str(record_id) for record_id in record_ids]
    for index in Index.objects.filter(collection=collection_id).exclude(state=Index.State.DAMAGED):
        try:
            store.delete(index.physical_name, ids)
        except VectorCollectionMissing:
            logger.debug("index %s is not in Chroma: nothing to delete", index)


def compare(index: Index) -> Drift:
    """What differs between an index and its rows. Changes nothing.

    Chroma is read first: a chunk that is written meanwhile then counts as missing, and adding
    it again is harmless, whereas deleting one that was just written would not be.
    """
    try:
        found = vector_store().hashes(index.physical_name)
    except VectorCollectionMissing:
        found = {}
    rows = Chunk.objects.filter(document__collection=index.collection_id, chunking=index.chunking)
    expected = {
        str(pk): digest
        for pk, digest in rows.live().values_list("pk", "text_hash").iterator(chunk_size=5000)
    }
    places = AliasPlace.objects.filter(chunk__in=rows.live(), alias__retired_at=None)
    for pk, digest in places.values_list("pk", "alias__question_hash").iterator(chunk_size=5000):
        expected[str(FIRST_ALIAS_ID + pk)] = digest
    missing = [id_ for id_ in expected if id_ not in found]
    stale = [id_ for id_, digest in expected.items() if found.get(id_, digest) != digest]
    unknown = [id_ for id_ in found if id_ not in expected]
    numbers = [int(id_) for id_ in unknown if is_chunk_id(id_)]
    known = set(map(str, _known_chunks(index, numbers)))
    orphaned = [id_ for id_ in unknown if id_ not in known]
    return Drift(
        index_id=index.pk,
        expected=len(expected),
        found=len(found),
        missing=tuple(missing),
        stale=tuple(stale),
        orphaned=tuple(orphaned),
    )


def _known_chunks(index: Index, ids: list[int]) -> list[int]:
    """Of these ids the ones with a row: in work, disabled, moving here, or waiting to be
    cleaned up."""
    here = Q(document__collection=index.collection_id)
    comes_here = Q(document__moving_to=index.collection_id)
    known: list[int] = []
    placed = [id_ - FIRST_ALIAS_ID for id_ in ids if is_alias_id(id_)]
    for begin in range(0, len(placed), REPAIR_BATCH):
        places = AliasPlace.objects.filter(
            pk__in=placed[begin : begin + REPAIR_BATCH],
            alias__document__collection=index.collection_id,
            chunk__chunking=index.chunking,
        )
        known += [FIRST_ALIAS_ID + pk for pk in places.values_list("pk", flat=True)]
    ids = [id_ for id_ in ids if not is_alias_id(id_)]
    for begin in range(0, len(ids), REPAIR_BATCH):
        rows = Chunk.objects.filter(here | comes_here, pk__in=ids[begin : begin + REPAIR_BATCH])
        known += rows.values_list("pk", flat=True)
    return known


def is_damaged(index: Index) -> bool:
    """Whether Chroma holds the index but cannot count or query it, or in a wrong dimension.

    A server that was killed while it persisted leaves such collections, and its heartbeat
    stays green over them. Raises VectorStoreUnavailable if the server itself is away.
    """
    store = vector_store()
    store.heartbeat()
    probe = np.full(index.embedding_model.dimension, 0.1, dtype=np.float32)
    try:
        if store.count(index.physical_name):
            store.query(index.physical_name, probe, 1)
    except (VectorStoreUnavailable, VectorCollectionMissing):
        store.heartbeat()
        return False
    except VectorStoreError as error:
        logger.warning("index %s is damaged: %s", index.physical_name, error.message)
        return True
    return False


def answers(index: Index) -> bool:
    """Whether Chroma holds an index and can query it: a look that costs milliseconds.

    Raises VectorStoreUnavailable if the server itself is away.
    """
    probe = np.full(index.embedding_model.dimension, 0.1, dtype=np.float32)
    store = vector_store()
    try:
        if store.count(index.physical_name):
            store.query(index.physical_name, probe, 1)
    except VectorStoreUnavailable:
        raise
    except VectorStoreError as error:
        logger.warning("index %s does not answer: %s", index.physical_name, error.message)
        return False
    return True


def reconcile(index: Index) -> Drift:
    """Make an index hold exactly its live chunks; returns what had differed."""
    store = vector_store()
    ensure_index(store, index)
    drift = compare(index)
    differing = [int(id_) for id_ in (*drift.missing, *drift.stale)]
    wanted = [id_ for id_ in differing if not is_alias_id(id_)]
    lost_aliases = [id_ - FIRST_ALIAS_ID for id_ in differing if is_alias_id(id_)]
    embedded = 0
    for begin in range(0, len(wanted), REPAIR_BATCH):
        chunks = list(
            Chunk.objects.filter(pk__in=wanted[begin : begin + REPAIR_BATCH]).select_related(
                "revision"
            )
        )
        vectors, lost = _vectors_of(index, chunks)
        embedded += lost
        send_chunks(store, index, chunks, vectors)
    for begin in range(0, len(lost_aliases), REPAIR_BATCH):
        places = AliasPlace.objects.filter(pk__in=lost_aliases[begin : begin + REPAIR_BATCH])
        _send(store, index, _alias_records(index, places))
    drift = replace(drift, embedded=embedded)
    if drift.orphaned:
        store.delete(index.physical_name, drift.orphaned)
    if not Index.objects.filter(pk=index.pk).update(checked_at=timezone.now(), drift=drift.counts):
        drop_physical(index)
    if not drift.is_clean:
        logger.info(
            "index %s: %d missing, %d stale, %d orphaned records repaired; %d texts embedded",
            index.physical_name,
            len(drift.missing),
            len(drift.stale),
            len(drift.orphaned),
            drift.embedded,
        )
    return drift


def _vectors_of(index: Index, chunks: list[Chunk]) -> tuple[Vectors, int]:
    """Stored vectors of chunks; one that is not stored is computed from the chunk's text.
    Also returns how many texts that took."""
    vectors = stored_embeddings(index.embedding_model_id, {chunk.text_hash for chunk in chunks})
    lost = {
        chunk.text_hash: chunker_for(index).embedding_text(
            chunk.revision.title, tuple(chunk.heading_path), chunk.text
        )
        for chunk in chunks
        if chunk.text_hash not in vectors
    }
    if lost:
        logger.warning("%d stored embeddings are missing and are computed again", len(lost))
        vectors.update(embeddings_of(index.embedding_model, lost))
    return vectors, len(lost)


def active_indexes() -> list[Index]:
    """Indexes to reconcile, the one that was not checked for longest first."""
    return list(
        Index.objects.active()
        .filter(collection__deleted_at=None)
        .select_related("embedding_model", "collection")
        .order_by(F("checked_at").asc(nulls_first=True))
    )
