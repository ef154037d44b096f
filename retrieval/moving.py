"""Documents → another collection, with their versions, votes and golden answers.

Nothing is unsearchable meanwhile (law 7): the worker first cuts and embeds a document as the
indexes of the new collection want it, then moves it in one transaction. Until then it is found
where it was, from that commit on where it now is, since hits are read back from the database.
What is wanted stands on the documents' rows, so a kill costs nothing but a repetition.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from retrieval import front_matter, indexing
from retrieval.chunks import forget_chunks, rescope_chunks
from retrieval.exceptions import KnowledgeBaseError, MoveRefused, VectorStoreError
from retrieval.factories import vector_store
from retrieval.models import Alias, Chunk, Collection, Document, Index, Judgment, Revision
from retrieval.sync import delete_vectors
from retrieval.tasks import notify

logger = logging.getLogger(__name__)

#: Documents that are moved in one transaction.
MOVE_BATCH = 32
NO_INDEX = "The collection that it was to be moved to has no index, or is gone."
TAKEN = "{collection} holds another document with the external id {name}. Delete one of the two."


def request_move(documents: QuerySet[Document], target: Collection) -> int:
    """Have the worker move documents, and what came out of archives among them; returns how
    many. Those that are there already stay, and so do those whose place is taken there."""
    place = Document.objects.alive().filter(collection=target, external_id=OuterRef("external_id"))
    chosen = Document.objects.filter(pk__in=list(documents.order_by().values_list("pk", flat=True)))
    wanted = Document.objects.alive().exclude(collection=target).filter(~Exists(place))
    ids = {
        pk
        for group in (chosen, chosen.members())
        for pk in wanted.filter(pk__in=group.values("pk")).values_list("pk", flat=True)
    }
    return Document.objects.filter(pk__in=ids).update(moving_to=target, move_failure="")


def cancel_moves(documents: QuerySet[Document]) -> int:
    """Let documents stay where they are; what was prepared elsewhere is drift there."""
    moving = Document.objects.filter(moving_to__isnull=False)
    return moving.filter(pk__in=documents.order_by().values("pk")).update(moving_to=None)


def step() -> bool:
    """Move the next documents; returns whether there were any.

    A document whose newest version is in work waits for that. Raises KnowledgeBaseError if a
    part that all need is away.
    """
    moving = Document.objects.alive().filter(moving_to__isnull=False)
    if not moving.exists():
        return False  # nearly always
    documents = list(
        moving.exclude(latest_revision__state__in=Revision.UNFINISHED)
        .select_related("moving_to", "live_revision")
        .order_by("pk")[:MOVE_BATCH]
    )
    groups: dict[tuple[int, int], list[Document]] = defaultdict(list)
    for document in documents:
        groups[document.collection_id, document.moving_to_id or 0].append(document)
    for group in groups.values():
        _move(group)
    return bool(documents)


def _move(documents: list[Document]) -> None:
    """Move documents of one collection to one other; each for himself if one is to blame."""
    try:
        indexes = _prepare(documents)
        source = documents[0].collection_id
        left = _switch(documents, indexes)
    except KnowledgeBaseError as error:
        if error.retryable or isinstance(error, VectorStoreError):
            raise
        if len(documents) == 1:
            _refuse(documents[0], error.message)
            return
        for document in documents:
            _move([document])
        return
    # What a kill leaves here is an orphan that the next comparison removes.
    delete_vectors(vector_store(), source, left)


def _prepare(documents: list[Document]) -> list[Index]:
    """Cut, embed and send the live versions as the target's indexes want them."""
    target = documents[0].moving_to
    indexes = list(
        Index.objects.active().filter(collection=target).select_related("embedding_model")
    )
    if target is None or target.deleted_at is not None or not indexes:
        raise MoveRefused(NO_INDEX)
    revisions = [document.live_revision for document in documents if document.live_revision]
    for revision in revisions:
        front_matter.check(revision.metadata, target.front_matter_schema)
    for index in indexes:
        indexing.fill_index(index, revisions)
    return indexes


@transaction.atomic
def _switch(prepared: list[Document], indexes: list[Index]) -> list[int]:
    """Give prepared documents to the target, in one step; returns the chunks whose vectors
    are to be taken out of where they were.

    What has changed since it was prepared is left for the next time. Raises MoveRefused if
    its place was taken meanwhile.
    """
    target = Collection.objects.select_for_update(of=("self",)).get(pk=indexes[0].collection_id)
    current = Index.objects.active().filter(collection=target)
    if {index.pk for index in current} != {index.pk for index in indexes}:
        return []
    live = {document.pk: document.live_revision_id for document in prepared}
    documents = list(
        Document.objects.select_for_update(of=("self",))
        .alive()
        .filter(pk__in=live, moving_to=target)
        .order_by("pk")
    )
    heads = [document.latest_revision_id or 0 for document in documents]
    latest = {
        revision.pk: revision
        for revision in Revision.objects.select_for_update()
        .filter(pk__in=heads)
        .only("pk", "state", "duplicate_of", "failure_code")
    }
    documents = [
        document
        for document in documents
        if document.live_revision_id == live[document.pk]
        and not (document.latest_revision_id and latest[document.latest_revision_id].is_unfinished)
    ]
    _make_room(documents, target)
    moved = [document.pk for document in documents]
    scopes = {index.chunking: index.scope for index in indexes}
    rows = Chunk.objects.filter(document__in=moved)
    kept = list(
        rows.filter(revision=F("document__live_revision"), chunking__in=scopes).select_related(
            "revision"
        )
    )
    rescope_chunks(kept, scopes)
    left = list(rows.exclude(pk__in=[chunk.pk for chunk in kept]).values_list("pk", flat=True))
    forget_chunks(left)
    Document.objects.filter(pk__in=moved).update(
        collection=target, moving_to=None, move_failure="", updated_at=timezone.now()
    )
    Judgment.objects.filter(document__in=moved).update(collection=target)
    if Alias.objects.filter(document__in=moved).exists():
        Collection.objects.filter(pk=target.pk).update(has_aliases=True)
    # Where it comes from, others may have been kept out of search for saying the same.
    for document in Document.objects.filter(
        pk__in=Revision.objects.filter(duplicate_of__in=moved).values("duplicate_of")
    ):
        document.release_duplicates()
    # Here it says what nobody else said.
    twins = [pk for pk, revision in latest.items() if revision.is_duplicate]
    if Revision.objects.filter(pk__in=twins, document__in=moved).requeue():
        notify()
    return [*left, *(chunk.pk for chunk in kept)]


def _make_room(documents: Sequence[Document], target: Collection) -> None:
    """A deleted document gives its external id free. Raises MoveRefused if a living one, or
    one that moves at the same time, has it."""
    names = [document.external_id for document in documents]
    for other in Document.objects.filter(collection=target, external_id__in=names):
        if other.deleted_at is None:
            raise MoveRefused(TAKEN.format(collection=target.title, name=other.external_id))
        other.external_id = f"{other.external_id[:470]}-deleted-{other.pk}"
        other.save(update_fields=["external_id"])


def _refuse(document: Document, reason: str) -> None:
    logger.warning("%s is not moved: %s", document.external_id, reason)
    Document.objects.filter(pk=document.pk, moving_to=document.moving_to_id).update(
        moving_to=None, move_failure=reason
    )
