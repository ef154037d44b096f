"""Ranked chunks → passages, read back from the database.

What the database does not call live does not exist (law 2): Chroma and the word index only
propose.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from django.db.models import Q

from retrieval.fusion import Fused
from retrieval.models import Chunk, Index
from retrieval.prepared import Prepared, padded
from retrieval.types import MetadataValue

#: Read beside the wanted ones: some candidates are gone, and some say the same.
SPARE = 4
#: Characters that are compared at a time to tell whether two passages say the same.
SHINGLE = 8
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Part:
    """A live chunk. Rows of this kind cost a third of what model instances do."""

    pk: int
    revision_id: int
    order: int
    start: int
    end: int
    heading_path: list[str]
    text: str


@dataclass(frozen=True, slots=True)
class FoundChunk(Part):
    """A live chunk with what a hit shows of its document."""

    collection_id: int
    document_id: int
    external_id: str
    title: str
    url: str
    metadata: dict[str, MetadataValue]


#: Columns in the order of the fields above.
PART = ("pk", "revision_id", "order", "start", "end", "heading_path", "text")
FOUND = (
    *PART,
    "document__collection_id",
    "document_id",
    "document__external_id",
    "document__title",
    "document__url",
    "revision__metadata",
)
JSON_COLUMNS = (FOUND.index("heading_path"), FOUND.index("revision__metadata"))
COLLECTION_ID, DOCUMENT_ID = FOUND.index("document__collection_id"), FOUND.index("document_id")
Row = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class Passage:
    """One chunk that was found, with the neighbours that have joined it."""

    found: Fused
    chunk: FoundChunk
    #: in the order of the document; the chunk itself among them
    parts: list[Part]
    #: in [0, 1], rounded as it is shown: what was shown can be asked for as min_score
    score: float

    @property
    def text(self) -> str:
        return join(self.parts)


def join(parts: Sequence[Part]) -> str:
    """Chunks in the order of their document as one text; what two of them share is said once."""
    text = parts[0].text
    for before, part in pairwise(parts):
        if part.start <= before.end:
            text += part.text[before.end - part.start :]
        else:
            # Between them stood headings, or blank lines.
            text += f"\n\n{part.text}"
    return text


def read_back(
    ranked: Sequence[Fused],
    index: Index,
    limit: int,
    *,
    within: Set[int] | None,
    duplicate_share: float,
) -> list[Passage]:
    """The first `limit` passages that are live, of the documents `within`, and not yet said."""
    passages: list[Passage] = []
    said: list[_Said] = []
    # Nearly always one query: only where much was deleted, disabled or said already a second
    # is needed.
    step = limit + SPARE
    for begin in range(0, len(ranked), step):
        part = ranked[begin : begin + step]
        rows = live_rows([item.chunk_id for item in part], index)
        for item in part:
            row = rows.get(item.chunk_id)
            if row is None or (within is not None and row[DOCUMENT_ID] not in within):
                continue
            chunk = found_chunk(row)
            if duplicate_share <= 1:
                text = _Said(chunk.text)
                if any(text.nearly_equals(other, duplicate_share) for other in said):
                    continue
                said.append(text)
            passages.append(Passage(item, chunk, [chunk], round(item.score, 4)))
            if len(passages) == limit:
                return passages
    return passages


def live_rows(chunk_ids: Sequence[int], index: Index) -> dict[int, Row]:
    """Live chunks of an index by primary key, in one query; `found_chunk` reads one of them."""
    if not chunk_ids:
        return {}
    rows = _live_chunks.rows([index.chunking, *padded(chunk_ids)])
    return {row[0]: row for row in rows if row[COLLECTION_ID] == index.collection_id}


def found_chunk(row: Row) -> FoundChunk:
    values = list(row)
    for place in JSON_COLUMNS:
        values[place] = json.loads(values[place])
    return FoundChunk(*values)


# Without an order, and with the collection compared above: else SQLite walks through all
# documents of the collection instead of looking up these few.
_live_chunks = Prepared(
    lambda values: (
        Chunk.objects.live()
        .filter(chunking=values[0], pk__in=values[1:])
        .order_by()
        .values_list(*FOUND)
    )
)


class _Said:
    """A text as it is compared: without blanks and case, in overlapping pieces."""

    def __init__(self, text: str) -> None:
        self.plain = "".join(text.split()).casefold()
        # Two pages that differ in a price or a version are two pages.
        self.numbers = NUMBER.findall(text)

    @cached_property
    def shingles(self) -> frozenset[str]:
        last = max(len(self.plain) - SHINGLE, 0)
        return frozenset(self.plain[at : at + SHINGLE] for at in range(last + 1))

    def nearly_equals(self, other: "_Said", share: float) -> bool:
        shorter, longer = sorted([len(self.plain), len(other.plain)])
        # Texts of different lengths cannot have that much in common.
        if shorter < share * longer or self.numbers != other.numbers:
            return False
        union = self.shingles | other.shingles
        return len(self.shingles & other.shingles) >= share * len(union)


def join_neighbours(
    passages: list[Passage], index: Index, *, context: int, limit: int
) -> list[Passage]:
    """The first `limit` passages, each with up to `context` chunks before and after it.

    Where two grow into each other they become one, in the place of the better. A disabled
    chunk is a border: what lies behind it does not join.
    """
    if not context or not passages:
        return passages[:limit]
    around = Q()
    for passage in passages:
        chunk = passage.chunk
        around |= Q(
            revision=chunk.revision_id, order__range=(chunk.order - context, chunk.order + context)
        )
    rows = Chunk.objects.live().filter(around, chunking=index.chunking).order_by()
    neighbours = (Part(*row) for row in rows.values_list(*PART))
    by_place = {(part.revision_id, part.order): part for part in neighbours}
    kept: list[Passage] = []
    owner: dict[int, Passage] = {}
    for passage in passages:
        if len(kept) == limit:
            break
        parts = list(_run_around(passage.chunk, by_place, context))
        met = [other for other in kept if any(owner.get(part.pk) is other for part in parts)]
        into = met[0] if met else passage
        for other in (*met[1:], passage):
            parts += other.parts
        together = {part.order: part for part in (*into.parts, *parts)}
        into.parts = [together[order] for order in sorted(together)]
        owner.update((part.pk, into) for part in into.parts)
        kept = [other for other in kept if other not in met[1:]]
        if not met:
            kept.append(passage)
    return kept


def _run_around(chunk: Part, by_place: dict[tuple[int, int], Part], context: int) -> Iterator[Part]:
    def reach(orders: Iterable[int]) -> Iterator[Part]:
        for order in orders:
            neighbour = by_place.get((chunk.revision_id, order))
            if neighbour is None:
                return
            yield neighbour

    before = list(reach(range(chunk.order - 1, chunk.order - context - 1, -1)))
    yield from reversed(before)
    yield chunk
    yield from reach(range(chunk.order + 1, chunk.order + context + 1))
