"""Documents as they can be read now: those that are searched, and of them what search may return.

Read from the database at that moment: what was deleted or replaced is gone here too, and what
is hidden is left out (law 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Substr

from retrieval.exceptions import DocumentGone, PassageGone
from retrieval.models import Chunk, Collection, Document, Revision
from retrieval.types import MetadataValue

#: pk, order, start, end of a chunk
_Span = tuple[int, int, int, int]
_SPAN = ("pk", "order", "start", "end")


@dataclass(frozen=True, slots=True)
class LiveDocument:
    """A document that is searched, without its text."""

    pk: int
    external_id: str
    title: str
    url: str
    metadata: dict[str, MetadataValue]
    collection: str  #: slug
    collection_title: str
    revision_id: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A document's text, or as much of it as was asked for."""

    document: LiveDocument
    text: str  #: Markdown
    chunk_id: int  #: the passage that was asked for, or the first one
    start: int  #: characters into the document
    next_start: int | None  #: where it goes on; None at its end
    is_whole: bool  #: all of it that is not hidden
    heading_path: tuple[str, ...] = ()  #: of the passage that was asked for


def live_documents(after: int = 0, limit: int = 100) -> list[LiveDocument]:
    """Documents with something to find in them, by key, those after the key `after`. One query."""
    found = Chunk.objects.filter(
        document=OuterRef("pk"), revision=OuterRef("live_revision"), enabled=True
    )
    rows = (
        Document.objects.searchable()
        .filter(Exists(found), pk__gt=after)
        .order_by("pk")
        .select_related("collection", "live_revision")
        .only(*_COLUMNS)
    )
    return [_described(document) for document in rows[:limit]]


def live_collections(limit: int = 100) -> list[Collection]:
    """Those that can be searched, by their slug."""
    alive = Collection.objects.alive().filter(live_index__isnull=False).order_by("slug")
    return list(alive.only("slug", "title", "description")[:limit])


def read_document(document_id: int, *, start: int = 0, limit: int) -> Excerpt:
    """About `limit` characters of a document from `start` on, in whole chunks, one at least.

    Raises DocumentGone.
    """
    document = _find(document_id)
    chunking = document.collection.live_index.chunking if document.collection.live_index else ""
    spans = _spans(document, chunking)
    ahead = [span for span in spans if span[2] >= start]
    if not ahead:
        raise DocumentGone(f"Document {document_id} has nothing to read from {start} on.")
    count = 1
    while count < len(ahead) and ahead[count][3] - ahead[0][2] <= limit:
        count += 1
    chosen = ahead[:count]
    return _excerpt(document, spans, chosen, chosen[0][0])


def read_passage(chunk_id: int, *, limit: int) -> Excerpt:
    """The whole document of a passage where it has at most `limit` characters, else so much of it
    around the passage.

    Raises PassageGone.
    """
    columns = ("document", "chunking", "heading_path")
    chunk = Chunk.objects.live().filter(pk=chunk_id).only(*columns).first()
    if chunk is None:
        raise _gone()
    try:
        document = _find(chunk.document_id)
    except DocumentGone as error:
        raise _gone() from error
    spans = _spans(document, chunk.chunking)
    at = next((place for place, span in enumerate(spans) if span[0] == chunk_id), None)
    if at is None:
        raise _gone()
    first, last = at, at
    while True:
        wider = first
        if first > 0 and spans[last][3] - spans[first - 1][2] <= limit:
            first -= 1
        if last + 1 < len(spans) and spans[last + 1][3] - spans[first][2] <= limit:
            last += 1
        elif first == wider:
            break
    chosen = spans[first : last + 1]
    return _excerpt(document, spans, chosen, chunk_id, tuple(chunk.heading_path))


def _gone() -> PassageGone:
    return PassageGone(
        "This passage is no longer in the knowledge base: its document was changed, hidden or "
        "deleted. Search again."
    )


_COLUMNS = (
    "external_id",
    "title",
    "url",
    "updated_at",
    "live_revision__metadata",
    "live_revision__created_at",
    "collection__slug",
    "collection__title",
)


def _find(document_id: int) -> Document:
    document = (
        Document.objects.searchable()
        .filter(pk=document_id)
        .select_related("live_revision", "collection__live_index")
        .defer("live_revision__text")
        .first()
    )
    if document is None:
        raise DocumentGone(
            f"There is no document {document_id} in the knowledge base, or not any more."
        )
    return document


def _described(document: Document) -> LiveDocument:
    revision = document.live_revision
    assert revision is not None  # noqa: S101 - searchable() says so
    return LiveDocument(
        pk=document.pk,
        external_id=document.external_id,
        title=document.title,
        url=document.url,
        metadata=revision.metadata,
        collection=document.collection.slug,
        collection_title=document.collection.title,
        revision_id=revision.pk,
        changed_at=revision.created_at,
    )


def _spans(document: Document, chunking: str) -> list[_Span]:
    rows = Chunk.objects.live().filter(document=document, chunking=chunking).order_by("order")
    return list(rows.values_list(*_SPAN))


def _excerpt(
    document: Document,
    spans: Sequence[_Span],
    chosen: Sequence[_Span],
    chunk_id: int,
    heading_path: tuple[str, ...] = (),
) -> Excerpt:
    described = _described(document)
    place = spans.index(chosen[-1]) + 1
    return Excerpt(
        document=described,
        text=_text(described.revision_id, chosen),
        chunk_id=chunk_id,
        start=chosen[0][2],
        next_start=spans[place][2] if place < len(spans) else None,
        is_whole=len(chosen) == len(spans),
        heading_path=heading_path,
    )


def _text(revision_id: int, chosen: Sequence[_Span]) -> str:
    """Runs of neighbouring chunks as the document has them, with the headings between them; what
    lies between two runs is hidden."""
    begin, end = chosen[0][2], chosen[-1][3]
    if chosen[0][1] == 0:
        begin = 0  # nothing but headings stands before the first one
    text = (
        Revision.objects.filter(pk=revision_id)
        .annotate(piece=Substr(F("text"), begin + 1, end - begin))
        .values_list("piece", flat=True)
        .get()
    )
    runs = []
    for _, group in groupby(enumerate(chosen), lambda pair: pair[1][1] - pair[0]):
        run = [span for _, span in group]
        first = begin if run[0] is chosen[0] else run[0][2]
        runs.append(text[first - begin : run[-1][3] - begin].strip("\n"))
    return "\n\n".join(runs)
