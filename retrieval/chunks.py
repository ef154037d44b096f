"""Chunk rows and their lexical rows: written together, forgotten together."""

from collections import defaultdict

from retrieval.hashing import text_hash
from retrieval.lexical import lexical_index
from retrieval.models import Chunk, Revision
from retrieval.types import ChunkSlice, LexicalEntry


def write_chunks(
    revision: Revision, slices: dict[str, list[ChunkSlice]], scopes: dict[str, str]
) -> dict[str, list[Chunk]]:
    """The chunk rows of a revision by chunking. Call it inside a transaction.

    Rows that are there already, from a run that was cut short, are kept with their ids.
    `scopes` names the part of the lexical index for each chunking.
    """
    existing: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in revision.chunks.filter(chunking__in=slices).order_by("order"):
        existing[chunk.chunking].append(chunk)
    written: dict[str, list[Chunk]] = {}
    for chunking, pieces in slices.items():
        fresh = [_row(revision, chunking, piece) for piece in pieces]
        before = existing[chunking]
        if [_identity(chunk) for chunk in before] == [_identity(chunk) for chunk in fresh]:
            written[chunking] = before
            continue
        # Their vectors, if any, are drift that the next comparison repairs.
        forget_chunks([chunk.pk for chunk in before])
        written[chunking] = Chunk.objects.bulk_create(fresh)
        lexical_index().add(
            scopes[chunking],
            [
                LexicalEntry(
                    chunk_id=chunk.pk,
                    title=revision.title,
                    headings=" ".join(chunk.heading_path),
                    body=chunk.text,
                )
                for chunk in written[chunking]
            ],
        )
    return written


def forget_chunks(ids: list[int]) -> None:
    """Delete chunk rows and their lexical rows. Call it inside a transaction."""
    lexical_index().remove(ids)
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


def _identity(chunk: Chunk) -> tuple[int, int, int, str]:
    return chunk.order, chunk.start, chunk.end, chunk.text_hash
