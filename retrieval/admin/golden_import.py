"""Filling the golden set from a file: first what would happen, then, if somebody says so, it."""

import json
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_http_methods

from retrieval import golden
from retrieval.admin import audit
from retrieval.exceptions import KnowledgeBaseError
from retrieval.models import Collection
from retrieval.questions import read_questions

LARGEST = 10 * 1024**2
SHOWN = 20
EXAMPLES = [
    golden.Row("How long may a refund take?", "refunds.md", "A refund may take thirty days."),
    golden.Row("Where do visitors park?", "parking.md"),
]
SQUAD = {
    "data": [
        {
            "title": "Refunds",
            "paragraphs": [
                {
                    "context": "A refund may take thirty days. Ask the desk for a form.",
                    "document": "refunds.md",
                    "qas": [
                        {
                            "question": "How long may a refund take?",
                            "answers": [{"text": "thirty days", "answer_start": 18}],
                        }
                    ],
                }
            ],
        }
    ]
}
TEMPLATES: dict[str, tuple[str, Callable[[], str]]] = {
    "csv": ("text/csv; charset=utf-8", lambda: "".join(golden.as_csv(EXAMPLES))),
    "jsonl": ("application/x-ndjson; charset=utf-8", lambda: "".join(golden.as_jsonl(EXAMPLES))),
    "json": ("application/json", lambda: json.dumps(SQUAD, indent=2) + "\n"),
}


class FileForm(forms.Form):
    collection = forms.ModelChoiceField(
        Collection.objects.alive().order_by("title"),
        empty_label=None,
        label=gettext_lazy("Collection"),
    )
    file = forms.FileField(label=gettext_lazy("File"), allow_empty_file=True)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST:
            raise forms.ValidationError(
                _("It is larger than %(size)s. Split it.") % {"size": filesizeformat(LARGEST)}
            )
        return file


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("retrieval.add_judgment"):
        raise PermissionDenied
    if request.method == "POST":
        return confirm(request) if "draft" in request.POST else receive(request)
    key = request.GET.get("draft", "")
    draft = opened(request, key)
    if key and draft is None:
        messages.info(request, _("This report is no longer kept. Send the file again."))
        return redirect("admin:retrieval_judgment_import")
    initial = {"collection": request.GET.get("collection")}
    return show(request, FileForm(initial=initial), draft)


def show(
    request: HttpRequest, form: FileForm, draft: SessionStore | None = None, status: int = 200
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": _("Import into the golden set"),
        "form": form,
        "report": draft["report"] if draft else None,
        "draft": draft.session_key if draft else "",
        "formats": TEMPLATES,
        "has_collection": Collection.objects.alive().exists(),
        "largest": LARGEST,
    }
    return TemplateResponse(request, "kbadmin/golden_import.html", context, status=status)


def receive(request: HttpRequest) -> HttpResponse:
    """Look at a file and keep what it would add, apart from the user's session."""
    form = FileForm(request.POST, request.FILES)
    if not form.is_valid():
        return show(request, form, status=400)
    collection, file = form.cleaned_data["collection"], form.cleaned_data["file"]
    try:
        plan = golden.plan(collection, read_questions(file.name, file.read()))
    except KnowledgeBaseError as error:
        form.add_error("file", error.message)
        return show(request, form, status=400)
    draft = SessionStore()
    draft["importer"] = request.user.pk
    draft["collection"] = collection.pk
    draft["rows"] = [[row.question, row.document, row.quote] for row in plan.new]
    draft["report"] = {
        "file": file.name,
        "collection": collection.title,
        "new": len(plan.new),
        "examples": draft["rows"][:SHOWN],
        "known": plan.known,
        "unresolved": len(plan.unresolved),
        "unresolved_examples": plan.unresolved[:SHOWN],
        "unknown": len(plan.unknown),
        "unknown_examples": plan.unknown[:SHOWN],
        "too_long": plan.too_long,
        "left_out": plan.left_out,
    }
    draft.create()
    return redirect(f"{reverse('admin:retrieval_judgment_import')}?draft={draft.session_key}")


def confirm(request: HttpRequest) -> HttpResponse:
    draft = opened(request, request.POST["draft"])
    collection = (
        Collection.objects.alive().filter(pk=draft["collection"]).first() if draft else None
    )
    if draft is None or collection is None:
        messages.error(request, _("This report is no longer kept. Send the file again."))
        return redirect("admin:retrieval_judgment_import")
    added = golden.add(collection, (golden.Row(*values) for values in draft["rows"]))
    audit.record(
        request,
        audit.Deed.GOLDEN_IMPORT,
        added[: audit.NAMED],
        len(added),
        detail=draft["report"]["file"],
    )
    draft.delete()
    messages.success(
        request,
        ngettext(
            "%(n)d question joined the golden set.",
            "%(n)d questions joined the golden set.",
            len(added),
        )
        % {"n": len(added)},
    )
    listed = reverse("admin:retrieval_judgment_changelist")
    return redirect(f"{listed}?collection={collection.pk}")


def opened(request: HttpRequest, key: str) -> SessionStore | None:
    """What was found in a file, for the one who sent it."""
    draft = SessionStore(session_key=key or None)
    return draft if key and draft.get("importer") == request.user.pk else None


@require_GET
def template(request: HttpRequest) -> HttpResponse:
    """An example of a file, to be filled."""
    if not request.user.has_perm("retrieval.view_judgment"):
        raise PermissionDenied
    kind = request.GET.get("format", "csv")
    if kind not in TEMPLATES:
        return HttpResponse(
            _("There are templates for csv, jsonl and json."), status=400, content_type="text/plain"
        )
    content_type, write = TEMPLATES[kind]
    answer = HttpResponse(write(), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="golden-set-template.{kind}"'
    return answer
