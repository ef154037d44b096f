"""What is done with one passage of a document: keep it out of search, bring it back, edit it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from retrieval.admin import audit, versions
from retrieval.editing import edit_chunk
from retrieval.exceptions import KnowledgeBaseError
from retrieval.hidden import switch_chunks
from retrieval.models import Chunk

#: Chunks that one message can bring back: their keys stand in it, and it in a cookie.
UNDONE_AT_ONCE = 50
LONGEST_PASSAGE = 100_000


class PassageForm(forms.Form):
    text = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=LONGEST_PASSAGE,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 16, "class": "kb-edit-text", "autofocus": True}),
    )


def chunk_url(chunk: Chunk, view: str = "") -> str:
    page = reverse("admin:retrieval_document_change", args=[chunk.document_id])
    more = "&view=source" if view == "source" else ""
    return f"{page}?chunk={chunk.pk}{more}#chunk-{chunk.pk}"


def switched(request: HttpRequest, keys: list[int], count: int, enabled: bool) -> SafeString:
    """What a message says of chunks that were switched, with the button that undoes it."""
    if enabled:
        text = ngettext(
            "%(n)d passage is searched again.", "%(n)d passages are searched again.", count
        )
    else:
        text = ngettext(
            "%(n)d passage is kept out of search from now on.",
            "%(n)d passages are kept out of search from now on.",
            count,
        )
    text = text % {"n": count}
    if not count or len(keys) > UNDONE_AT_ONCE:
        return format_html("{}", text)
    return format_html(
        '{} <form class="kb-undo" method="post" action="{}">'
        '<input type="hidden" name="csrfmiddlewaretoken" value="{}">'
        '<input type="hidden" name="chunks" value="{}">'
        '<input type="hidden" name="next" value="{}">'
        '<button class="kb-undo-button" type="submit" name="enabled" value="{}">{}</button></form>',
        text,
        reverse("admin:retrieval_document_switch_chunks"),
        get_token(request),
        ",".join(map(str, keys)),
        request.POST.get("next", ""),
        "" if enabled else "1",
        _("Undo"),
    )


def switch_view(request: HttpRequest) -> HttpResponse:
    """Switches the chunks whose keys are sent, and leads back to the passage."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not request.user.has_perm("retrieval.change_chunk"):
        raise PermissionDenied
    given = request.POST.get("chunks", "").split(",")[:UNDONE_AT_ONCE]
    asked = [int(key) for key in given if key.isdecimal() and len(key) < 19]
    chunks = list(reachable().filter(pk__in=asked).only("pk", "document"))
    if not chunks:
        raise Http404
    enabled = bool(request.POST.get("enabled"))
    keys = [chunk.pk for chunk in chunks]
    count = switch_chunks(keys, enabled)
    if count:
        deed = audit.Deed.ENABLE if enabled else audit.Deed.DISABLE
        audit.record(request, deed, chunks, count)
    messages.success(request, switched(request, keys, count, enabled))
    return redirect(back(request) or chunk_url(chunks[0], request.POST.get("view", "")))


def edit_view(admin: Any, request: HttpRequest, chunk_id: int) -> HttpResponse:
    """The text of one passage in a form; saving it makes a new version of its document."""
    if not (
        request.user.has_perm("retrieval.change_document")
        and request.user.has_perm("retrieval.change_chunk")
    ):
        raise PermissionDenied
    chunk = reachable().filter(pk=chunk_id).first()
    if chunk is None:
        raise Http404
    form = PassageForm(request.POST or None, initial={"text": chunk.text})
    if request.method == "POST" and form.is_valid():
        try:
            revision = edit_chunk(chunk.pk, form.cleaned_data["text"])
        except KnowledgeBaseError as error:
            form.add_error("text", error.message)
        else:
            versions.record(request.user.pk or 0, [revision])
            text = _(
                "Saved as version %(number)d, which is indexed now. The one before is searched "
                "until then."
            )
            messages.success(request, text % {"number": revision.number})
            page = reverse("admin:retrieval_document_change", args=[chunk.document_id])
            return redirect(page)
    context = {
        **admin.admin_site.each_context(request),
        "title": _("Edit passage %(number)d") % {"number": chunk.order + 1},
        "opts": admin.opts,
        "document": chunk.document,
        "original": chunk.document,
        "chunk": chunk,
        "form": form,
        "back": chunk_url(chunk),
    }
    status = 400 if form.errors else 200
    return TemplateResponse(request, "kbadmin/chunk_edit.html", context, status=status)


def reachable() -> Any:
    """Chunks of living documents that were not replaced."""
    return Chunk.objects.filter(
        revision__retired_at=None,
        document__deleted_at=None,
        document__collection__deleted_at=None,
    ).select_related("document")


def back(request: HttpRequest) -> str:
    target = request.POST.get("next", "")
    return target if url_has_allowed_host_and_scheme(target, {request.get_host()}) else ""
