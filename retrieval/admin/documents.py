"""Documents: the list with what failed and why, and what is done with many at once."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from retrieval.admin import audit, states
from retrieval.admin.base import COUNT_CAP, TWO_LINES, ChangeList, CollectionFilter
from retrieval.admin.document_actions import (
    CHANGES,
    DEEDS,
    RETRIED,
    cancel_documents,
    delete_documents,
    keep_duplicates,
    reindex_documents,
    retry_documents,
)
from retrieval.admin.document_bulk import choose_collection, confirm_delete
from retrieval.admin.document_filters import ALL
from retrieval.admin.document_page import DocumentPage
from retrieval.admin.document_search import matching
from retrieval.models import Document, Revision
from retrieval.models.document import DocumentQuerySet

#: What a list needs of a revision is short; its text can be megabytes.
HEAVY = ("latest_revision__text", "latest_revision__metadata")


def queued_again(count: int) -> str:
    return ngettext("%(n)d document is queued again.", "%(n)d documents are queued again.", count)


def cancelled(count: int) -> str:
    return ngettext("%(n)d document was cancelled.", "%(n)d documents were cancelled.", count)


class DocumentList(ChangeList):
    """Its filters stand above it, in one form with the search, and not in a drawer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_filters = False


def state_cell(document: Document, button: str = "") -> str:
    """The state of its newest version, why it is not searched, and where it is going."""
    revision = document.latest_revision
    notes = []
    if revision is not None and revision.failure_message:
        reason = states.reason(revision.state, revision.failure_code, revision.failure_message)
        tone = "kb-reason" if revision.state == Revision.State.FAILED else ""
        notes.append((tone, revision.failure_message, reason))
    if document.moving_to is not None:
        moving = _("Moving to %(collection)s") % {"collection": document.moving_to.title}
        notes.append(("", "", moving))
    elif document.move_failure:
        notes.append(("kb-reason", document.move_failure, document.move_failure))
    if not (notes or button):
        return states.state_badge(revision)
    lines = format_html_join("", '<span class="kb-sub {}" title="{}">{}</span>', notes)
    return format_html(
        '<span class="kb-cell kb-state"><span class="kb-state-line">{}{}</span>{}</span>',
        states.state_badge(revision),
        button,
        lines,
    )


