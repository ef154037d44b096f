"""The status page: every part, the work that runs, and the buttons that mend or stop it."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods
from django_tasks_db.models import DBTaskResult

from kbadmin.pages import parts, work
from kbadmin.pages.revisions import latest_revisions
from retrieval import reindex, tasks
from retrieval.admin import audit
from retrieval.admin.document_actions import cancel_documents, retry_documents
from retrieval.models import Collection, Document, Index, Revision


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("retrieval.view_index"):
        raise PermissionDenied
    if request.method == "POST":
        return act(request)
    context = {
        **admin.site.each_context(request),
        "title": _("Status"),
        "versions": parts.versions(),
        **live(request),
    }
    return TemplateResponse(request, "kbadmin/status.html", context)


@require_GET
def progress(request: HttpRequest) -> HttpResponse:
    """The part of the page that asks for itself again while something runs."""
    if not (request.user.is_active and request.user.is_staff):
        response = HttpResponse(status=204)
        response["HX-Refresh"] = "true"
        return response
    if not request.user.has_perm("retrieval.view_index"):
        raise PermissionDenied
    return TemplateResponse(request, "kbadmin/status_live.html", live(request))


def live(request: HttpRequest) -> dict[str, Any]:
    return {
        "parts": [(part, may_use(request, part.fix)) for part in parts.every_part()],
        "work": work.now(),
        "may_cancel_documents": request.user.has_perm("retrieval.change_document"),
        "may_cancel_builds": request.user.has_perm("retrieval.change_collection"),
        "may_compare": request.user.has_perm("retrieval.change_index"),
    }


def may_use(request: HttpRequest, fix: parts.Fix | None) -> bool:
    return fix is not None and bool(fix.action) and request.user.has_perm(fix.permission)


# --- What it does -----------------------------------------------------------------------------


def act(request: HttpRequest) -> HttpResponse:
    known = ACTIONS.get(request.POST.get("action", ""))
    if known is None:
        return HttpResponseBadRequest(_("This page has no such button. Reload it and try again."))
    permission, action = known
    if not request.user.has_perm(permission):
        raise PermissionDenied
    action(request)
    return redirect("admin:status")


def compare(request: HttpRequest) -> None:
    """Have every live index compared with the database and repaired, by a worker."""
    live = Index.objects.filter(state=Index.State.LIVE, collection__deleted_at=None)
    asked = list(live.select_related("collection"))
    waiting = {
        row.args_kwargs["args"][0]
        for row in DBTaskResult.objects.ready().filter(task_path=tasks.reconcile_index.module_path)
    }
    for index in asked:
        if index.pk not in waiting:
            tasks.reconcile_index.enqueue(index.pk)
    collections = [index.collection for index in asked]
    audit.record(request, audit.Deed.RECONCILE, collections[: audit.NAMED], len(asked))
    text = ngettext(
        "%(n)d index is being compared; what differs is repaired.",
        "%(n)d indexes are being compared; what differs is repaired.",
        len(asked),
    )
    messages.success(request, text % {"n": len(asked)})


def retry(request: HttpRequest) -> None:
    failed = Document.objects.alive().filter(latest_revision__state=Revision.State.FAILED)
    named = audit.some(failed)
    count = retry_documents(failed)
    audit.record(request, audit.Deed.RETRY, named, count)
    text = ngettext("%(n)d document is queued again.", "%(n)d documents are queued again.", count)
    messages.success(request, text % {"n": count})


def cancel_document(request: HttpRequest) -> None:
    key = request.POST.get("document", "")
    chosen = Document.objects.alive().filter(pk=int(key) if key.isdecimal() else 0)
    stop(request, chosen)


def cancel_waiting(request: HttpRequest) -> None:
    """What a worker holds already is nearly done: only what waits is called off."""
    waiting = latest_revisions().filter(state=Revision.State.QUEUED)
    stop(request, Document.objects.filter(latest_revision__in=waiting))


def stop(request: HttpRequest, documents: Any) -> None:
    unfinished = documents.filter(latest_revision__state__in=Revision.UNFINISHED)
    named = audit.some(unfinished)
    count = cancel_documents(unfinished)
    audit.record(request, audit.Deed.CANCEL, named, count)
    text = ngettext(
        "%(n)d document was cancelled. It stands among the documents, where it can be retried.",
        "%(n)d documents were cancelled. They stand among the documents, where they can be "
        "retried.",
        count,
    )
    messages.success(request, text % {"n": count})


def cancel_build(request: HttpRequest) -> None:
    key = request.POST.get("index", "")
    index = (
        Index.objects.building()
        .select_related("collection", "embedding_model")
        .filter(pk=int(key) if key.isdecimal() else 0)
        .first()
    )
    if index is None:
        messages.info(request, _("This index is not being built any more."))
        return
    collection: Collection = index.collection
    reindex.cancel(index)
    audit.record(request, audit.Deed.REINDEX_CANCEL, [collection])
    messages.success(request, _("The reindex was cancelled."))


def cancel_comparison(request: HttpRequest) -> None:
    """One that waits is taken back; one that runs is over soon and loses nothing."""
    key = request.POST.get("task", "")
    try:
        gone, _rows = work.comparison_tasks().filter(pk=key, started_at=None).delete()
    except ValidationError:
        gone = 0
    if gone:
        messages.success(request, _("The comparison was cancelled."))
    else:
        messages.info(
            request, _("This comparison has begun already; it changes nothing but Chroma.")
        )


#: Value of the button → the permission that it asks for, and what it does.
ACTIONS: dict[str, tuple[str, Callable[[HttpRequest], None]]] = {
    "compare": ("retrieval.change_index", compare),
    "retry": ("retrieval.change_document", retry),
    "cancel-document": ("retrieval.change_document", cancel_document),
    "cancel-waiting": ("retrieval.change_document", cancel_waiting),
    "cancel-build": ("retrieval.change_collection", cancel_build),
    "cancel-comparison": ("retrieval.change_index", cancel_comparison),
}
