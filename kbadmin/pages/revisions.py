"""The versions that the pages speak of."""

from django.db.models import F

from retrieval.models import Revision
from retrieval.models.revision import RevisionQuerySet


def latest_revisions() -> RevisionQuerySet:
    """The newest version of every living document."""
    return Revision.objects.filter(
        document__latest_revision=F("pk"),
        document__deleted_at=None,
        document__collection__deleted_at=None,
    )
