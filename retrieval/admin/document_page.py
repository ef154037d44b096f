"""One document's page: its text, its versions, and what may be done with it now."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from retrieval import history
from retrieval.admin import audit, comparison, document_chunks, states, versions
from retrieval.admin.base import TombstoneAdmin
from retrieval.admin.document_actions import (
    DEEDS,
    cancel_documents,
    keep_duplicates,
    retry_documents,
)
from retrieval.admin.document_text import ShownText
from retrieval.exceptions import KnowledgeBaseError
from retrieval.models import Document, Revision

REVISIONS_SHOWN = 50


class DocumentPage(TombstoneAdmin[Document]):
    change_form_template = "kbadmin/document.html"

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            pattern: URLPattern = path(
                f"<int:pk>/{route}/",
                self.admin_site.admin_view(view),
                name=f"retrieval_document_{name}",
            )
            return pattern

        return [
            page("retry", self.retry_view, "retry"),
            page("cancel", self.cancel_view, "cancel"),
            page("keep", self.keep_view, "keep"),
            page("restore/<int:number>", self.restore_view, "restore"),
            page("compare", self.compare_view, "compare"),
            page("original/<int:number>", self.original_view, "original"),
            path(
                "chunks/switch/",
                self.admin_site.admin_view(document_chunks.switch_view),
                name="retrieval_document_switch_chunks",
            ),
            path(
                "chunks/<int:chunk_id>/edit/",
                self.admin_site.admin_view(self.edit_chunk_view),
                name="retrieval_document_edit_chunk",
            ),
            *super().get_urls(),
        ]

    # --- What it shows ----------------------------------------------------------------------

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        document = self.get_object(request, object_id)
        facts = self.facts(request, document) if document is not None else {}
        buttons = {"show_save": False, "show_save_and_continue": False}
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **buttons, **facts}
        )

    def facts(self, request: HttpRequest, document: Document) -> dict[str, Any]:
        """Everything that the page shows, in a fixed number of bounded queries."""
        latest = document.latest_revision
        revisions = self.revisions(document)
        shown = ShownText(request, document)
        old, new = default_pair(document, revisions)
        return {
            "document": document,
            "revision": latest,
            "state_badge": states.state_badge(latest),
            "skipped_reason": latest
            and states.reason(latest.state, latest.failure_code, latest.failure_message),
            "twin": Document.objects.alive()
            .filter(pk=(latest and latest.duplicate_of_id) or 0)
            .first(),
            "members": self.members(document) if latest else None,
            "stages": versions.timeline(latest) if latest else [],
            "revisions": revisions,
            "versions": versions.listed(document, revisions),
            "compare_old": old,
            "compare_new": new,
            "front_matter": shown.metadata.items(),
            **shown.context(),
            "may_switch": request.user.has_perm("retrieval.change_chunk"),
            "chunks_url": reverse("admin:retrieval_chunk_changelist")
            + f"?document__id__exact={document.pk}",
        }

    def revisions(self, document: Document) -> list[Revision]:
        rows = document.revisions.defer("text", "metadata").order_by("-number")
        return list(rows[:REVISIONS_SHOWN])

    def members(self, archive: Document) -> dict[str, Any] | None:
        """How many documents came out of an archive, and the way to them."""
        if archive.latest_revision is None or archive.latest_revision.failure_code != "unpacked":
            return None
        source = archive.member_source
        documents = Document.objects.filter(
            collection=archive.collection_id, source=source, deleted_at=None
        )
        url = reverse("admin:retrieval_document_changelist")
        return {"count": documents.count(), "url": f"{url}?{urlencode({'source': source})}"}

    def edit_chunk_view(self, request: HttpRequest, chunk_id: int) -> HttpResponse:
        return document_chunks.edit_view(self, request, chunk_id)

    def compare_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        document = self.permitted(request, pk, "view")
        revisions = self.revisions(document)
        pair = default_pair(document, revisions)
        asked = [request.GET.get(name, "") for name in ("old", "new")]
        if all(number.isdecimal() for number in asked):
            pair = int(asked[0]), int(asked[1])
        old, new = (comparison.side(document, number) for number in pair)
        if old is None or new is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "title": _("Compare versions"),
            "opts": self.opts,
            "document": document,
            "original": document,
            "revisions": revisions,
            "old": old,
            "new": new,
            "sides": (old, new),
            "comparison": comparison.compare(old, new),
            "may_restore": self.has_change_permission(request, document),
        }
        return TemplateResponse(request, "kbadmin/compare.html", context)

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

    # --- What it does -----------------------------------------------------------------------

    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.act(
            request,
            pk,
            retry_documents,
            _("The document is queued again."),
            _("It has not failed."),
        )

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.act(request, pk, cancel_documents, _("Cancelled."), _("It was done already."))

    def keep_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.act(
            request,
            pk,
            keep_duplicates,
            _("Both are kept; the document is queued."),
            _("It is no duplicate any more."),
        )

    def act(
        self, request: HttpRequest, pk: int, action: Any, done: str, otherwise: str
    ) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        document = self.permitted(request, pk, "change")
        if action(Document.objects.filter(pk=document.pk)):
            audit.record(request, DEEDS[action], [document])
            self.message_user(request, done, messages.SUCCESS)
        else:
            self.message_user(request, otherwise, messages.INFO)
        return self.back(request, document)

    def restore_view(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        document = self.permitted(request, pk, "change")
        try:
            revision = history.restore(document, number)
        except KnowledgeBaseError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            versions.record(request.user.pk or 0, [revision])
            text = _("Version %(old)d is restored as version %(new)d; it is indexed now.")
            self.message_user(
                request, text % {"old": number, "new": revision.number}, messages.SUCCESS
            )
        return self.back(request, document)

    def back(self, request: HttpRequest, document: Document) -> HttpResponse:
        target = request.POST.get("next", "")
        if not url_has_allowed_host_and_scheme(target, {request.get_host()}):
            target = reverse("admin:retrieval_document_change", args=[document.pk])
        return redirect(target)

    def permitted(self, request: HttpRequest, pk: int, permission: str) -> Document:
        document = self.get_queryset(request).filter(pk=pk).first()
        if not getattr(self, f"has_{permission}_permission")(request, document):
            raise PermissionDenied
        if document is None:
            raise Http404
        return document


def default_pair(document: Document, revisions: list[Revision]) -> tuple[int, int]:
    """What people want to see first: the searched version against the latest, or, where they
    are the same, the latest against the one before. The newest version comes first."""
    numbers = [revision.number for revision in revisions] or [0]
    live = [row.number for row in revisions if row.pk == document.live_revision_id]
    if live and live[0] != numbers[0]:
        return live[0], numbers[0]
    return (numbers[1] if len(numbers) > 1 else numbers[0]), numbers[0]