@admin.register(Document)
class DocumentAdmin(DocumentPage):
    list_display = ("name", "collection_title", "state", "origin", "updated_at")
    list_filter = ALL
    search_fields = ("title", "external_id")
    search_help_text = _("Search in texts and titles")
    ordering = ("-updated_at",)
    actions = (
        "retry_failed",
        "reindex",
        "move_to_collection",
        "cancel_unfinished",
        "keep_both",
        "delete_selected",
    )
    fields = ("title", "external_id", "collection", "origin")
    readonly_fields = fields
    list_before_template = "kbadmin/retry_all.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        return (
            super()
            .get_queryset(request)
            .filter(deleted_at=None, collection__deleted_at=None)
            .select_related("collection__live_index", "latest_revision", "moving_to")
            .defer(*HEAVY)
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DocumentList

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if not self.has_change_permission(request):
            return self.list_display
        return tuple("state_and_retry" if c == "state" else c for c in self.list_display)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Document], search_term: str
    ) -> tuple[QuerySet[Document], bool]:
        collection = request.GET.get(CollectionFilter.parameter_name, "")
        return matching(queryset, search_term, collection), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        # Documents come from files: the upload page, a folder or the API.
        return False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.retry_all_view)
        return [
            path("retry-all/", view, name="retrieval_document_retry_all"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        collection = request.GET.get(CollectionFilter.parameter_name, "")
        # From the few revisions that failed, not from all documents of a collection.
        latest_of = self.of_collection(collection).filter(
            pk=OuterRef("document_id"), latest_revision=OuterRef("pk")
        )
        failed = Revision.objects.failed().filter(Exists(latest_of)).order_by()[:COUNT_CAP].count()
        extra = {
            "failed_count": failed,
            "failed_capped": failed == COUNT_CAP,
            "failed_collection": collection,
            "may_retry": self.has_change_permission(request),
        }
        return super().changelist_view(request, {**(extra_context or {}), **extra})

    def failed(self, collection: str) -> QuerySet[Document]:
        """Living documents whose latest version failed, of one collection or of all."""
        return self.of_collection(collection).filter(latest_revision__state=Revision.State.FAILED)

    def of_collection(self, collection: str) -> DocumentQuerySet:
        chosen = Q(collection_id=int(collection)) if collection.isdecimal() else Q()
        return Document.objects.alive().filter(chosen)

    def retry_all_view(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        collection = request.POST.get("collection", "")
        self.act_on(request, self.failed(collection), retry_documents, queued_again)
        query = f"?collection={collection}" if collection.isdecimal() else ""
        return redirect(reverse("admin:retrieval_document_changelist") + query)

    # --- the columns --------------------------------------------------------------------

    @admin.display(description=_("document"), ordering="title")
    def name(self, obj: Document) -> str:
        if not obj.title or obj.title == obj.external_id:
            return format_html('<span class="kb-name">{}</span>', obj.external_id)
        return format_html(
            TWO_LINES,
            obj.title,
            obj.external_id,
        )

    @admin.display(description=_("collection"), ordering="collection__title")
    def collection_title(self, obj: Document) -> str:
        return obj.collection.title

    @admin.display(description=_("state"), ordering="latest_revision__state")
    def state(self, obj: Document) -> str:
        return state_cell(obj)

    @admin.display(description=_("state"), ordering="latest_revision__state")
    def state_and_retry(self, obj: Document) -> str:
        revision = obj.latest_revision
        if revision is None or revision.state not in RETRIED:
            return state_cell(obj)
        # A button of the form around the list: it works without a script.
        retry = format_html(
            '<button class="kb-button kb-small" type="submit" formaction="{}">{}'
            '<span class="kb-visually-hidden"> {}</span></button>',
            reverse("admin:retrieval_document_retry", args=[obj.pk]),
            _("Retry"),
            obj,
        )
        return state_cell(obj, retry)

    # --- many at once -------------------------------------------------------------------

    @admin.action(description=_("Retry failed"), permissions=["change"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        self.act_on(request, queryset, retry_documents, queued_again)

    @admin.action(description=_("Reindex"), permissions=["change"])
    def reindex(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        self.act_on(request, queryset, reindex_documents, queued_again)

    @admin.action(description=_("Move to another collection…"), permissions=["change"])
    def move_to_collection(
        self, request: HttpRequest, queryset: QuerySet[Document]
    ) -> HttpResponse | None:
        return choose_collection(self, request, queryset)

    @admin.action(description=_("Delete…"), permissions=["delete"])
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Document]
    ) -> HttpResponse | None:
        return confirm_delete(self, request, queryset)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        delete_documents(queryset)

    @admin.action(description=_("Cancel what is in progress"), permissions=["change"])
    def cancel_unfinished(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        self.act_on(request, queryset, cancel_documents, cancelled)

    @admin.action(description=_("Keep duplicates"), permissions=["change"])
    def keep_both(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        self.act_on(request, queryset, keep_duplicates, queued_again)

    def act_on(
        self,
        request: HttpRequest,
        documents: QuerySet[Document],
        action: Callable[[QuerySet[Document]], int],
        words: Callable[[int], str],
    ) -> None:
        named = audit.some(documents.filter(CHANGES[action]))
        count = action(documents)
        if count:
            audit.record(request, DEEDS[action], named, count)
        text = words(count) % {"n": count} if count else str(_("This fits none of them."))
        self.message_user(request, text, messages.SUCCESS if count else messages.INFO)
