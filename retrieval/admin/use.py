"""How the knowledge base is used: the search log, feedback, and the keys of programs."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from retrieval.admin.base import TWO_LINES, CollectionFilter, KnowledgeAdmin, ReadOnlyAdmin, badge
from retrieval.models import ApiKey, Document, Feedback, Search


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
        count = queryset.filter(state=Feedback.State.PENDING).update(
            state=Feedback.State.REJECTED, reviewer=request.user, closed_at=timezone.now()
        )
        self.report(request, count)

    @admin.action(description=_("Put back into the queue"), permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Feedback]) -> None:
        count = queryset.filter(state=Feedback.State.REJECTED).update(
            state=Feedback.State.PENDING, reviewer=None, closed_at=None
        )
        self.report(request, count)

    def report(self, request: HttpRequest, count: int) -> None:
        self.message_user(
            request,
            ngettext("%(n)d entry was changed.", "%(n)d entries were changed.", count)
            % {"n": count},
            messages.SUCCESS if count else messages.INFO,
        )


@admin.register(ApiKey)
class ApiKeyAdmin(KnowledgeAdmin[ApiKey]):
    list_display = ("name", "begins_with", "status", "last_used_at", "created_at")
    search_fields = ("name", "prefix")
    ordering = ("-created_at",)
    actions = ("revoke",)
    readonly_fields = ("begins_with", "status", "last_used_at", "created_at")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return ("name",) if obj is None else ("name", *self.readonly_fields)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        # There is one way on from here: to the key, which is shown once.
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **buttons})

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "name":
            field.help_text = _("Who uses it, for example “NextChat in the support team”.")
        return field

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # A revoked key stays in the list, so that nobody wonders what it was.
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        row, key = ApiKey.issue(obj.name)
        obj.pk = row.pk
        obj.refresh_from_db()
        request.issued_key = key  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        # Answered directly instead of with a redirect: the key in the clear would have to
        # be kept somewhere until the next request, and it is to be kept nowhere.
        context = {
            **self.admin_site.each_context(request),
            "title": _("Copy the new key now"),
            "opts": self.opts,
            "row": obj,
            "key": request.issued_key,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "kbadmin/key_issued.html", context)

    @admin.display(description=_("begins with"))
    def begins_with(self, obj: ApiKey) -> str:
        return format_html("<code>{}…</code>", obj.prefix)

    @admin.display(description=_("state"), ordering="revoked_at")
    def status(self, obj: ApiKey) -> str:
        return badge("failed", _("revoked")) if obj.revoked_at else badge("live", _("usable"))

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        count = queryset.filter(revoked_at=None).update(revoked_at=timezone.now())
        self.message_user(
            request,
            ngettext("%(n)d key was revoked.", "%(n)d keys were revoked.", count) % {"n": count},
            messages.SUCCESS if count else messages.INFO,
        )
