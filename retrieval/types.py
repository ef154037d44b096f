"""What crosses the borders between modules: frozen dataclasses or named tuples, never dicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

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
    return id.isascii() and id.isdecimal() and len(id) < 19


#: Questions that lead to a chunk stand in Chroma and the lexical index from this id on, above all
#: keys of chunks and below what 18 digits can say.
FIRST_ALIAS_ID = 10**17


def is_alias_id(id_: int) -> bool:
    return id_ >= FIRST_ALIAS_ID


# Tuples: a search makes dozens of each, and a frozen dataclass takes three times as long.
class DenseCandidate(NamedTuple):
    """A hit as Chroma returned it."""

    chunk_id: int
    distance: float  #: lower is nearer; its meaning depends on the index's space
    #: in [0, 1], where a question leads to it that asks the same in other words
    likeness: float | None = None


class LexicalCandidate(NamedTuple):
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


class Mode(StrEnum):
    """Which arms are asked."""

    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


class Script(StrEnum):
    """What a question is mostly written in: models understand some scripts and not others."""

    ALPHABETIC = "alphabetic"
    CJK = "cjk"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores in [0, 1] from which an answer is worth showing, and from which it is relied on."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """How a collection is searched; what is left out follows from the model and the defaults."""

    mode: Mode = Mode.HYBRID
    #: share of the dense arm in [0, 1] by script; where it is missing, the model's card decides
    dense_weight: Mapping[Script, float] = field(default_factory=dict)
    #: by what the score was made of ("hybrid", "dense", "lexical", "reranked"), then by script
    thresholds: Mapping[str, Mapping[Script, Thresholds]] = field(default_factory=dict)
    min_score: float = 0.0  #: passages below it are left out
    context: int = 0  #: neighbouring chunks on each side that join a passage
    #: share of common text from which the lower of two passages is left out; above 1: never
    duplicate_share: float = 0.9
    rerank: bool = True  #: by the cross-encoder, where one is set up


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is asked. What is None is as the collection has it."""

    query: str
    collection: str
    top_k: int | None = None
    filter: Mapping[str, Any] = field(default_factory=dict)
    channel: str = "api"
    mode: str | None = None
    min_score: float | None = None
    context: int | None = None
    explain: bool = False
    #: instead of the collection's own: the playground and evaluations try others
    settings: RetrievalSettings | None = None
    index_id: int | None = None  #: another complete index than the live one
    asker: str = ""  #: the key, or the person as the channel knows it
    is_logged: bool = True  #: evaluations are not somebody's questions


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a passage stands where it does. What an arm did not find is None."""

    space: str  #: what `distance` means: cosine, ip, l2
    distance: float | None  #: lower is nearer
    similarity: float | None  #: the distance as a cosine in [0, 1]
    dense_rank: int | None  #: from 1
    bm25: float | None  #: higher is better, unbounded
    lexical_score: float | None  #: the share of the most that this query could have scored
    lexical_rank: int | None
    dense_weight: float  #: the lexical arm has the rest
    fused_score: float
    #: of a question that leads to it: of the best hit it is the score, where it is more
    question_score: float | None
    rerank_score: float | None
    matched_terms: tuple[str, ...]  #: the query's index terms that the passage holds
    matches: tuple[tuple[int, int], ...]  #: where, in characters of the passage's text
    index: str
    model: str


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
    chunk_ids: tuple[int, ...] = ()  #: all chunks that the passage was merged from, in order
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class SearchResponse:
    """What one search found, and how far it can be relied on."""

    query_id: str
    collection: str
    hits: tuple[Hit, ...]
    confidence: str  #: high, low or none
    degraded: str  #: empty, or which arm is missing and why
    timings: Mapping[str, float]  #: milliseconds by stage
    mode: Mode = Mode.HYBRID  #: as it was asked; `degraded` says if it could not be had
    dense_weight: float = 0.0  #: the share that meaning had in the scores; words had the rest
    thresholds: Thresholds = Thresholds(0.0, 0.0)  #: by which `confidence` was judged
