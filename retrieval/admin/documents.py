"""Documents: the list with what failed and why, one document's page, and its original file."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from retrieval.admin.base import TWO_LINES, CollectionFilter, TombstoneAdmin, badge
from retrieval.models import Document, Revision

#: Characters of parsed text that a page shows.
TEXT_SHOWN = 20_000
REVISIONS_SHOWN = 20
#: What a list needs of a revision is short; its text can be megabytes.
HEAVY = ("latest_revision__text", "latest_revision__metadata")


def retry_documents(documents: QuerySet[Document]) -> int:
    """Queue the latest versions that failed; an older failure is history."""
    return Revision.objects.filter(pk__in=documents.values("latest_revision")).retry()


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return [
            ("failed", _("failed")),
            ("working", _("in progress")),
            ("indexed", _("indexed")),
            ("skipped", _("skipped")),
            ("searchable", _("searchable")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "working":
                return queryset.filter(latest_revision__state__in=Revision.UNFINISHED)
            case "searchable":
                return queryset.filter(live_revision__isnull=False)
            case "failed" | "indexed" | "skipped" as state:
                return queryset.filter(latest_revision__state=state)
        return queryset


@admin.register(Document)
class DocumentAdmin(TombstoneAdmin[Document]):
    list_display = ("name", "collection_title", "state", "origin", "updated_at")
    list_filter = (StateFilter, CollectionFilter, "origin")
    search_fields = ("title", "external_id")
    search_help_text = _("Search in title and external id")
    ordering = ("-updated_at",)
    actions = ("retry_failed",)
    fields = ("title", "external_id", "collection", "origin")
    readonly_fields = fields
    change_form_template = "kbadmin/document.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        return (
            super()
            .get_queryset(request)
            .filter(deleted_at=None, collection__deleted_at=None)
            .select_related("collection", "latest_revision")
            .defer(*HEAVY)
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        # Documents come from files: the upload page, a folder or the API.
        return False

    # --- the list -----------------------------------------------------------------------

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
        revision = obj.latest_revision
        if revision is None:
            return badge("", _("empty"))
        shown = badge(revision.state, revision.get_state_display())
        if not revision.failure_message:
            return shown
        return format_html(
            '<span class="kb-cell">{}<span class="kb-sub {}" title="{}">{}</span></span>',
            shown,
            "kb-reason" if revision.state == Revision.State.FAILED else "",
            revision.failure_message,
            revision.failure_message,
        )

    @admin.action(description=_("Retry failed"), permissions=["change"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        count = retry_documents(queryset)
        self.message_user(
            request,
            ngettext("%(n)d document is queued again.", "%(n)d documents are queued again.", count)
            % {"n": count}
            if count
            else _("None of these documents has failed."),
            messages.SUCCESS if count else messages.INFO,
        )

    # --- one document -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/retry/", view(self.retry_view), name="retrieval_document_retry"),
            path(
                "<int:pk>/original/<int:number>/",
                view(self.original_view),
                name="retrieval_document_original",
            ),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        document = self.get_object(request, object_id)
        facts = self.facts(document) if document is not None else {}
        buttons = {"show_save": False, "show_save_and_continue": False}
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **buttons, **facts}
        )

    def facts(self, document: Document) -> dict[str, Any]:
        """Everything that the page shows, in a fixed number of bounded queries."""
        revisions = list(
            document.revisions.defer("text", "metadata").order_by("-number")[:REVISIONS_SHOWN]
        )
        shown = document.live_revision_id or document.latest_revision_id or 0
        # One character more than is shown tells whether something was cut off.
        content = (
            Revision.objects.filter(pk=shown)
            .annotate(beginning=Left("text", TEXT_SHOWN + 1))
            .values("beginning", "metadata")
            .first()
        ) or {"beginning": "", "metadata": {}}
        metadata = content["metadata"]
        chunks = document.chunks.filter(revision=shown).order_by()[:1000].count()
        return {
            "document": document,
            "revision": document.latest_revision,
            "revisions": revisions,
            "front_matter": metadata.items() if isinstance(metadata, dict) else [],
            "text": content["beginning"][:TEXT_SHOWN],
            "text_is_cut": len(content["beginning"]) > TEXT_SHOWN,
            "chunk_count": f"{chunks}+" if chunks == 1000 else str(chunks),
            "chunks_url": reverse("admin:retrieval_chunk_changelist")
            + f"?document__id__exact={document.pk}",
        }

    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        document = self.permitted(request, pk, "change")
        if retry_documents(Document.objects.filter(pk=document.pk)):
            self.message_user(request, _("The document is queued again."), messages.SUCCESS)
        target = request.POST.get("next", "")
        if not url_has_allowed_host_and_scheme(target, {request.get_host()}):
            target = reverse("admin:retrieval_document_change", args=[document.pk])
        return redirect(target)

    def original_view(self, request: HttpRequest, pk: int, number: int) -> FileResponse:
        document = self.permitted(request, pk, "view")
        revision = document.revisions.defer("text").filter(number=number).first()
        if revision is None or not revision.original:
            raise Http404
        try:
            file = revision.original.open("rb")
        except FileNotFoundError as error:
            raise Http404 from error
        response = FileResponse(
            file,
            as_attachment=True,
            filename=revision.filename.rsplit("/", 1)[-1],
            # A stranger's HTML must never run in this origin.
            content_type="application/octet-stream",
        )
        response["X-Content-Type-Options"] = "nosniff"
        return response

    def permitted(self, request: HttpRequest, pk: int, permission: str) -> Document:
        document = self.get_queryset(request).filter(pk=pk).first()
        if not getattr(self, f"has_{permission}_permission")(request, document):
            raise PermissionDenied
        if document is None:
            raise Http404
        return document
