"""The plugin doctor: a document in, a report out, and how the plugin looks to people and models.

What a person names is judged by the rules and asked for by the safe fetcher; nothing of it is
executed, and text is shown as text.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext
from django.views.decorators.http import require_http_methods

from plugin.doctor import Document, Finding, Report, Severity, Tool, Verdict
from plugin.doctor.formats import arguments
from plugin.doctor.probes import Probed, probe_address, probe_document, probe_own
from plugin.doctor.reading import MAX_BYTES
from plugin.doctor.sources import (
    OWN,
    Fetched,
    Unavailable,
    check_document,
    check_own,
)
from plugin.doctor.sources import check as check_source
from plugin.exception_handler import body as error_body

PERMISSION = "retrieval.view_index"
LONGEST_ADDRESS = 2000
#: Of a finding's kind more are listed than anybody mends one by one.
FINDINGS_SHOWN = 100
TOOLS_SHOWN = 50

SEVERITIES = {
    Severity.ERROR: gettext_lazy("Errors"),
    Severity.WARNING: gettext_lazy("Warnings"),
    Severity.ADVICE: gettext_lazy("Advice"),
}
VERDICTS = {
    Verdict.OK: gettext_lazy("works"),
    Verdict.WARNING: gettext_lazy("works in part"),
    Verdict.ERROR: gettext_lazy("does not work"),
}
DOCUMENTS = {
    Document.MANIFEST: gettext_lazy("Manifest"),
    Document.OPENAPI: gettext_lazy("OpenAPI document"),
}


ASKED = {
    "document": gettext_lazy("Document"),
    "logo": gettext_lazy("Logo"),
    "legal": gettext_lazy("Legal page"),
    "cors": gettext_lazy("From a browser"),
    "preflight": gettext_lazy("Preflight"),
}


class DoctorForm(forms.Form):
    KINDS = [
        ("url", gettext_lazy("Address")),
        ("text", gettext_lazy("Text")),
        ("file", gettext_lazy("File")),
        (OWN, gettext_lazy("Our own")),
    ]

    kind = forms.ChoiceField(choices=KINDS, label=gettext_lazy("What to check"))
    address = forms.CharField(
        max_length=LONGEST_ADDRESS, required=False, label=gettext_lazy("Address")
    )
    text = forms.CharField(
        max_length=MAX_BYTES, required=False, strip=False, label=gettext_lazy("Document")
    )
    openapi_text = forms.CharField(
        max_length=MAX_BYTES,
        required=False,
        strip=False,
        label=gettext_lazy("Its OpenAPI document"),
    )
    file = forms.FileField(required=False, allow_empty_file=True, label=gettext_lazy("Document"))
    openapi_file = forms.FileField(
        required=False, allow_empty_file=True, label=gettext_lazy("Its OpenAPI document")
    )
    live = forms.BooleanField(required=False, label=gettext_lazy("Ask the servers too"))

    def clean(self) -> None:
        given = self.cleaned_data
        kind = given.get("kind")
        if kind == "url" and not self.errors and "://" not in given["address"]:
            if not given["address"]:
                raise forms.ValidationError(_("Give the address of a manifest."))
            raise forms.ValidationError(
                _("Give the whole address, with http:// or https:// in front.")
            )
        if kind == "text" and not self.errors and not given["text"].strip():
            raise forms.ValidationError(_("Paste a manifest or an OpenAPI document."))
        if kind == "file" and not self.errors:
            if not given["file"]:
                raise forms.ValidationError(_("Choose a file."))
            for name in ("file", "openapi_file"):
                if given[name] and given[name].size > MAX_BYTES:
                    raise forms.ValidationError(
                        _("%(name)s is too large: no program reads more than 2 MB.")
                        % {"name": given[name].name}
                    )

    @property
    def problem(self) -> str:
        """The first of what is wrong, in one sentence."""
        for name, errors in self.errors.items():
            if name == "kind":
                return _("Say what is to be checked: an address, a text, a file, or our own.")
            sentence = str(errors[0])
            return sentence if name == "__all__" else f"{self.fields[name].label}: {sentence}"
        return ""


def run(form: DoctorForm) -> Probed:
    """Raises Unavailable if what was named cannot be had."""
    given = form.cleaned_data
    kind, live = given["kind"], given["live"]
    if kind == OWN:
        return probe_own() if live else unprobed(check_own())
    if kind == "url":
        address = given["address"].strip()
        return probe_address(address) if live else unprobed(check_source(address))
    if kind == "text":
        first, second, name = given["text"], given["openapi_text"], _("pasted text")
    else:
        first, name = given["file"].read(), given["file"].name
        second = given["openapi_file"].read() if given["openapi_file"] else b""
    document = Fetched(as_bytes(first), "")
    openapi = Fetched(as_bytes(second), "") if second.strip() else None
    if live:
        return probe_document(document, openapi=openapi, source=name)
    return unprobed(check_document(document, openapi=openapi, source=name, fetch=None))


def unprobed(report: Report) -> Probed:
    return Probed(report, (), None)


def as_bytes(given: str | bytes) -> bytes:
    # A lone half of a surrogate pair can be pasted, and is no UTF-8.
    return given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass")


# --- What is shown ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    message: str
    document: str
    found: Finding


@dataclass(frozen=True, slots=True)
class Item:
    """What one rule found: its reason and its remedy are said once, however many places."""

    found: Finding  #: the first one
    whom: str
    places: list[Place]


@dataclass(frozen=True, slots=True)
class Group:
    severity: str
    title: str
    count: int
    entries: list[Item]
    hidden: int


@dataclass(frozen=True, slots=True)
class Row:
    """One program of the matrix."""

    name: str
    verdict: Verdict
    label: str
    counts: str
    reason: str  #: the worst that stands in its way


@dataclass(frozen=True, slots=True)
class Card:
    """The plugin as a chat client lists it."""

    name: str
    description: str
    name_for_model: str
    contact: str
    logo: str  #: a picture in an address of its own; "" without one

    @property
    def initial(self) -> str:
        return next((letter.upper() for letter in self.name if letter.isalnum()), "?")


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as the model is told of it."""

    tool: Tool
    arguments: list[str]
    parameters: str


