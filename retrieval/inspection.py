"""The records of an index beside the rows they come from.

Rows are walked by (document, chunk): every step is a seek in an index, so the last page of a
collection costs what the first one does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from django.db.models import Exists, OuterRef
from django.db.models.functions import Left
from numpy.typing import NDArray

from retrieval.filters import narrowed
from retrieval.lexical import lexical_index
from retrieval.models import Chunk, Document, Index
from retrieval.models.chunk import ChunkQuerySet
from retrieval.types import is_chunk_id

if TYPE_CHECKING:
    from retrieval.vector_store import StoredRecord

#: Characters of a chunk's text in a list.
EXCERPT = 240
#: The best matches of words that are listed.
MOST_FOUND = 100
#: Documents whose chunks are walked at once.
DOCUMENTS = 100


class Agreement(StrEnum):
    """What Chroma and the database say of one chunk."""

    UNKNOWN = "unknown"  #: Chroma was not asked or does not answer
    SAME = "same"
    MISSING = "missing"  #: searchable, and Chroma does not hold it
    STALE = "stale"  #: Chroma holds the vector of another text
    DISABLED = "disabled"
    REPLACED = "replaced"  #: of a version or a document that is not searched
    ORPHANED = "orphaned"  #: no row stands behind the record


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the walk."""

    document_id: int
    chunk_id: int

    def __str__(self) -> str:
        return f"{self.document_id}-{self.chunk_id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        document, dash, chunk = text.partition("-")
        if not (dash and is_chunk_id(document) and is_chunk_id(chunk)):
            return None
        return cls(int(document), int(chunk))


@dataclass(frozen=True, slots=True)
class Page:
    chunks: tuple[Chunk, ...]
    before: Position | None  #: rows before this place make the page before
    after: Position | None


def rows(index: Index) -> ChunkQuerySet:
    """Every chunk that an index holds, was to hold or has just let go."""
    return Chunk.objects.filter(document__collection=index.collection_id, chunking=index.chunking)


def page(
    index: Index,
    size: int,
    *,
    after: Position | None = None,
    before: Position | None = None,
    filter: Mapping[str, Any] | None = None,
) -> Page:
    """The next `size` rows in one direction, of the documents that a filter of the search
    leaves. At most four queries. Raises InvalidFilter."""
    here = before or after
    backwards = before is not None
    keys = _keys(index, size + 1, here, backwards, filter or {})
    chunks = by_ids(index, keys[:size][::-1] if backwards else keys[:size])
    is_more = len(keys) > size
    has_before = is_more if backwards else here is not None
    has_after = is_more or backwards
    return Page(
        tuple(chunks),
        before=place(chunks[0]) if chunks and has_before else None,
        after=place(chunks[-1]) if chunks and has_after else None,
    )


def _keys(
    index: Index, size: int, here: Position | None, backwards: bool, filter: Mapping[str, Any]
) -> list[int]:
    """Documents first, then their chunks: joined, the database would sort all of them."""
    chunks = Chunk.objects.filter(chunking=index.chunking)
    documents = Document.objects.filter(collection=index.collection_id)
    if filter:
        documents = narrowed(documents.searchable(), filter)
    sign, side = ("-", "lt") if backwards else ("", "gt")
    keys: list[int] = []
    if here is not None:
        same = chunks.filter(document=here.document_id, **{f"pk__{side}": here.chunk_id})
        keys += same.order_by(f"{sign}pk").values_list("pk", flat=True)[:size]
        documents = documents.filter(**{f"pk__{side}": here.document_id})
    if len(keys) == size:
        return keys
    # Each has at least one chunk, so these are enough.
    cut = Exists(chunks.filter(document=OuterRef("pk")))
    window = list(
        documents.filter(cut).order_by(f"{sign}pk").values_list("pk", flat=True)[: size - len(keys)]
    )
    more = chunks.filter(document__in=window).order_by(f"{sign}document_id", f"{sign}pk")
    return keys + list(more.values_list("pk", flat=True)[: size - len(keys)])


def walk(index: Index, chunks: ChunkQuerySet) -> Iterator[tuple[int, list[Chunk]]]:
    """All searchable rows of an index, some documents at a time: how many documents, and their
    chunks. `chunks` says what is loaded of each."""
    last = 0
    documents = Document.objects.searchable().filter(collection=index.collection_id)
    while window := list(
        documents.filter(pk__gt=last)
        .order_by("pk")
        .values_list("pk", "live_revision_id")[:DOCUMENTS]
    ):
        last = window[-1][0]
        revisions = [revision for _, revision in window]
        yield (
            len(window),
            list(
                chunks.filter(
                    revision__in=revisions, chunking=index.chunking, enabled=True
                ).order_by("revision_id", "order")
            ),
        )


def document_count(index: Index) -> int:
    return Document.objects.searchable().filter(collection=index.collection_id).count()


def place(chunk: Chunk) -> Position:
    return Position(chunk.document_id, chunk.pk)


def listed(chunks: ChunkQuerySet) -> ChunkQuerySet:
    """Without the text but its beginning."""
    return (
        chunks.select_related("document")
        .annotate(beginning=Left("text", EXCERPT))
        .only(
            "order", "token_count", "text_hash", "enabled", "revision_id", "heading_path",
            "document__external_id", "document__source", "document__title",
            "document__live_revision_id", "document__deleted_at", "document__collection_id",
            "chunking",
        )
    )  # fmt: skip


def found_by_words(index: Index, text: str, filter: Mapping[str, Any]) -> list[Chunk]:
    """The rows whose words match best, best first. Raises InvalidFilter."""
    within: list[int] | None = None
    if filter:
        documents = Document.objects.searchable().filter(collection=index.collection_id)
        within = list(narrowed(documents, filter).values_list("pk", flat=True))
    ids = [hit.chunk_id for hit in lexical_index().search(index.scope, text, MOST_FOUND, within)]
    return by_ids(index, ids)


def by_ids(index: Index, ids: Sequence[int]) -> list[Chunk]:
    """The rows of an index with these keys, in their order; unknown ones are left out."""
    # Whose they are is looked at here: asked for it, the database would go through them all.
    found = {
        chunk.pk: chunk
        for chunk in listed(Chunk.objects.filter(pk__in=ids, chunking=index.chunking))
        if chunk.document.collection_id == index.collection_id
    }
    return [found[pk] for pk in ids if pk in found]


def is_live(chunk: Chunk) -> bool:
    """Whether search may return it; its collection is not asked."""
    document = chunk.document
    return (
        chunk.enabled
        and document.deleted_at is None
        and chunk.revision_id == document.live_revision_id
    )


def agreement(chunk: Chunk | None, record: "StoredRecord | None") -> Agreement:
    """What a row and the record with its id say of each other, the worst first."""
    if chunk is None:
        return Agreement.ORPHANED
    if record is None and is_live(chunk):
        return Agreement.MISSING
    if record is not None and record.hash != chunk.text_hash:
        return Agreement.STALE
    if chunk.document.deleted_at or chunk.revision_id != chunk.document.live_revision_id:
        return Agreement.REPLACED
    return Agreement.SAME if chunk.enabled else Agreement.DISABLED


def norm(vector: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(vector))


def numbers_of(ids: Iterable[str]) -> list[int]:
    """Of some ids of records those that can be a chunk's."""
    return [int(id_) for id_ in ids if is_chunk_id(id_)]
