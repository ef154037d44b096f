"""What is deleted for good, after a grace period in which it could be brought back."""

import logging
from datetime import timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from retrieval import reindex
from retrieval.models import Collection, Document, Index, Revision

logger = logging.getLogger(__name__)

#: Rows that are deleted in one transaction, so that nobody waits long for the lock.
PURGE_BATCH = 100


def clean_deleted_collections() -> int:
    """Take the indexes of deleted collections out of Chroma and the lexical index.

    Search has not used them since the deletion was committed; returns how many were dropped.
    """
    indexes = list(
        Index.objects.filter(collection__deleted_at__isnull=False).select_related(
            "embedding_model", "collection"
        )
    )
    for index in indexes:
        reindex.drop(index)
    return len(indexes)


def drop_old_indexes() -> int:
    """Drop retired indexes once the time for a rollback is over, and damaged ones at once."""
    return reindex.drop_retired(timezone.now() - timedelta(days=settings.ROLLBACK_DAYS))


def purge() -> int:
    """Delete rows and originals of what was deleted long enough ago; returns the documents."""
    before = timezone.now() - timedelta(days=settings.PURGE_DAYS)
    gone = Document.objects.filter(deleted_at__lt=before) | Document.objects.filter(
        collection__deleted_at__lt=before
    )
    # Not before Chroma and the lexical index have let go of them.
    waiting = Revision.objects.awaiting_cleanup().values("document")
    purged = 0
    while documents := list(
        gone.exclude(pk__in=waiting).values_list("pk", flat=True)[:PURGE_BATCH]
    ):
        originals = set(
            Revision.objects.filter(document__in=documents).values_list("original", flat=True)
        )
        with transaction.atomic():
            Document.objects.filter(pk__in=documents).delete()
        purged += len(documents)
        delete_unused_originals(originals)
    Collection.objects.filter(deleted_at__lt=before, documents=None, indexes=None).delete()
    if purged:
        logger.info("purged %d documents that were deleted before %s", purged, before.date())
    return purged


def delete_unused_originals(names: set[str]) -> None:
    """Delete files that no revision refers to: the same bytes may serve several."""
    used = set(Revision.objects.filter(original__in=names).values_list("original", flat=True))
    for name in names - used:
        default_storage.delete(name)