def groups(report: Report) -> Iterator[Group]:
    for severity, title in SEVERITIES.items():
        found = report.of(severity)
        items: dict[tuple[str, str, str], Item] = {}
        for one in found[:FINDINGS_SHOWN]:
            whom = concerns(one)
            item = items.setdefault((one.rule, one.fix, whom), Item(one, whom, []))
            item.places.append(Place(one.message.translated, str(DOCUMENTS[one.document]), one))
        if found:
            hidden = max(len(found) - FINDINGS_SHOWN, 0)
            yield Group(severity.label, str(title), len(found), list(items.values()), hidden)


def concerns(found: Finding) -> str:
    """Whom a finding concerns as badly as it is counted."""
    names = [name.translated for name in found.affected(found.severity)]
    return pgettext("between the parts of a list", ", ").join(names)


def matrix(report: Report) -> Iterator[Row]:
    for consumer, verdict in report.consumers.items():
        levels = [
            (found.consumers[consumer], report.message_of(found))
            for found in report.findings
            if consumer in found.consumers
        ]
        worst = max(levels, key=lambda level: level[0], default=None)
        counted = []
        errors = sum(level is Severity.ERROR for level, _message in levels)
        warnings = sum(level is Severity.WARNING for level, _message in levels)
        if errors:
            counted.append(ngettext("%(n)d error", "%(n)d errors", errors) % {"n": errors})
        if warnings:
            counted.append(ngettext("%(n)d warning", "%(n)d warnings", warnings) % {"n": warnings})
        yield Row(
            name=consumer.label.translated,
            verdict=verdict,
            label=str(VERDICTS[verdict]),
            counts=pgettext("between the parts of a list", ", ").join(counted),
            reason=worst[1].translated if worst and worst[0] is not Severity.ADVICE else "",
        )


