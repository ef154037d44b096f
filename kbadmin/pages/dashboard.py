"""The first page: what needs somebody, what there is, how it is asked, what happened last."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from kbadmin.pages import feedback_report, playground, usage_report
from kbadmin.pages.attention import attention
from kbadmin.pages.bounded import count
from kbadmin.pages.revisions import latest_revisions
from retrieval.admin.base import badge
from retrieval.admin.states import state_badge
from retrieval.models import (
    ApiKey,
    Chunk,
    Collection,
    Document,
    EmbeddingModel,
    Index,
    Revision,
    Search,
)

RECENT_SHOWN = 8
#: Searches that are looked at for whether a program has asked.
CHANNELS_READ = 200


@dataclass(frozen=True, slots=True)
class Activity:
    at: datetime
    name: str
    url: str
    place: str
    badge: SafeString


def facts(request: HttpRequest) -> dict[str, Any]:
    """Context of the page, in a fixed number of bounded queries."""
    if not request.user.has_perm("retrieval.view_document"):
        return {"may_look": False}
    found = attention(request)
    context = {
        "may_look": True,
        "steps": steps(),
        "recent": recent_activity(),
        "attention": found,
        "failed": found.failed,
        **numbers(),
    }
    sections = [
        report
        for permission, report in (
            ("retrieval.view_search", usage_report.report),
            ("retrieval.view_feedback", feedback_report.report),
        )
        if request.user.has_perm(permission)
    ]
    if sections:
        shown, control = usage_report.asked_range(request)
        context |= {"may_look_at_use": True, **control}
        for report in sections:
            context |= report(shown)
    return context


def numbers() -> dict[str, Any]:
    """Documents and chunks by state, except the failed ones."""
    latest = latest_revisions()
    return {
        "collections": count(Collection.objects.alive()),
        "searchable": count(Document.objects.searchable()),
        "working": count(latest.unfinished()),
        "kept_out": count(latest.filter(state=Revision.State.SKIPPED)),
        "chunks": count(Chunk.objects.live()),
        "switched_off": count(
            Chunk.objects.filter(
                enabled=False,
                document__deleted_at=None,
                document__collection__deleted_at=None,
            )
        ),
    }


def recent_activity() -> list[Activity]:
    """Documents that changed and indexes that went live, newest first."""
    documents = (
        Document.objects.alive()
        .select_related("collection", "latest_revision")
        .defer("latest_revision__text", "latest_revision__metadata")
        .order_by("-updated_at")[:RECENT_SHOWN]
    )
    found = [
        Activity(
            at=document.updated_at,
            name=str(document),
            url=reverse("admin:retrieval_document_change", args=[document.pk]),
            place=document.collection.title,
            badge=state_badge(document.latest_revision),
        )
        for document in documents
    ]
    switched = (
        Index.objects.filter(
            state=Index.State.LIVE, replaces__isnull=False, collection__deleted_at=None
        )
        .select_related("collection")
        .order_by("-live_at")[:RECENT_SHOWN]
    )
    found += [
        Activity(
            at=index.live_at,
            name=_("New index of %(collection)s") % {"collection": index.collection.title},
            url=reverse("admin:retrieval_collection_change", args=[index.collection_id]),
            place=_("tokens in a chunk: %(size)d") % {"size": index.chunk_size},
            badge=badge("live", index.get_state_display()),
        )
        for index in switched
        if index.live_at is not None
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)[:RECENT_SHOWN]


def steps() -> dict[str, Any]:
    """How far a newcomer has come: upload, try, connect."""
    uploaded = Document.objects.alive().exists()
    channels = set(
        Search.objects.order_by("-created_at").values_list("channel", flat=True)[:CHANNELS_READ]
    )
    tried = bool(channels)
    # Without keys, what has asked shows in the log alone.
    connected = bool(channels - {playground.CHANNEL}) or (
        ApiKey.objects.filter(last_used_at__isnull=False).exists()
    )
    return {
        "uploaded": uploaded,
        "tried": tried,
        "connected": connected,
        "all": uploaded and tried and connected,
        "model_ready": EmbeddingModel.objects.exists(),
        "openapi_url": f"{settings.PLUGIN_SERVER_URL}/openapi.json",
        "manifest_url": f"{settings.PLUGIN_SERVER_URL}/.well-known/ai-plugin.json",
    }
