"""Accepted revisions → chunks, embeddings, word index, vectors, live.

A batch is worked on across documents, so that texts of like length are embedded together.
Slow work (parsing, embedding, Chroma) happens outside transactions; each write is short, and
checks that the revision is still held, so a worker that was thought dead cannot harm.
Everything may be repeated after a kill: rows that are there are found by their hashes.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from retrieval import aliases, judgments
from retrieval.archives import unpack
from retrieval.chunks import Cut, forget_chunks, write_chunks
from retrieval.embeddings import Vectors, embeddings_of
from retrieval.exceptions import (
    KnowledgeBaseError,
    ModelNotReady,
    UnexpectedFailure,
    VectorStoreError,
)
from retrieval.factories import chunker_for, vector_store
from retrieval.hashing import text_hash
from retrieval.leases import free_of_others
from retrieval.models import Acceptance, Attribute, Chunk, Document, EmbeddingModel, Index, Revision
from retrieval.models.revision import STAGED
from retrieval.parsers import is_archive
from retrieval.reading import parser_limits, read, read_original
from retrieval.sync import delete_vectors, send_chunks
from retrieval.types import ChunkSlice, MetadataValue, ParsedDocument

logger = logging.getLogger(__name__)

#: Documents in one batch, and the bytes after which a batch is full.
BATCH_DOCUMENTS = 128
BATCH_BYTES = 16 * 1024 * 1024
LONGEST_DELAY = 60.0
MAX_ATTEMPTS_SHIFT = 6
#: How often a worker may die over a document before it is given up.
MAX_CRASHES = 3


@dataclass(slots=True)
class Work:
    """One revision on its way through a batch."""

    revision: Revision
    parsed: ParsedDocument | None = None
    #: by chunking: an index that shares it shares the slices
    slices: dict[str, list[ChunkSlice]] = field(default_factory=dict)
    chunks: dict[str, list[Chunk]] = field(default_factory=dict)


def claim(owner: str) -> list[Revision]:
    """Take the next revisions that wait, with a lease: those first that a reviewer waits for.

    One over which workers have died before is taken last and alone, so that it harms no
    other; at the MAX_CRASHES-th time it fails.
    """
    now = timezone.now()
    abandoned = Revision.objects.in_work().filter(lease_until__lt=now)
    if not (Revision.objects.claimable(now).exists() or abandoned.exists()):
        return []  # nearly always: without a lock
    with transaction.atomic():
        # A lease that ran out belonged to a worker that died or hung.
        abandoned.abandon()
        waiting = free_of_others(
            Revision.objects.claimable(now)
            .select_related("document__collection")
            .defer("text", "metadata")
        )
        taken: list[Revision] = []
        size = 0
        accepted = Acceptance.objects.filter(state__in=Acceptance.IN_WORK).values("revision")
        fresh = waiting.filter(crashes=0).order_by("pk")
        urgent = list(fresh.filter(pk__in=accepted)[:BATCH_DOCUMENTS])
        for revision in urgent or fresh[:BATCH_DOCUMENTS]:
            if taken and size + revision.size > BATCH_BYTES:
                break
            taken.append(revision)
            size += revision.size
        # First in the queue they would meet every kill that comes soon after a start.
        taken = taken or list(waiting.filter(crashes__gt=0).order_by("crashes", "pk")[:1])
        Revision.objects.filter(pk__in=[revision.pk for revision in taken]).update(
            state=Revision.State.PARSING,
            state_at=now,
            parsing_at=now,
            lease_owner=owner,
            lease_until=now + timedelta(seconds=settings.LEASE_SECONDS),
        )
    return taken


def process(owner: str, revisions: list[Revision]) -> KnowledgeBaseError | None:
    """Index a batch that `owner` has claimed; returns the error that put it back, if any.

    A failure of one document is written on its row and does not touch the others; a failure
    of a part that all need puts the rest back into the queue, due a little later.
    """
    fatal = [revision for revision in revisions if revision.crashes >= MAX_CRASHES]
    for revision in fatal:
        revision.fail(
            owner,
            UnexpectedFailure(
                f"The worker died {revision.crashes} times while it worked on this document. "
                "Split it or save it in another format, then upload it again."
            ),
        )
    batch = [revision for revision in revisions if revision not in fatal]
    try:
        _process(owner, batch)
    except KnowledgeBaseError as error:
        if error.retryable or isinstance(error, VectorStoreError):
            _postpone(owner, batch, error)
            return error
        if len(batch) == 1:
            batch[0].fail(owner, error)
            return error
        # Somebody in this batch is to blame: each for himself.
        for revision in batch:
            process(owner, [revision])
    return None


def _postpone(owner: str, batch: list[Revision], error: KnowledgeBaseError) -> None:
    attempts = max((revision.attempts for revision in batch), default=0)
    delay = min(2.0 ** min(attempts, MAX_ATTEMPTS_SHIFT), LONGEST_DELAY)
    logger.warning("%s; trying again in %.0f s", error.message, delay)
    mine = Revision.objects.filter(pk__in=[revision.pk for revision in batch])
    mine.postpone(owner, error, delay)


def _process(owner: str, revisions: list[Revision]) -> None:
    batch = [Work(revision) for revision in revisions]
    batch = [work for work in batch if _parse(owner, work)]
    _advance(owner, batch, Revision.State.CHUNKING)
    indexes = _active_indexes(batch)
    batch = [work for work in batch if _chunk(owner, work, indexes[work_collection(work)])]
    _advance(owner, batch, Revision.State.EMBEDDING)
    vectors = _embed(batch, indexes)
    _write(owner, batch, indexes)
    _send(batch, indexes, vectors)
    _go_live(owner, batch, indexes)


def work_collection(work: Work) -> int:
    return work.revision.document.collection_id


def _advance(owner: str, batch: list[Work], state: Revision.State) -> None:
    Revision.objects.filter(pk__in=[work.revision.pk for work in batch]).advance(owner, state)


def _active_indexes(batch: list[Work]) -> dict[int, list[Index]]:
    indexes: dict[int, list[Index]] = defaultdict(list)
    for index in (
        Index.objects.active()
        .filter(collection__in={work_collection(work) for work in batch})
        .select_related("embedding_model")
    ):
        indexes[index.collection_id].append(index)
    return indexes


def _parse(owner: str, work: Work) -> bool:
    """Read the original; False if there is nothing more to do for this revision."""
    revision = work.revision
    try:
        data = read_original(revision)
        if is_archive(revision.filename, data):
            unpack(owner, revision, data, parser_limits())
            return False
        work.parsed = read(revision, data)
    except KnowledgeBaseError as error:
        revision.fail(owner, error)
        return False
    revision.title = work.parsed.title
    revision.text = work.parsed.text
    revision.metadata = work.parsed.metadata
    if not work.parsed.published:
        _skip_draft(owner, work)
        return False
    return True


@transaction.atomic
def _skip_draft(owner: str, work: Work) -> None:
    """A draft is kept, and kept out of search; so is what it replaces."""
    revision, now = work.revision, timezone.now()
    held = Revision.objects.filter(pk=revision.pk).held_by(owner)
    if not held.update(
        state=Revision.State.SKIPPED,
        state_at=now,
        finished_at=now,
        failure_code="draft",
        failure_message="The front matter says draft: it is not searched.",
        title=revision.title,
        text=revision.text,
        metadata=revision.metadata,
        lease_owner="",
        lease_until=None,
    ):
        return
    document = Document.objects.select_for_update().get(pk=revision.document_id)
    if document.live_revision_id:
        Revision.objects.filter(pk=document.live_revision_id).retire(now)
    document.live_revision = None
    document.title = revision.title
    document.save(update_fields=["live_revision", "title", "updated_at"])


def _chunk(owner: str, work: Work, indexes: list[Index]) -> bool:
    """Cut the text once for each chunking that an active index uses."""
    revision = work.revision
    try:
        for index in indexes:
            if index.chunking not in work.slices:
                work.slices[index.chunking] = chunker_for(index).split(
                    revision.text, revision.title
                )
    except ModelNotReady:
        raise
    except Exception as error:
        logger.exception("chunking %s failed", revision)
        revision.fail(
            owner, UnexpectedFailure(f"Cutting this text failed ({type(error).__name__}).")
        )
        return False
    return True


def _embed(batch: list[Work], indexes: dict[int, list[Index]]) -> dict[int, Vectors]:
    """Vectors by model and text hash for everything in the batch; known ones are looked up."""
    wanted: dict[EmbeddingModel, dict[str, str]] = defaultdict(dict)
    for work in batch:
        for index in indexes[work_collection(work)]:
            texts = wanted[index.embedding_model]
            for piece in work.slices[index.chunking]:
                texts[text_hash(piece.embedding_text)] = piece.embedding_text
    return {model.pk: embeddings_of(model, texts) for model, texts in wanted.items()}


@transaction.atomic
def _write(owner: str, batch: list[Work], indexes: dict[int, list[Index]]) -> None:
    """Chunks and lexical rows of all revisions that are still held, in one transaction."""
    held = _held(owner, batch)
    mine = [work for work in batch if work.revision.pk in held]
    # One by one: bulk_update builds a CASE for each column and takes six times as long.
    for work in mine:
        Revision.objects.filter(pk=work.revision.pk).update(
            title=work.revision.title, text=work.revision.text, metadata=work.revision.metadata
        )
    written = write_chunks(
        [
            Cut(
                revision=work.revision,
                slices=work.slices,
                scopes={index.chunking: index.scope for index in indexes[work_collection(work)]},
            )
            for work in mine
        ]
    )
    for work in mine:
        work.chunks = written[work.revision.pk]
    _advance(owner, batch, Revision.State.SYNCING)


def _send(batch: list[Work], indexes: dict[int, list[Index]], vectors: dict[int, Vectors]) -> None:
    """Vectors into every active index."""
    by_index: dict[int, list[Chunk]] = defaultdict(list)
    known = {index.pk: index for group in indexes.values() for index in group}
    for work in batch:
        for index in indexes[work_collection(work)]:
            by_index[index.pk] += work.chunks.get(index.chunking, [])
    for pk, chunks in by_index.items():
        index = known[pk]
        send_chunks(vector_store(), index, chunks, vectors[index.embedding_model_id])


@transaction.atomic
def _go_live(owner: str, batch: list[Work], indexes: dict[int, list[Index]]) -> None:
    """Each revision takes its predecessor's place in one step; a staged one waits beside it.

    An index that was begun since the batch was cut lacks it: then the work is done again,
    which finds all vectors stored, so that no index ever misses a document.
    """
    held = _held(owner, batch)
    current = _active_indexes(batch)
    for work in batch:
        pk = work_collection(work)
        if {index.pk for index in current[pk]} != {index.pk for index in indexes[pk]}:
            Revision.objects.filter(pk=work.revision.pk).held_by(owner).release()
            held.discard(work.revision.pk)
            # What was cut for an index that was given up meanwhile.
            cut = Chunk.objects.filter(revision=work.revision).exclude(
                chunking__in={index.chunking for index in current[pk]}
            )
            forget_chunks(list(cut.values_list("pk", flat=True)))
    now = timezone.now()
    for work in batch:
        if work.revision.pk in held and STAGED in work.revision.options:
            _stage(work.revision, indexes[work_collection(work)], now)
            held.discard(work.revision.pk)
    fresh = {work.revision.document_id: work.revision for work in batch if work.revision.pk in held}
    documents = list(Document.objects.select_for_update().filter(pk__in=fresh).order_by("pk"))
    replaced = {
        document.live_revision_id
        for document in documents
        if document.live_revision_id and document.live_revision_id not in held
    }
    newest = Revision.objects.filter(document=OuterRef("pk"), pk__in=held)
    Document.objects.filter(pk__in=fresh).update(
        live_revision=Subquery(newest.values("pk")[:1]),
        title=Subquery(newest.values("title")[:1]),
        updated_at=now,
    )
    Attribute.objects.filter(document__in=fresh).delete()
    Attribute.objects.bulk_create(
        attribute
        for document in documents
        for attribute in _attributes(document, fresh[document.pk].metadata)
    )
    Revision.objects.filter(pk__in=replaced).retire(now)
    aliases.flag_stale(fresh)
    judgments.flag_stale(fresh)
    Revision.objects.filter(pk__in=held).update(
        state=Revision.State.INDEXED,
        state_at=now,
        finished_at=now,
        indexed_at=now,
        retired_at=None,
        failure_code="",
        failure_message="",
        lease_owner="",
        lease_until=None,
    )


def _stage(revision: Revision, indexes: list[Index], now: datetime) -> None:
    """Keep a version that is indexed out of search, and say in which indexes it is."""
    Revision.objects.filter(pk=revision.pk).update(
        state=Revision.State.SKIPPED,
        state_at=now,
        finished_at=now,
        failure_code=STAGED,
        failure_message="It is indexed, and not searched until it is published.",
        options={**revision.options, STAGED: sorted(index.pk for index in indexes)},
        lease_owner="",
        lease_until=None,
    )


def fill_index(index: Index, revisions: list[Revision]) -> None:
    """Cut revisions that are live as one index wants it, and send them there.

    The text is the stored one: nothing is parsed again, and only texts that this model has
    never seen are embedded.
    """
    slices = {
        revision.pk: chunker_for(index).split(revision.text, revision.title)
        for revision in revisions
    }
    texts = {
        text_hash(piece.embedding_text): piece.embedding_text
        for pieces in slices.values()
        for piece in pieces
    }
    vectors = embeddings_of(index.embedding_model, texts)
    with transaction.atomic():
        if not Index.objects.active().select_for_update().filter(pk=index.pk):
            return  # given up meanwhile
        still_live = set(
            Document.objects.searchable()
            .filter(live_revision__in=slices)
            .values_list("live_revision", flat=True)
        )
        written = write_chunks(
            [
                Cut(revision, {index.chunking: slices[revision.pk]}, {index.chunking: index.scope})
                for revision in revisions
                if revision.pk in still_live
            ]
        )
    chunks = [chunk for by_chunking in written.values() for chunk in by_chunking[index.chunking]]
    send_chunks(vector_store(), index, chunks, vectors)


def _held(owner: str, batch: list[Work]) -> set[int]:
    """Which of the batch `owner` still holds, locked until the transaction ends."""
    rows = Revision.objects.filter(pk__in=[work.revision.pk for work in batch]).held_by(owner)
    return set(rows.select_for_update().values_list("pk", flat=True))


def _attributes(document: Document, metadata: dict[str, MetadataValue]) -> Iterator[Attribute]:
    for key, value in metadata.items():
        for item in value if isinstance(value, list) else [value]:
            number = float(item) if isinstance(item, bool | int | float) else None
            string = str(item).lower() if isinstance(item, bool) else str(item)
            yield Attribute(document=document, key=key[:100], string=string[:500], number=number)


def clean_up(limit: int = 50) -> int:
    """Take retired revisions out of Chroma and the lexical index; returns how many.

    Search has not returned them since they were retired (law 2): this only frees the space.
    """
    revisions = list(
        Revision.objects.awaiting_cleanup()
        .select_related("document")
        .only("pk", "document__collection_id")
        .order_by("retired_at")[:limit]
    )
    by_collection: dict[int, list[Revision]] = defaultdict(list)
    for revision in revisions:
        by_collection[revision.document.collection_id].append(revision)
    for collection_id, group in by_collection.items():
        chunk_ids = list(Chunk.objects.filter(revision__in=group).values_list("pk", flat=True))
        delete_vectors(vector_store(), collection_id, chunk_ids)
        with transaction.atomic():
            # One that was asked for again meanwhile keeps its rows.
            mine = Revision.objects.filter(pk__in=[revision.pk for revision in group])
            still = list(mine.awaiting_cleanup().select_for_update().values_list("pk", flat=True))
            forget_chunks(
                list(Chunk.objects.filter(revision__in=still).values_list("pk", flat=True))
            )
            Revision.objects.filter(pk__in=still).update(cleaned_at=timezone.now())
    return len(revisions)
