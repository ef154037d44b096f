"""The records of an index, a page at a time, and the ways to find one."""

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from kbadmin.pages.inspector import shell
from retrieval import inspection
from retrieval.admin import index_state
from retrieval.admin.index_state import count, step_badge
from retrieval.disk_usage import disk_usage
from retrieval.exceptions import InvalidFilter
from retrieval.inspection import Page, Position

PAGE = 50
#: Of a number in single precision.
BYTES = 4


class FindForm(forms.Form):
    q = forms.CharField(required=False, max_length=1000, label=gettext_lazy("Words in the text"))
    id = forms.CharField(required=False, max_length=500, label=gettext_lazy("Id"))
    filter = forms.JSONField(
        required=False,
        label=gettext_lazy("Filter"),
        error_messages={
            "invalid": gettext_lazy('The filter is no JSON. Write, for example, {"lang": "en"}')
        },
    )

    def clean_filter(self) -> dict[str, Any]:
        given = self.cleaned_data["filter"]
        if given not in ({}, None) and not isinstance(given, dict):
            raise forms.ValidationError(_("Write a JSON object: { … }"))
        return given or {}


@require_GET
def page(request: HttpRequest, pk: int) -> HttpResponse:
    about = shell.inspected(request, pk)
    form = FindForm(request.GET)
    if form.is_valid() and form.cleaned_data["id"].strip():
        return redirect(about.record_url(form.cleaned_data["id"].strip()))
    found, ranked, status = Page((), None, None), False, 200
    if form.is_valid():
        words, wanted = form.cleaned_data["q"].strip(), form.cleaned_data["filter"]
        try:
            if words:
                ranked = True
                chunks = inspection.found_by_words(about.index, words, wanted)
                found = Page(tuple(chunks), None, None)
            else:
                found = inspection.page(
                    about.index,
                    PAGE,
                    after=Position.parse(request.GET.get("after", "")),
                    before=Position.parse(request.GET.get("before", "")),
                    filter=wanted,
                )
        except InvalidFilter as error:
            form.add_error("filter", error.message)
    if not form.is_valid():
        status = 400
    # Asked once: each question to a Chroma that hangs costs its patience.
    records, problem = shell.fetch(about.index, [chunk.vector_id for chunk in found.chunks])
    kept = {"filter": request.GET["filter"]} if request.GET.get("filter") else {}
    context = shell.context(
        request,
        about,
        "inspector",
        form=form,
        rows=shell.listed(about, [(row.vector_id, row) for row in found.chunks], records),
        ranked=ranked,
        most_found=inspection.MOST_FOUND,
        searching=bool(ranked or kept),
        problem=problem,
        first_url=about.url("inspector", **kept) if found.before else "",
        before_url=about.url("inspector", **kept, before=found.before) if found.before else "",
        after_url=about.url("inspector", **kept, after=found.after) if found.after else "",
        all_url=about.url("inspector"),
        **facts(about, bool(problem)),
    )
    return TemplateResponse(request, "kbadmin/inspector/records.html", context, status=status)


def facts(about: shell.Inspected, is_away: bool) -> dict[str, Any]:
    """Both stores' counts and sizes."""
    index = about.index
    counts = count(index, ask=not is_away)
    usage = disk_usage(settings.CHROMA_DIR, index.physical_name) if index_state.is_local() else None
    return {
        "counts": counts,
        "step_badge": step_badge(index, counts),
        "usage": usage,
        "vector_bytes": None
        if counts.records is None
        else counts.records * index.embedding_model.dimension * BYTES,
    }
