from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from retrieval.admin.base import TWO_LINES, CollectionFilter, KnowledgeAdmin
from retrieval.models import Chunk

EXCERPT = 160


class ChunkCollectionFilter(CollectionFilter):
    path = "document__collection"


@admin.register(Chunk)
class ChunkAdmin(KnowledgeAdmin[Chunk]):
    list_display = ("excerpt", "document_title", "position", "headings", "token_count", "enabled")
    list_display_links = ("excerpt",)
    list_filter = ("enabled", ChunkCollectionFilter)
    search_fields = ("text",)
    search_help_text = _("Search in the text of chunks")
    # The unique index on exactly these columns delivers this order without sorting.
    ordering = ("revision_id", "chunking", "order")
    sortable_by = ()
    actions = ("enable", "disable")
    fieldsets = (
        (None, {"fields": ("enabled", "passage")}),
        (
            _("Where it comes from"),
            {"fields": ("document_link", "headings", "position", "offsets", "token_count")},
        ),
    )
    readonly_fields = (
        "passage",
        "document_link",
        "headings",
        "position",
        "offsets",
        "token_count",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chunk]:
        queryset = (
            super()
            .get_queryset(request)
            # A version that was replaced is only waiting to be cleaned up.
            .filter(
                revision__retired_at=None,
                document__deleted_at=None,
                document__collection__deleted_at=None,
            )
            .select_related("document__collection")
        )
        match = request.resolver_match
        if match is not None and match.url_name == "retrieval_chunk_changelist":
            queryset = queryset.annotate(beginning=Left("text", EXCERPT)).defer("text")
        return queryset

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Chunk | None = None) -> bool:
        return False

    @admin.display(description=_("text"))
    def excerpt(self, obj: Any) -> str:
        return format_html('<span class="kb-excerpt">{}</span>', obj.beginning)

    @admin.display(description=_("document"))
    def document_title(self, obj: Chunk) -> str:
        return format_html(
            TWO_LINES,
            obj.document,
            obj.document.collection.title,
        )

    @admin.display(description=_("text"))
    def passage(self, obj: Chunk) -> str:
        return format_html('<div class="kb-text">{}</div>', obj.text)

    @admin.display(description=_("document"))
    def document_link(self, obj: Chunk) -> str:
        url = reverse("admin:retrieval_document_change", args=[obj.document_id])
        return format_html('<a class="kb-link" href="{}">{}</a>', url, obj.document)

    @admin.display(description=_("order"))
    def position(self, obj: Chunk) -> str:
        return f"#{obj.order}"

    @admin.display(description=_("heading path"))
    def headings(self, obj: Chunk) -> str:
        path = [str(part) for part in obj.heading_path]
        return format_html('<span class="kb-crumbs">{}</span>', " › ".join(path)) if path else "–"

    @admin.display(description=_("characters"))
    def offsets(self, obj: Chunk) -> str:
        return f"{obj.start}–{obj.end}"

    @admin.action(description=_("Let search return them"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> None:
        self.switch(request, queryset, True)

    @admin.action(description=_("Keep them out of search"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> None:
        self.switch(request, queryset, False)

    def switch(self, request: HttpRequest, queryset: QuerySet[Chunk], enabled: bool) -> None:
        # A joined and annotated query cannot be updated everywhere, its keys can.
        count = Chunk.objects.filter(pk__in=queryset.order_by().values("pk")).update(
            enabled=enabled
        )
        self.message_user(
            request,
            ngettext("%(n)d chunk was changed.", "%(n)d chunks were changed.", count)
            % {"n": count},
            messages.SUCCESS,
        )
