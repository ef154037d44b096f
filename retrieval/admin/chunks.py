from typing import Any

from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.db.models.expressions import Col, OrderBy
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from retrieval.admin import audit
from retrieval.admin.base import TWO_LINES, CollectionFilter, KnowledgeAdmin
from retrieval.admin.document_chunks import chunk_url, switched
from retrieval.hidden import switch_chunks
from retrieval.lexical import lexical_index
from retrieval.models import Chunk, Collection, Document

EXCERPT = 160
#: Chunks that a search in their text goes on with.
FOUND_AT_MOST = 1000
#: The document's key as its own table has it. By the chunk's copy of it, which is what Django
#: makes of "document__pk", SQLite sorts all chunks of a collection to show the first fifty.
BY_DOCUMENT = OrderBy(Col(Document._meta.db_table, Document._meta.pk))
#: Chunks that are switched in one transaction.
BATCH = 500


class ChunkCollectionFilter(CollectionFilter):
    path = "document__collection"


class DisabledFilter(admin.SimpleListFilter):
    """The few that somebody switched off; all others are the list without a filter."""

    title = _("state")
    parameter_name = "enabled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return [("0", _("kept out of search"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(enabled=False) if self.value() == "0" else queryset


@admin.register(Chunk)
class ChunkAdmin(KnowledgeAdmin[Chunk]):
    list_display = ("excerpt", "document_title", "position", "headings", "token_count", "enabled")
    list_display_links = ("excerpt",)
    list_filter = (DisabledFilter, ChunkCollectionFilter)
    search_fields = ("text",)
    search_help_text = _("Words that a chunk holds")
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
            .filter(document__deleted_at=None, document__collection__deleted_at=None)
            .select_related("document__collection")
        )
        match = request.resolver_match
        if match is not None and match.url_name == "retrieval_chunk_changelist":
            return (
                queryset.filter(revision=F("document__live_revision"))
                .annotate(beginning=Left("text", EXCERPT))
                .defer("text")
            )
        # A version that was replaced is only waiting to be cleaned up.
        return queryset.filter(revision__retired_at=None)

    def get_ordering(self, request: HttpRequest) -> Any:
        return (BY_DOCUMENT, "pk")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Chunk], search_term: str
    ) -> tuple[QuerySet[Chunk], bool]:
        """By the word index: looking through the text of every chunk takes seconds."""
        if not search_term.strip():
            return queryset, False
        chosen = request.GET.get(CollectionFilter.parameter_name, "")
        collection = (
            Collection.objects.filter(pk=int(chosen)).select_related("live_index").first()
            if chosen.isdecimal()
            else None
        )
        scope = collection.live_index.scope if collection and collection.live_index else ""
        found = lexical_index().find(search_term, FOUND_AT_MOST, scope)
        return queryset.filter(pk__in=found), False

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
        return format_html('<a class="kb-link" href="{}">{}</a>', chunk_url(obj), obj.document)

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
        named = audit.some(queryset)
        keys = list(queryset.order_by().values_list("pk", flat=True))
        count = 0
        for begin in range(0, len(keys), BATCH):
            count += switch_chunks(keys[begin : begin + BATCH], enabled)
        deed = audit.Deed.ENABLE if enabled else audit.Deed.DISABLE
        audit.record(request, deed, named, count)
        self.message_user(request, switched(request, keys, count, enabled), messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Chunk, form: Any, change: bool) -> None:
        switch_chunks([obj.pk], obj.enabled)
