"""Chunk rows and their lexical rows: written together, forgotten together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from retrieval import aliases
from retrieval.hashing import text_hash
from retrieval.hidden import hidden_in, says_again
from retrieval.lexical import lexical_index
from retrieval.likeness import topic
from retrieval.models import Chunk, Revision
from retrieval.models.revision import STAGED
from retrieval.types import ChunkSlice, LexicalEntry

#: Chunk rows by revision and chunking.
Written = dict[int, dict[str, list[Chunk]]]


@dataclass(frozen=True, slots=True)
class Cut:
    """A revision and its slices by chunking; `scopes` names the part of the lexical index for
    each chunking."""

    revision: Revision
    slices: dict[str, list[ChunkSlice]]
    scopes: dict[str, str]


def write_chunks(cuts: Sequence[Cut]) -> Written:
    """The chunk rows of revisions, in a few queries for all. Call it inside a transaction.

    The words of a staged version are not written: they would weigh in what is searched now. Rows
    that are there already, from a run that was cut short, are kept with their ids.
    """
    existing = _existing([cut.revision.pk for cut in cuts])
    hidden = hidden_in([cut.revision for cut in cuts])
    written: Written = {cut.revision.pk: {} for cut in cuts}
    outdated: list[int] = []
    fresh: list[Chunk] = []
    for cut in cuts:
        for chunking, pieces in cut.slices.items():
            rows = [_row(cut.revision, chunking, piece) for piece in pieces]
            before = existing[cut.revision.pk, chunking]
            if [_identity(chunk) for chunk in before] == [_identity(chunk) for chunk in rows]:
                rows = before
            else:
                # Their vectors, if any, are drift that the next comparison repairs.
                outdated += [chunk.pk for chunk in before]
                ranges = hidden.get(cut.revision.pk, ())
                for row in rows:
                    row.enabled = not says_again(row.text, row.start, ranges)
                fresh += rows
            written[cut.revision.pk][chunking] = rows
    if outdated:
        forget_chunks(outdated)
    Chunk.objects.bulk_create(fresh)  # gives them their keys
    scopes = {
        (cut.revision.pk, chunking): scope for cut in cuts for chunking, scope in cut.scopes.items()
    }
    _add_words(
        (scopes[chunk.revision_id, chunk.chunking], chunk)
        for chunk in fresh
        if STAGED not in chunk.revision.options
    )
    aliases.carry(written, [cut.revision for cut in cuts], scopes)
    return written


def rescope_chunks(chunks: Sequence[Chunk], scopes: dict[str, str]) -> None:
    """Write the words of chunks into parts of the lexical index, by chunking, and only there.

    Call it inside a transaction; the chunks' revisions must be loaded.
    """
    lexical_index().remove([chunk.pk for chunk in chunks])
    _add_words((scopes[chunk.chunking], chunk) for chunk in chunks)
    aliases.rescope(chunks, scopes)


def _add_words(scoped: Iterable[tuple[str, Chunk]]) -> None:
    entries: dict[str, list[LexicalEntry]] = defaultdict(list)
    for scope, chunk in scoped:
        entries[scope].append(_entry(chunk))
    for scope, group in entries.items():
        lexical_index().add(scope, group)


def _existing(revisions: list[int]) -> dict[tuple[int, str], list[Chunk]]:
    found: dict[tuple[int, str], list[Chunk]] = defaultdict(list)
    for chunk in Chunk.objects.filter(revision__in=revisions).order_by("order"):
        found[chunk.revision_id, chunk.chunking].append(chunk)
    return found


def forget_chunks(ids: list[int]) -> None:
    """Delete chunk rows and their lexical rows, and where aliases led to them. Call it inside a
    transaction."""
    lexical_index().remove([*ids, *aliases.record_ids(ids)])
    Chunk.objects.filter(pk__in=ids).delete()


def _row(revision: Revision, chunking: str, piece: ChunkSlice) -> Chunk:
    return Chunk(
        document_id=revision.document_id,
        revision=revision,
        chunking=chunking,
        order=piece.order,
        start=piece.start,
        end=piece.end,
        heading_path=list(piece.heading_path),
        text=piece.text,
        token_count=piece.token_count,
        text_hash=text_hash(piece.embedding_text),
    )


def _entry(chunk: Chunk) -> LexicalEntry:
    title, body = chunk.revision.title, chunk.text
    if chunk.revision.metadata.get("kind") == "answer":
        # Short, and its questions said as questions are: any other one would find it by that.
        title = topic(title)
        lines = body.split("\n")
        body = "\n".join(topic(line) if line.endswith(("?", "？")) else line for line in lines)
    return LexicalEntry(
        chunk_id=chunk.pk, title=title, headings=" ".join(chunk.heading_path), body=body
    )


def _identity(chunk: Chunk) -> tuple[int, int, int, str]:
    return chunk.order, chunk.start, chunk.end, chunk.text_hash
