"""What is done with documents, one or many: begin again, stop, keep both, move, delete.

Many are taken in batches, each a few queries and a transaction of its own: a writer that holds
SQLite's only lock for long keeps everybody else waiting. What takes long is the worker's.
"""

from collections.abc import Callable, Iterator
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from retrieval import ingest, moving
from retrieval.admin.audit import Deed
from retrieval.models import Collection, Document, Revision
from retrieval.tasks import notify

#: Documents that are changed in one transaction.
BATCH = 500

#: A cancelled version may be begun again just as a failed one.
RETRIED = [Revision.State.FAILED, Revision.State.CANCELLED]


def batches(documents: QuerySet[Document]) -> Iterator[QuerySet[Document]]:
    """Documents in groups that are found by their keys: what is done with one group must not
    change which documents the others are."""
    keys = list(documents.order_by().values_list("pk", flat=True))
    for begin in range(0, len(keys), BATCH):
        yield Document.objects.filter(pk__in=keys[begin : begin + BATCH])


def latest_of(documents: QuerySet[Document]) -> Any:
    """The latest versions: what an older one failed of is history."""
    return Revision.objects.filter(pk__in=documents.order_by().values("latest_revision"))


def in_batches(documents: QuerySet[Document], action: Callable[[QuerySet[Document]], int]) -> int:
    done = 0
    for group in batches(documents):
        with transaction.atomic():
            changed = action(group)
            if changed:
                notify()
        done += changed
    return done


def retry_documents(documents: QuerySet[Document]) -> int:
    return in_batches(
        documents, lambda group: int(latest_of(group).filter(state__in=RETRIED).requeue())
    )


def reindex_documents(documents: QuerySet[Document]) -> int:
    """Read, cut and embed again what is searched. It is searched meanwhile: chunks that come
    out the same keep their rows, and no text is embedded twice."""
    return in_batches(
        documents,
        lambda group: int(latest_of(group).filter(state=Revision.State.INDEXED).requeue()),
    )


def cancel_documents(documents: QuerySet[Document]) -> int:
    """Stop what is in work, and moves that have not happened yet."""
    return in_batches(
        documents, lambda group: int(latest_of(group).cancel()) + moving.cancel_moves(group)
    )


def delete_documents(documents: QuerySet[Document]) -> int:
    return in_batches(documents, lambda group: Document.objects.filter(pk__in=group).tombstone())


def move_documents(documents: QuerySet[Document], target: Collection) -> int:
    return in_batches(documents, lambda group: moving.request_move(group, target))


def keep_duplicates(documents: QuerySet[Document]) -> int:
    return in_batches(documents, ingest.keep_duplicates)


#: What the audit log calls them.
DEEDS: dict[Callable[[QuerySet[Document]], int], Deed] = {
    retry_documents: Deed.RETRY,
    reindex_documents: Deed.INDEX_AGAIN,
    cancel_documents: Deed.CANCEL,
    keep_duplicates: Deed.KEEP,
}
#: Which documents they change: the others of a selection are left as they are.
CHANGES: dict[Callable[[QuerySet[Document]], int], Q] = {
    retry_documents: Q(latest_revision__state__in=RETRIED),
    reindex_documents: Q(latest_revision__state=Revision.State.INDEXED),
    cancel_documents: Q(latest_revision__state__in=Revision.UNFINISHED)
    | Q(moving_to__isnull=False),
    keep_duplicates: Q(latest_revision__failure_code="duplicate"),
}
