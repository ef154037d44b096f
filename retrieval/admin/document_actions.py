"""What is done with documents, one or many: begin again, stop, keep both."""

from collections.abc import Callable
from typing import Any

from django.db.models import Q, QuerySet

from retrieval.admin.audit import Deed
from retrieval.ingest import keep_duplicate
from retrieval.models import Document, Revision

#: A cancelled version may be begun again just as a failed one.
RETRIED = [Revision.State.FAILED, Revision.State.CANCELLED]


def latest_of(documents: QuerySet[Document]) -> Any:
    """The latest versions: what an older one failed of is history."""
    return Revision.objects.filter(pk__in=documents.order_by().values("latest_revision"))


def retry_documents(documents: QuerySet[Document]) -> int:
    return int(latest_of(documents).filter(state__in=RETRIED).requeue())


def cancel_documents(documents: QuerySet[Document]) -> int:
    return int(latest_of(documents).cancel())


def keep_duplicates(documents: QuerySet[Document]) -> int:
    kept_out = documents.filter(latest_revision__failure_code="duplicate")
    return sum(keep_duplicate(document) for document in kept_out)


#: What the audit log calls them.
DEEDS: dict[Callable[[QuerySet[Document]], int], Deed] = {
    retry_documents: Deed.RETRY,
    cancel_documents: Deed.CANCEL,
    keep_duplicates: Deed.KEEP,
}
#: Which documents they change: the others of a selection are left as they are.
CHANGES: dict[Callable[[QuerySet[Document]], int], Q] = {
    retry_documents: Q(latest_revision__state__in=RETRIED),
    cancel_documents: Q(latest_revision__state__in=Revision.UNFINISHED),
    keep_duplicates: Q(latest_revision__failure_code="duplicate"),
}
