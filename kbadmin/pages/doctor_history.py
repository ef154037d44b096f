"""Checks of the plugin doctor that were kept: the list, one of them again, and what is otherwise
in another."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from kbadmin.pages.doctor_report import DOCUMENTS, VERDICTS, Group, group, shown, worst_of
from plugin.doctor import Document, Verdict, history
from plugin.models import Check
from retrieval.admin.comparison import LINES_SHOWN, TEXT_COMPARED, bounded_diff
from retrieval.history import Change, DiffLine

PERMISSION = "retrieval.view_index"
PER_PAGE = 10


@dataclass(frozen=True, slots=True)
class Row:
    """A kept check in the list."""

    check: Check
    state: Verdict
    label: str


@dataclass(frozen=True, slots=True)
class Step:
    """How the verdict of one program changed."""

    name: str
    old: Verdict | None
    old_label: str
    new: Verdict | None
    new_label: str


@dataclass(frozen=True, slots=True)
class TextChange:
    """What changed in one of the two documents."""

    title: str
    lines: list[DiffLine]
    added: int
    removed: int
    is_cut: bool


def earlier(request: HttpRequest) -> dict[str, Any]:
    """One page of the list, in two queries."""
    pages = Paginator(Check.objects.listed(), PER_PAGE)
    found = pages.get_page(request.GET.get("p"))
    return {"checks": [row(check) for check in found], "checks_page": found}


def row(check: Check) -> Row:
    label = _("nothing to mend")
    if check.errors:
        label = ngettext("%(n)d error", "%(n)d errors", check.errors) % {"n": check.errors}
    elif check.warnings:
        label = ngettext("%(n)d warning", "%(n)d warnings", check.warnings) % {"n": check.warnings}
    return Row(check, worst_of(check.verdicts.values()), label)


@require_safe
def opened(request: HttpRequest, pk: int) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    check = get_object_or_404(Check.objects.select_related("made_by"), pk=pk)
    context = {
        **admin.site.each_context(request),
        "title": _("Check of a plugin"),
        "check": check,
        "is_kept": True,
        **shown(history.opened(check)),
    }
    return TemplateResponse(request, "kbadmin/doctor_check.html", context)


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    Check.objects.filter(pk=pk).delete()
    messages.success(request, _("The check was deleted."))
    return redirect("admin:plugin_doctor")


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Two checks, by default the newest of a source with the one before it."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    new = _named(request, "new")
    others = list(Check.objects.listed().of(new.kind, new.source))
    if "old" in request.GET:
        old = _named(request, "old")
    else:
        before = next((check for check in others if check.pk < new.pk), new)
        old = Check.objects.select_related("made_by").get(pk=before.pk)
    for check in (old, new):
        if all(check.pk != other.pk for other in others):
            others.append(check)
    difference = history.compare(old, new)
    context = {
        **admin.site.each_context(request),
        "title": _("What changed between two checks"),
        "old": row(old),
        "new": row(new),
        "others": others,
        "groups": _groups(difference),
        "unchanged": group("unchanged", _("Unchanged"), difference.unchanged),
        "steps": [
            Step(consumer.label.translated, before, _label(before), after, _label(after))
            for consumer, before, after in difference.verdicts
        ],
        "texts": [_text_change(document, old, new) for document in Document],
        "only_one_asked": old.is_live is not new.is_live,
    }
    return TemplateResponse(request, "kbadmin/doctor_compare.html", context)


def _named(request: HttpRequest, name: str) -> Check:
    key = request.GET.get(name, "")
    if not (key.isascii() and key.isdecimal() and len(key) < 19):
        raise Http404
    return get_object_or_404(Check.objects.select_related("made_by"), pk=int(key))


def _groups(difference: history.Difference) -> list[Group]:
    return [
        group("error", _("New findings"), difference.new),
        group("ok", _("Gone"), difference.gone),
    ]


def _label(verdict: Verdict | None) -> str:
    return str(VERDICTS[verdict]) if verdict else _("not checked")


def _text_change(document: Document, old: Check, new: Check) -> TextChange:
    before, after = (
        check.manifest if document is Document.MANIFEST else check.openapi for check in (old, new)
    )
    before, after = before.replace("\r\n", "\n"), after.replace("\r\n", "\n")
    is_long = before != after and max(len(before), len(after)) > TEXT_COMPARED
    lines, is_cut = bounded_diff(before[:TEXT_COMPARED], after[:TEXT_COMPARED])
    return TextChange(
        title=str(DOCUMENTS[document]),
        lines=lines[:LINES_SHOWN],
        added=sum(line.change is Change.ADDED for line in lines),
        removed=sum(line.change is Change.REMOVED for line in lines),
        is_cut=is_cut or is_long or len(lines) > LINES_SHOWN,
    )
