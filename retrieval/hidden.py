"""Passages that people keep out of search, whatever their text is cut into (law 2).

A chunk is disabled on its row. Where the same text is cut anew, by a reindex or because the
document changed elsewhere, the slices that would say it again begin disabled.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import F, Q

from retrieval.models import Chunk, Revision

#: Characters from one place to another in a revision's text.
Range = tuple[int, int]


def switch_chunks(chunk_ids: Iterable[int], enabled: bool) -> int:
    """Let search return chunks, or keep them out from this commit on; returns how many changed.

    The other cuts of the same text follow: of indexes that are built, or kept for a rollback.
    """
    with transaction.atomic():
        chosen = Chunk.objects.filter(pk__in=list(chunk_ids)).select_for_update()
        rows = list(chosen.exclude(enabled=enabled).only("pk", "revision", "chunking", "document"))
        changed = Chunk.objects.filter(pk__in=[row.pk for row in rows]).update(enabled=enabled)
        for revision_id, chunking in sorted({(row.revision_id, row.chunking) for row in rows}):
            _follow(revision_id, chunking)
    return changed


def _follow(revision_id: int, chunking: str) -> None:
    """Make the other cuts of a revision hide what this one hides, and no more."""
    others = Chunk.objects.filter(revision=revision_id).exclude(chunking=chunking)
    rows = list(others.values_list("pk", "start", "end", "text", "enabled"))
    if not rows:
        return
    own = Chunk.objects.filter(revision=revision_id, chunking=chunking)
    hidden = _ranges(own.values_list("start", "end", "enabled"))
    wanted = {pk: not says_again(text, start, hidden) for pk, start, _end, text, _on in rows}
    for enabled in (True, False):
        different = [pk for pk, *_rest, on in rows if wanted[pk] == enabled != on]
        Chunk.objects.filter(pk__in=different).update(enabled=enabled)


def hidden_in(revisions: Sequence[Revision]) -> dict[int, list[Range]]:
    """By primary key what must stay hidden of revisions that are about to be cut.

    That is what another cut of the same text hides, and what the version that is searched now
    hides, wherever the new text says the same words.
    """
    by_document = {revision.document_id: revision for revision in revisions}
    off = Chunk.objects.filter(document__in=by_document, enabled=False).filter(
        Q(revision__in=[revision.pk for revision in revisions])
        | Q(revision=F("document__live_revision"))
    )
    cuts = set(off.order_by().values_list("revision_id", "chunking"))
    if not cuts:
        return {}
    rows = Chunk.objects.filter(revision__in={revision_id for revision_id, _ in cuts})
    by_cut: dict[tuple[int, int, str], list[Chunk]] = defaultdict(list)
    for chunk in rows:
        if (chunk.revision_id, chunk.chunking) in cuts:
            by_cut[chunk.document_id, chunk.revision_id, chunk.chunking].append(chunk)
    found: dict[int, list[Range]] = defaultdict(list)
    for (document_id, revision_id, _chunking), chunks in by_cut.items():
        revision = by_document[document_id]
        ranges = _ranges((chunk.start, chunk.end, chunk.enabled) for chunk in chunks)
        if revision_id == revision.pk:
            found[revision.pk] += ranges
            continue
        for text in _texts(chunks, ranges):
            found[revision.pk] += _occurrences(text, revision.text)
    return found


def says_again(text: str, start: int, hidden: Sequence[Range]) -> bool:
    """Whether a slice that begins at `start` holds any word of what is hidden."""
    end = start + len(text)
    return any(
        any(map(str.isalnum, text[max(first, start) - start : min(last, end) - start]))
        for first, last in hidden
        if first < end and last > start
    )


def _ranges(slices: Iterable[tuple[int, int, bool]]) -> list[Range]:
    """What lies in disabled slices and in no enabled one: neighbours may overlap."""
    rows = sorted(slices)
    seen = [(start, end) for start, end, enabled in rows if enabled]
    ranges = []
    for start, end, enabled in rows:
        if enabled:
            continue
        for first, last in seen:
            if first <= start < last:
                start = last
            if first < end <= last:
                end = first
        if start < end:
            ranges.append((start, end))
    return ranges


def _texts(chunks: Sequence[Chunk], ranges: Sequence[Range]) -> list[str]:
    texts = []
    for start, end in ranges:
        chunk = next(chunk for chunk in chunks if chunk.start <= start and end <= chunk.end)
        text = chunk.text[start - chunk.start : end - chunk.start].strip()
        if any(map(str.isalnum, text)):
            texts.append(text)
    return texts


def _occurrences(text: str, whole: str) -> list[Range]:
    ranges = []
    at = whole.find(text)
    while at >= 0:
        ranges.append((at, at + len(text)))
        at = whole.find(text, at + len(text))
    return ranges