def card(probed: Probed) -> Card | None:
    """None where nothing of a plugin could be read."""

    def text(holder: Any, *names: str) -> str:
        found = (holder.get(name) for name in names) if isinstance(holder, dict) else ()
        return next((each for each in found if isinstance(each, str) and each.strip()), "")

    report = probed.report
    if report.manifest:
        fields = report.manifest
        logo = base64.b64encode(probed.logo).decode() if probed.logo else ""
        return Card(
            name=text(fields, "name_for_human", "name_for_model") or _("without a name"),
            description=text(fields, "description_for_human", "description_for_model"),
            name_for_model=text(fields, "name_for_model"),
            contact=text(fields, "contact_email"),
            logo=f"data:image/png;base64,{logo}" if logo else "",
        )
    if report.openapi:
        info = report.openapi.get("info")
        return Card(
            name=text(info, "title") or _("without a name"),
            description=text(info, "description", "summary"),
            name_for_model="",
            contact="",
            logo="",
        )
    return None


def tools(report: Report) -> list[Offered]:
    return [
        Offered(
            tool,
            arguments(tool.parameters),
            json.dumps(tool.parameters, ensure_ascii=False, indent=2),
        )
        for tool in report.tools[:TOOLS_SHOWN]
    ]


def headline(report: Report) -> str:
    counts = {severity: len(report.of(severity)) for severity in Severity}
    errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
    if errors:
        return ngettext("%(n)d error to mend", "%(n)d errors to mend", errors) % {"n": errors}
    if warnings:
        return ngettext("No error, %(n)d warning", "No error, %(n)d warnings", warnings) % {
            "n": warnings
        }
    return _("Right for every program")


def shown(probed: Probed) -> dict[str, Any]:
    report = probed.report
    verdicts = set(report.consumers.values())
    state = next(v for v in (Verdict.ERROR, Verdict.WARNING, Verdict.OK) if v in {*verdicts, "ok"})
    return {
        "report": report,
        "headline": headline(report),
        "state": state,
        "groups": list(groups(report)),
        "matrix": list(matrix(report)),
        "card": card(probed),
        "exchanges": [(str(ASKED[one.what]), one) for one in probed.exchanges],
        "tools": tools(report),
        "tools_hidden": max(len(report.tools) - TOOLS_SHOWN, 0),
        "mended": [(str(DOCUMENTS[name]), name, text) for name, text in report.mended.items()],
        "addresses": [
            (str(DOCUMENTS[name]), address) for name, address in report.documents.items()
        ],
    }


# --- Views ------------------------------------------------------------------------------------


def asked(request: HttpRequest) -> DoctorForm | None:
    """What is to be checked. An address is asked for only by POST: a link must not send us out."""
    if request.method == "POST":
        return DoctorForm(request.POST, request.FILES)
    if request.GET.get("kind") == OWN:
        return DoctorForm({"kind": OWN})
    return None


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    form = asked(request)
    context: dict[str, Any] = {**admin.site.each_context(request), "title": _("Plugin doctor")}
    status = HTTPStatus.OK
    if form is not None:
        if not form.is_valid():
            context["problem"], status = form.problem, HTTPStatus.BAD_REQUEST
        else:
            try:
                context |= shown(run(form))
            except Unavailable as error:
                context["problem"], status = (
                    error.message.translated,
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                )
    context["form"] = form or DoctorForm(
        initial={"kind": "url", "live": True, "address": request.GET.get("address", "")}
    )
    return TemplateResponse(request, "kbadmin/doctor.html", context, status=status)


@require_http_methods(["GET", "POST"])
def report_json(request: HttpRequest) -> HttpResponse:
    """The same report for programs of staff: GET our own, POST the fields of the page's form."""
    if not (request.user.is_active and request.user.is_staff):
        message = _("Log in to the admin first.")
        return JsonResponse(error_body("not_authenticated", message), status=401)
    if not request.user.has_perm(PERMISSION):
        message = _("Your account may not check plugins.")
        return JsonResponse(error_body("permission_denied", message), status=403)
    form = asked(request) or DoctorForm({"kind": OWN})
    if not form.is_valid():
        return JsonResponse(error_body("invalid_request", form.problem), status=400)
    try:
        report = run(form).report
    except Unavailable as error:
        return JsonResponse(error_body("unavailable", str(error)), status=422)
    found = {"source": report.source, **report.as_json()}
    return JsonResponse(found, json_dumps_params={"ensure_ascii": False, "indent": 2})
