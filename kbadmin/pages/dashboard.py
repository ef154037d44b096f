"""The first page: what is there, what needs somebody, what happened last."""

from typing import Any

from django.db.models import F
from django.http import HttpRequest

from kbadmin.pages.bounded import count
from retrieval.models import Collection, Document, EmbeddingModel, Revision, Worker
from retrieval.models.revision import RevisionQuerySet

FAILURES_SHOWN = 5
RECENT_SHOWN = 8


def latest_revisions() -> RevisionQuerySet:
    """The newest version of every living document."""
    return Revision.objects.filter(
        document__latest_revision=F("pk"),
        document__deleted_at=None,
        document__collection__deleted_at=None,
    )


def latest_failures() -> list[Document]:
    revisions = (
        latest_revisions()
        .failed()
        .select_related("document__collection")
        .defer("text", "metadata")
        .order_by("-state_at")[:FAILURES_SHOWN]
    )
    documents = []
    for revision in revisions:
        revision.document.latest_revision = revision
        documents.append(revision.document)
    return documents


def facts(request: HttpRequest) -> dict[str, Any]:
    """Context of the page, in a fixed number of bounded queries."""
    if not request.user.has_perm("retrieval.view_document"):
        return {"may_look": False}
    recent = list(
        Document.objects.alive()
        .select_related("collection", "latest_revision")
        .defer("latest_revision__text", "latest_revision__metadata")
        .order_by("-updated_at")[:RECENT_SHOWN]
    )
    return {
        "may_look": True,
        "collections": count(Collection.objects.alive()),
        "searchable": count(Document.objects.searchable()),
        "working": count(latest_revisions().unfinished()),
        "failed": count(latest_revisions().failed()),
        "failures": latest_failures(),
        "recent": recent,
        "worker_alive": Worker.objects.alive().exists(),
        "model_ready": EmbeddingModel.objects.exists(),
    }
