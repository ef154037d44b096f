"""A change before it is final: prepared beside what is searched, tried out, published or discarded.

What is prepared has its rows, which say that it is staged, and its vectors in Chroma: searches do
not return it, and rank by words as if it did not exist. To publish it is to change these rows and
to write its words. It is tried out by doing that in a transaction which is never committed: the
trial goes through the one search path and says what will be answered to the last digit, and a kill
leaves nothing of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.utils import timezone

from retrieval import aliases, hidden, sync
from retrieval.chunks import rescope_chunks
from retrieval.exceptions import ReviewConflict
from retrieval.factories import vector_store
from retrieval.lexical import lexical_index
from retrieval.models import Acceptance, Alias, Chunk, Collection, Document, Index, Revision
from retrieval.models.revision import STAGED, unstaged
from retrieval.tasks import notify

Kind = Acceptance.Kind
GONE = "This passage is gone: its document was changed, hidden or deleted. Choose another."


def live_chunk(collection: Collection, chunk_id: int | None) -> Chunk:
    """Raises ReviewConflict if searches do not return it, or not any more."""
    chunk = (
        Chunk.objects.live()
        .filter(document__collection=collection, pk=chunk_id or 0)
        .select_related("document__live_revision")
        .first()
    )
    if chunk is None:
        raise ReviewConflict(GONE)
    return chunk


def is_ready(acceptance: Acceptance) -> bool:
    """Whether everything is written that trying it out needs.

    Raises ReviewConflict if that can never be, and what stops a write to Chroma.
    """
    check_newest(acceptance)
    revision = acceptance.revision
    if acceptance.kind == Kind.HIDE:
        live_chunk(acceptance.item.collection, acceptance.undo["chunk"])
        return True
    if revision is None:
        # Again after a kill: what is there is written over.
        sync.send_aliases(vector_store(), acceptance.undo["aliases"])
        return True
    if revision.is_unfinished:
        return False
    if not _is_staged(revision):
        raise ReviewConflict(revision.failure_message or "Its document was not indexed.")
    indexes = Index.objects.active().filter(collection=acceptance.item.collection_id)
    if set(revision.options[STAGED]) != set(indexes.values_list("pk", flat=True)):
        # An index was begun since: into that one, too.
        Revision.objects.filter(pk=revision.pk).requeue()
        notify()
        return False
    return True


def _is_staged(revision: Revision) -> bool:
    return revision.state == Revision.State.SKIPPED and revision.failure_code == STAGED


def check_newest(acceptance: Acceptance) -> None:
    """Raises ReviewConflict if the document was changed, moved or deleted since."""
    document = acceptance.document
    if document is None or document.deleted_at is not None:
        raise ReviewConflict("Its document was deleted.")
    if document.collection_id != acceptance.item.collection_id:
        raise ReviewConflict(f"{document} was moved to another collection.")
    if acceptance.revision_id and document.latest_revision_id != acceptance.revision_id:
        raise ReviewConflict(f"{document} was changed after this was accepted.")


@contextmanager
def tried_out(acceptance: Acceptance) -> Iterator[None]:
    """As if it were published already, for the searches of this thread; nothing is committed."""
    document, revision = acceptance.document, acceptance.revision
    with transaction.atomic():
        _make_known(acceptance)
        if document is not None and revision is not None:
            old = Chunk.objects.filter(revision=document.live_revision_id or 0)
            keys = list(old.values_list("pk", flat=True))
            # Once it is live the words of the version before do not weigh any more.
            lexical_index().remove([*keys, *aliases.record_ids(keys)])
            Document.objects.filter(pk=document.pk).update(
                live_revision=revision, title=revision.title
            )
        yield
        transaction.set_rollback(True)


def publish(acceptance: Acceptance) -> bool:
    """Let it be searched; whether it is from this commit on, or once the worker has indexed it.

    Call it in a transaction. Raises ReviewConflict if what it changes was changed meanwhile.
    """
    check_newest(acceptance)
    if acceptance.kind == Kind.HIDE:
        live_chunk(acceptance.item.collection, acceptance.undo["chunk"])
    _make_known(acceptance)
    revision = acceptance.revision
    if revision is None or revision.indexed_at is not None:
        return True
    # Through the queue: indexed again it costs no embedding, and takes its predecessor's place in
    # every index that there is by then.
    Revision.objects.filter(pk=revision.pk).requeue()
    notify()
    return False


def _make_known(acceptance: Acceptance) -> None:
    """What has to change for searches to find it, but for which version is live."""
    if acceptance.kind == Kind.HIDE:
        hidden.switch_chunks([acceptance.undo["chunk"]], enabled=False)
        return
    indexes = Index.objects.active().filter(collection=acceptance.item.collection_id)
    scopes = {index.chunking: index.scope for index in indexes}
    revision = acceptance.revision
    if revision is not None and STAGED in revision.options:
        Revision.objects.filter(pk=revision.pk).update(options=unstaged(revision.options))
        chunks = Chunk.objects.filter(revision=revision, chunking__in=scopes)
        rescope_chunks(list(chunks.select_related("revision")), scopes)
    aliases.publish(acceptance.undo.get("aliases", ()), scopes)


def discard(acceptance: Acceptance) -> None:
    """Give up what was never searched; the worker cleans up behind. Call it in a transaction.

    Raises ReviewConflict if it is searched by now.
    """
    Alias.objects.filter(pk__in=acceptance.undo.get("aliases", ())).retire()
    revision = acceptance.revision
    if acceptance.document_id is None or revision is None:
        return
    document = Document.objects.select_for_update(of=("self",)).get(pk=acceptance.document_id)
    if not Revision.objects.filter(pk=revision.pk).withdraw(timezone.now()):
        raise ReviewConflict("It has just gone live. Load the page again.")
    if document.deleted_at is not None or document.latest_revision_id != revision.pk:
        return
    if document.live_revision_id is None:
        document.tombstone()
    else:
        document.latest_revision_id = document.live_revision_id
        document.save(update_fields=["latest_revision", "updated_at"])
