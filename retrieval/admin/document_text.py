"""What a document's page shows of its text: one part of it, with the passages in it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Left, Length
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from retrieval.admin.rendering import Span, open_fence, plain, rendered
from retrieval.models import Chunk, Document, Revision, Search

#: Characters of a text that a page shows; longer ones come in parts.
TEXT_SHOWN = 20_000
#: A part begins and ends with a line, if one does within so many characters.
LONGEST_EDGE = 2000
#: Passages that a part may have; a part of this length has far fewer, unless they are tiny.
SPANS_SHOWN = 1000
CHUNKS_COUNTED = 10_000
#: Searches of the collection, the newest first, in which it is counted how often a passage was
#: found. All of them would take longer with every question that is asked.
SEARCHES_COUNTED = 1000
SOURCE = "source"
COLUMNS = ("pk", "order", "start", "end", "heading_path", "token_count", "enabled")


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as the page shows it."""

    pk: int
    number: int
    start: int
    end: int
    headings: list[str]
    tokens: int
    enabled: bool
    found: int

    @property
    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.pk,
            "number": self.number,
            "start": self.start,
            "end": self.end,
            "headings": " › ".join(self.headings),
            "tokens": self.tokens,
            "enabled": self.enabled,
            "found": self.found,
            "edit": reverse("admin:retrieval_document_edit_chunk", args=[self.pk]),
            "open": reverse("admin:retrieval_chunk_change", args=[self.pk]),
        }


class ShownText:
    """The part of a document's searched version that a request asks for, or, before there is
    one, of its newest.

    `?part=2` counts from 1; `?chunk=ID` leads to the part in which that passage begins;
    `?view=source` shows the text as it stands. A fixed number of bounded queries.
    """

    def __init__(self, request: HttpRequest, document: Document) -> None:
        self.document = document
        self.revision_id = document.live_revision_id or document.latest_revision_id or 0
        self.is_source = request.GET.get("view") == SOURCE
        index = document.collection.live_index
        self.chunking = index.chunking if index else ""
        asked = request.GET.get("chunk", "")
        self.asked = (
            Chunk.objects.filter(pk=int(asked), document=document)
            .values("pk", "revision_id", "chunking", "start")
            .first()
            if asked.isdecimal() and len(asked) < 19
            else None
        )
        self.is_lost = bool(asked) and (
            self.asked is None or self.asked["revision_id"] != self.revision_id
        )
        part = request.GET.get("part", "")
        if self.asked is not None and not self.is_lost:
            self.part = int(self.asked["start"]) // TEXT_SHOWN
        else:
            self.part = max(int(part), 1) - 1 if part.isdecimal() and len(part) < 7 else 0
        self._read()

    def _read(self) -> None:
        """The text up to the end of the part: what is before it tells whether it begins inside
        of a code fence."""
        until = (self.part + 1) * TEXT_SHOWN + LONGEST_EDGE
        row = (
            Revision.objects.filter(pk=self.revision_id)
            .annotate(beginning=Left("text", until), length=Length("text"))
            .values("beginning", "length", "metadata")
            .first()
        ) or {"beginning": "", "length": 0, "metadata": {}}
        self.length: int = row["length"]
        self.parts = max(-(-self.length // TEXT_SHOWN), 1)
        self.metadata = row["metadata"] if isinstance(row["metadata"], dict) else {}
        text: str = row["beginning"]
        if self.part >= self.parts:
            self.part = self.parts - 1
            self._read()
            return
        first, last = self.part * TEXT_SHOWN, (self.part + 1) * TEXT_SHOWN
        line = text.rfind("\n", max(first - LONGEST_EDGE, 0), first) + 1
        self.begin = line if first and line else first
        line = text.find("\n", last)
        self.end = line if line >= 0 else min(last, len(text))
        self.text = text[self.begin : self.end]
        self.fence = open_fence(text[: self.begin])

    @cached_property
    def passages(self) -> list[Passage]:
        """Those that have a character in this part, in their order."""
        rows = (
            Chunk.objects.filter(
                revision=self.revision_id,
                chunking=self.chunking,
                start__lt=self.end,
                end__gt=self.begin,
            )
            .order_by("order")
            .values_list(*COLUMNS)[:SPANS_SHOWN]
        )
        found = self.found
        return [
            Passage(pk, order + 1, start, end, list(path), tokens, enabled, found[pk])
            for pk, order, start, end, path, tokens, enabled in rows
        ]

    @cached_property
    def found(self) -> Counter[int]:
        """How often each chunk is among the results of the newest searches."""
        newest = (
            Search.objects.filter(collection=self.document.collection_id)
            .order_by("-created_at")
            .values_list("results", flat=True)[:SEARCHES_COUNTED]
        )
        count: Counter[int] = Counter()
        self.searches = 0
        for results in newest:
            self.searches += 1
            count.update(
                hit["chunk_id"]
                for hit in results
                if isinstance(hit, dict) and isinstance(hit.get("chunk_id"), int)
            )
        return count

    @cached_property
    def selected(self) -> Passage | None:
        """The passage that was asked for; of another cut, the one that begins where it does."""
        if self.asked is None or self.is_lost:
            return None
        by_key = {passage.pk: passage for passage in self.passages}
        start = self.asked["start"]
        around = (p for p in self.passages if p.start <= start < p.end)
        return by_key.get(self.asked["pk"]) or next(around, None)

    def html(self) -> str:
        spans = [
            Span(
                pk=passage.pk,
                number=passage.number,
                start=max(passage.start - self.begin, 0),
                end=min(passage.end - self.begin, len(self.text)),
                enabled=passage.enabled,
            )
            for passage in self.passages
        ]
        selected = self.selected.pk if self.selected else None
        if self.is_source:
            return plain(self.text, spans, selected, urlencode({"view": SOURCE}))
        if not self.fence:
            return rendered(self.text, spans, selected)
        # The part begins inside of a code fence, which was opened before it.
        opening = f"{self.fence}\n"
        moved = [
            Span(s.pk, s.number, s.start + len(opening), s.end + len(opening), s.enabled)
            for s in spans
        ]
        return rendered(opening + self.text, moved, selected)

    def url(self, **parameters: Any) -> str:
        given = {key: value for key, value in parameters.items() if value}
        page = reverse("admin:retrieval_document_change", args=[self.document.pk])
        return f"{page}?{urlencode(given)}"

    def context(self) -> dict[str, Any]:
        view = SOURCE if self.is_source else ""
        numbers = Chunk.objects.filter(revision=self.revision_id, chunking=self.chunking)
        count = numbers.order_by()[:CHUNKS_COUNTED].count()
        off = numbers.filter(enabled=False).order_by()[:CHUNKS_COUNTED].count()
        passages = self.passages
        return {
            "shown": self,
            "html": self.html() if self.text else "",
            "selected": self.selected,
            "passages": [passage.as_json for passage in passages],
            "chunk_count": f"{count}+" if count == CHUNKS_COUNTED else str(count),
            "chunks_off": off,
            "part": self.part + 1,
            "previous_url": self.url(part=self.part, view=view) if self.part else "",
            "next_url": self.url(part=self.part + 2, view=view)
            if self.part + 1 < self.parts
            else "",
            "source_url": self.url(part=self.part + 1, view=SOURCE),
            "rendered_url": self.url(part=self.part + 1),
            "notice": _("That passage belongs to another version of this document, or is gone.")
            if self.is_lost
            else "",
        }
