"""A passage where it stands: with what its document says before and after it.

Read from the database at that moment: what was hidden, deleted or replaced since it was
answered with is gone here too (law 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.exceptions import PassageGone
from retrieval.models import Chunk
from retrieval.passages import FOUND, PART, Part, join
from retrieval.types import MetadataValue


@dataclass(frozen=True, slots=True)
class Extract:
    """A passage, and the texts of its neighbours; those are empty where it has none."""

    chunk_id: int
    document_id: int
    external_id: str
    title: str
    url: str
    heading_path: tuple[str, ...]
    metadata: dict[str, MetadataValue]
    before: str
    text: str
    after: str
    has_more_before: bool
    has_more_after: bool


def surroundings(chunk_id: int, *, before: int = 0, after: int = 0, context: int = 1) -> Extract:
    """A chunk joined with so many `before` and `after` it, and `context` further ones around.

    A hidden chunk is a border: nothing from behind it is shown. Two queries.

    Raises PassageGone.
    """
    row = Chunk.objects.live().filter(pk=chunk_id).order_by().values("chunking", *FOUND).first()
    if row is None:
        raise PassageGone(
            "This passage is no longer in the knowledge base: its document was changed, hidden "
            "or deleted. Search again."
        )
    order = row["order"]
    nearby = Chunk.objects.live().filter(
        revision=row["revision_id"],
        chunking=row["chunking"],
        # One more on each side tells whether the document goes on there.
        order__range=(order - before - context - 1, order + after + context + 1),
    )
    parts = {part.order: part for part in (Part(*values) for values in nearby.values_list(*PART))}
    first, last = order, order
    while first - 1 in parts:
        first -= 1
    while last + 1 in parts:
        last += 1
    own_first, own_last = max(order - before, first), min(order + after, last)
    shown_first, shown_last = max(own_first - context, first), min(own_last + context, last)
    own = [parts[number] for number in range(own_first, own_last + 1)]
    return Extract(
        chunk_id=chunk_id,
        document_id=row["document_id"],
        external_id=row["document__external_id"],
        title=row["document__title"],
        url=row["document__url"],
        heading_path=tuple(row["heading_path"]),
        metadata=row["revision__metadata"],
        before=_joined([parts[n] for n in range(shown_first, own_first)], until=own[0].start),
        text=join(own),
        after=_joined([parts[n] for n in range(own_last + 1, shown_last + 1)], begin=own[-1].end),
        has_more_before=first < shown_first,
        has_more_after=last > shown_last,
    )


def _joined(parts: Sequence[Part], *, begin: int = 0, until: int | None = None) -> str:
    """Parts as one text, without what overlaps with the passage."""
    if not parts:
        return ""
    text = join(parts)
    text = text[max(begin - parts[0].start, 0) :]
    if until is not None and parts[-1].end > until:
        text = text[: len(text) - (parts[-1].end - until)]
    return text
