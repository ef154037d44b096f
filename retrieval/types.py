"""What crosses the borders between modules: frozen dataclasses, never dicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Scalar = str | int | float | bool
#: A typed front-matter value: a scalar, an ISO date as text, or a list of scalars.
MetadataValue = Scalar | list[Scalar]


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a parser read from a file's bytes."""

    title: str
    text: str  #: Markdown, front matter removed, line ends "\n"
    metadata: dict[str, MetadataValue]
    published: bool = True


@dataclass(frozen=True, slots=True)
class ChunkSlice:
    """A piece of a text: `text == source[start:end]`."""

    order: int
    start: int  #: characters
    end: int
    heading_path: tuple[str, ...]
    text: str
    token_count: int  #: of the embedded text, special tokens included
    embedding_text: str  #: title and headings, then the slice: what the model reads


def is_chunk_id(id: str) -> bool:
    """Whether a record's id in Chroma can be a chunk's: a number that databases take as a key.
    Another was written by a stranger."""
    return id.isdecimal() and len(id) < 19


@dataclass(frozen=True, slots=True)
class DenseCandidate:
    """A hit as Chroma returned it."""

    chunk_id: int
    distance: float  #: lower is nearer; its meaning depends on the index's space


@dataclass(frozen=True, slots=True)
class LexicalCandidate:
    """A hit as the lexical index returned it."""

    chunk_id: int
    bm25: float  #: higher is better, unbounded
    score: float  #: in [0, 1]: the share of the most that this query could have scored


@dataclass(frozen=True, slots=True)
class LexicalEntry:
    """What the lexical index holds of one chunk."""

    chunk_id: int
    title: str
    headings: str
    body: str


@dataclass(frozen=True, slots=True)
class SearchRequest:
    query: str
    collection: str
    top_k: int | None = None  #: the collection's own default where it is left out
    filter: Mapping[str, Any] = field(default_factory=dict)
    channel: str = "api"


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage of an answer."""

    rank: int  #: from 1
    score: float  #: in [0, 1], higher is better
    chunk_id: int
    document_id: int
    external_id: str
    title: str
    heading_path: tuple[str, ...]
    text: str
    url: str
    metadata: Mapping[str, MetadataValue]
    distance: float | None  #: in the index's space; None if only the words were found
    bm25: float | None  #: None if only the meaning was found


@dataclass(frozen=True, slots=True)
class SearchResponse:
    query_id: str
    collection: str
    hits: tuple[Hit, ...]
    confidence: str  #: high, low or none
    degraded: str  #: empty, or which arm is missing and why
    timings: Mapping[str, float]  #: milliseconds by stage
