"""How the knowledge base is used: the search log and feedback."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from retrieval.admin import audit
from retrieval.admin.base import TWO_LINES, CollectionFilter, KnowledgeAdmin, ReadOnlyAdmin, badge
from retrieval.models import Document, Feedback, Search


@admin.register(Search)
class SearchAdmin(ReadOnlyAdmin[Search]):
    list_display = (
        "question",
        "collection",
        "channel",
        "confidence_badge",
        "result_count",
        "best",
        "duration",
        "created_at",
    )
    list_select_related = ("collection",)
    list_filter = ("confidence", CollectionFilter)
    search_fields = ("query",)
    ordering = ("-created_at",)
    sortable_by = ("created_at",)
    change_form_template = "kbadmin/search.html"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        search = self.get_object(request, object_id)
        extra = {**(extra_context or {}), "search": search, "hits": hits(search)}
        return super().change_view(request, object_id, form_url, extra)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Search]:
        return super().get_queryset(request).select_related("collection")

    @admin.display(description=_("question"))
    def question(self, obj: Search) -> str:
        return format_html('<span class="kb-name">{}</span>', obj.query[:200])

    @admin.display(description=_("confidence"))
    def confidence_badge(self, obj: Search) -> str:
        return badge(obj.confidence, obj.get_confidence_display())

    @admin.display(description=_("best score"))
    def best(self, obj: Search) -> str:
        return "–" if obj.top_score is None else f"{obj.top_score:.3f}"

    @admin.display(description=_("time"))
    def duration(self, obj: Search) -> str:
        return f"{obj.total_ms:.0f} ms"


def hits(search: Search | None) -> list[dict[str, Any]]:
    """The logged results, with the titles that their documents have today."""
    logged = [hit for hit in search.results if isinstance(hit, dict)] if search else []
    documents = Document.objects.alive().in_bulk(
        {hit["document_id"] for hit in logged if isinstance(hit.get("document_id"), int)}
    )
    return [{**hit, "document": documents.get(hit.get("document_id", 0))} for hit in logged]


@admin.register(Feedback)
class FeedbackAdmin(KnowledgeAdmin[Feedback]):
    list_display = ("asked", "rating_badge", "state_badge", "collection", "channel", "created_at")
    list_select_related = ("collection",)
    list_filter = ("state", "rating", CollectionFilter)
    search_fields = ("question", "comment", "correction")
    ordering = ("-created_at",)
    sortable_by = ("created_at",)
    actions = ("reject", "reopen")
    raw_id_fields = ("chunk",)
    fieldsets = (
        (None, {"fields": ("question", "rating", "comment", "correction")}),
        (_("Where it comes from"), {"fields": ("collection", "channel", "voter", "created_at")}),
        (_("Review"), {"fields": ("state", "reviewer", "closed_at")}),
    )
    # The words of the one who wrote stay; a reviewer works on the corrected answer.
    readonly_fields = (
        "question",
        "rating",
        "comment",
        "collection",
        "channel",
        "voter",
        "created_at",
        "state",
        "reviewer",
        "closed_at",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("question"))
    def asked(self, obj: Feedback) -> str:
        if not obj.comment:
            return format_html('<span class="kb-name">{}</span>', obj.question[:200])
        return format_html(
            TWO_LINES,
            obj.question[:200],
            obj.comment[:200],
        )

    @admin.display(description=_("rating"))
    def rating_badge(self, obj: Feedback) -> str:
        if obj.rating is None:
            return "–"
        tone = "accepted" if obj.rating == Feedback.Rating.UP else "failed"
        return badge(tone, obj.get_rating_display())

    @admin.display(description=_("state"))
    def state_badge(self, obj: Feedback) -> str:
        return badge(obj.state, obj.get_state_display())

    @admin.action(description=_("Reject"), permissions=["change"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> None:
        pending = queryset.filter(state=Feedback.State.PENDING)
        named = audit.some(pending)
        count = pending.update(
            state=Feedback.State.REJECTED, reviewer=request.user, closed_at=timezone.now()
        )
        audit.record(request, audit.Deed.REJECT, named, count)
        self.report(request, count)

    @admin.action(description=_("Put back into the queue"), permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> None:
        rejected = queryset.filter(state=Feedback.State.REJECTED)
        named = audit.some(rejected)
        count = rejected.update(state=Feedback.State.PENDING, reviewer=None, closed_at=None)
        audit.record(request, audit.Deed.REOPEN, named, count)
        self.report(request, count)

    def report(self, request: HttpRequest, count: int) -> None:
        self.message_user(
            request,
            ngettext("%(n)d entry was changed.", "%(n)d entries were changed.", count)
            % {"n": count},
            messages.SUCCESS if count else messages.INFO,
        )
