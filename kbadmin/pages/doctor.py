"""The plugin doctor: a document in, a report out.

What a person names is judged by the rules and asked for by the safe fetcher; nothing of it is
executed, and text is shown as text.
"""

from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from kbadmin.pages.doctor_history import PERMISSION, earlier
from kbadmin.pages.doctor_report import shown
from plugin import turns
from plugin.doctor import Report, history
from plugin.doctor.kept import Kept
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
from plugin.models import Check

LONGEST_ADDRESS = 2000


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
    token = forms.CharField(
        max_length=4000, required=False, label=gettext_lazy("Key for the search")
    )

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
    if live:
        # It may ask this very server, and then waits for a turn of another request.
        turns.step_aside()
    if kind == OWN:
        return probe_own() if live else unprobed(check_own())
    if kind == "url":
        address = given["address"].strip()
        if not live:
            return unprobed(check_source(address))
        return probe_address(address, token=given["token"])
    if kind == "text":
        first, second, name = given["text"], given["openapi_text"], _("pasted text")
    else:
        first, name = given["file"].read(), given["file"].name
        second = given["openapi_file"].read() if given["openapi_file"] else b""
    document = Fetched(as_bytes(first), "")
    openapi = Fetched(as_bytes(second), "") if second.strip() else None
    if live:
        return probe_document(document, openapi=openapi, source=name, token=given["token"])
    return unprobed(check_document(document, openapi=openapi, source=name, fetch=None))


def unprobed(report: Report) -> Probed:
    return Probed(report, (), None)


def checked(request: HttpRequest, form: DoctorForm) -> tuple[Kept, Check | None]:
    """The check that was asked for; kept if it was by POST, for a link changes nothing.

    Raises Unavailable if what was named cannot be had.
    """
    made = run(form).kept
    if request.method != "POST":
        return made, None
    kind = form.cleaned_data["kind"]
    return made, history.keep(made, kind, source_of(form, made.report), request.user)


def source_of(form: DoctorForm, report: Report) -> str:
    """What makes two checks ones of the same thing."""
    given = form.cleaned_data
    if given["kind"] == "url":
        return str(given["address"]).strip()
    if given["kind"] == "file":
        return str(given["file"].name)
    return name_of(report) if given["kind"] == "text" else ""


def name_of(report: Report) -> str:
    """What a document calls itself."""
    info = report.openapi.get("info") if report.openapi else None
    fields = report.manifest or {}
    named = (
        fields.get("name_for_model"),
        fields.get("name_for_human"),
        info.get("title") if isinstance(info, dict) else None,
    )
    return next((name for name in named if isinstance(name, str) and name.strip()), "")[:200]


def as_bytes(given: str | bytes) -> bytes:
    # A lone half of a surrogate pair can be pasted, and is no UTF-8.
    return given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass")


# --- Views ------------------------------------------------------------------------------------


def asked(request: HttpRequest) -> DoctorForm | None:
    """What is to be checked. An address is asked for only by POST: a link must not send us out."""
    if request.method == "POST":
        return DoctorForm(request.POST, request.FILES)
    if request.GET.get("kind") == OWN:
        return DoctorForm({"kind": OWN})
    return None


@sensitive_post_parameters("token")
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
                made, check = checked(request, form)
                context |= {**shown(made), "check": check}
            except Unavailable as error:
                context["problem"], status = (
                    error.message.translated,
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                )
    context["form"] = form or DoctorForm(
        initial={"kind": "url", "live": True, "address": request.GET.get("address", "")}
    )
    context |= earlier(request)
    return TemplateResponse(request, "kbadmin/doctor.html", context, status=status)


@sensitive_post_parameters("token")
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
        made, check = checked(request, form)
    except Unavailable as error:
        return JsonResponse(error_body("unavailable", str(error)), status=422)
    found = {"source": made.report.source, **made.report.as_json()}
    if check is not None:
        found["check"] = check.pk
    return JsonResponse(found, json_dumps_params={"ensure_ascii": False, "indent": 2})
