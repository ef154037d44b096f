"""The page, the parts of it that change while somebody types, and what its buttons do."""

import base64
import json
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from kbadmin.pages.identity.form import IdentityForm, entries, of_operations
from kbadmin.pages.identity.judgement import judge
from plugin import editing
from plugin.doctor.sources import check_own
from plugin.documents import LOGO
from plugin.identity import Identity, current, default, plugin_id
from plugin.models import PluginIdentity
from retrieval.admin import audit

VIEW, CHANGE_IT = "plugin.view_pluginidentity", "plugin.change_pluginidentity"
ENTRIES_SHOWN = 8


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not (request.user.has_perm(VIEW) or request.user.has_perm(CHANGE_IT)):
        raise PermissionDenied
    if request.method == "POST":
        return save(request)
    return shown(request, IdentityForm(), editing.texts_of(current()))


def save(request: HttpRequest) -> HttpResponse:
    """Store it; first ask again where a program would stop working."""
    must_change(request)
    form = IdentityForm(request.POST, request.FILES)
    texts = form.texts()
    if not form.is_valid():
        return shown(request, form, texts, HTTPStatus.BAD_REQUEST)
    picture = form.cleaned_data["picture"]
    if not request.POST.get("anyway"):
        breaks = judge(editing.would_be(texts)).breaks(judge(current()))
        if breaks:
            return shown(request, form, texts, HTTPStatus.UNPROCESSABLE_ENTITY, asks=True)
    try:
        changed = editing.save(texts, picture, form.cleaned_data["version"])
    except editing.ChangedMeanwhile:
        return shown(request, form, texts, HTTPStatus.CONFLICT, is_behind=True)
    note(request, changed)
    if changed:
        messages.success(request, _("Saved. Programs are told from now on."))
    else:
        messages.info(request, _("Nothing was changed."))
    return redirect("admin:plugin_identity")


@require_POST
def findings(request: HttpRequest) -> HttpResponse:
    """What the doctor says of what has been typed so far."""
    if (refusal := refused(request)) is not None:
        return refusal
    form = IdentityForm(request.POST)
    texts = form.texts()
    context = judged(texts, static(LOGO), current())
    context["fields"] = entries(form, texts, editing.defaults(), context["judgement"].of_fields)
    context |= {"is_part": True, "can_change": True}
    return TemplateResponse(request, "kbadmin/identity_findings.html", context)


@require_POST
def logo(request: HttpRequest) -> HttpResponse:
    """The chosen logo as it would be served; it is stored with the rest."""
    if (refusal := refused(request)) is not None:
        return refusal
    kept = {"logo_data": "default"} if request.POST.get("use") == "default" else {}
    form = IdentityForm(kept, request.FILES)
    status = HTTPStatus.OK if form.is_valid() else HTTPStatus.UNPROCESSABLE_ENTITY
    return TemplateResponse(
        request,
        "kbadmin/identity_logo.html",
        {"form": form, **logo_of(form, current())},
        status=status,
    )


@require_http_methods(["GET", "POST"])
def reset(request: HttpRequest) -> HttpResponse:
    """Ask first: what was written is gone."""
    must_change(request)
    if request.method == "POST":
        changed = editing.save({}, b"")
        audit.record(request, audit.Deed.DEFAULTS, list(PluginIdentity.objects.defer("logo")))
        if changed:
            messages.success(request, _("Everything is as it came with kbadmin."))
        return redirect("admin:plugin_identity")
    served, usual, form = current(), editing.defaults(), IdentityForm()
    texts = editing.texts_of(served)
    own = [form.name_of(name) for name in texts if texts[name] != usual[name]]
    if served.logo_hash:
        own.append(form.name_of(editing.LOGO))
    context = {
        **admin.site.each_context(request),
        "title": _("Back to the defaults"),
        "own": own,
    }
    return TemplateResponse(request, "kbadmin/identity_reset.html", context)


@require_POST
def apply(request: HttpRequest) -> HttpResponse:
    """Make one change that the doctor has ready, in a text of ours."""
    must_change(request)
    asked = tuple(request.POST.get(name, "") for name in ("rule", "document", "pointer"))
    served = current()
    for found in check_own(identity=served).findings:
        if asked != (found.rule, str(found.document), found.pointer):
            continue
        field, text = editing.field_at(found.document, found.pointer), editing.ready_text(found)
        if field and text is not None:
            note(request, editing.save({**editing.texts_of(served), field: text}))
            messages.success(request, _("Mended. Programs are told from now on."))
            break
    else:
        messages.warning(request, _("There is nothing to mend there any more."))
    return redirect(f"{reverse('admin:plugin_doctor')}?kind=own#kb-report")


# --- What they share --------------------------------------------------------------------------


def must_change(request: HttpRequest) -> None:
    if not request.user.has_perm(CHANGE_IT):
        raise PermissionDenied


def refused(request: HttpRequest) -> HttpResponse | None:
    if not request.user.is_authenticated:
        response = HttpResponse(status=204)
        response["HX-Refresh"] = "true"
        return response
    if not request.user.is_staff:
        raise PermissionDenied
    must_change(request)
    return None


def note(request: HttpRequest, changed: list[str]) -> None:
    """Write the names of the fields into Django's log, as its own pages do."""
    if not changed:
        return
    form = IdentityForm()
    with translation.override(None):
        # Django translates them for whom they are shown to.
        names = [form.name_of(name) for name in changed]
    LogEntry.objects.create(
        user_id=request.user.pk or 0,
        content_type=ContentType.objects.get_for_model(PluginIdentity),
        object_id=str(PluginIdentity.ONLY),
        object_repr=str(PluginIdentity())[:200],
        action_flag=CHANGE,
        change_message=json.dumps([{"changed": {"fields": names}}], ensure_ascii=False),
    )


def shown(
    request: HttpRequest,
    form: IdentityForm,
    texts: dict[str, str],
    status: int = HTTPStatus.OK,
    *,
    is_behind: bool = False,
    asks: bool = False,
) -> HttpResponse:
    """The whole page with these texts in it."""
    served, version = current(), editing.version()
    picture = logo_of(form, served)
    judgement = judged(texts, picture["logo"], served)
    fields = entries(form, texts, editing.defaults(), judgement["judgement"].of_fields)
    kind = ContentType.objects.get_for_model(PluginIdentity)
    log = LogEntry.objects.filter(content_type=kind).select_related("user").order_by("-pk")
    context = {
        **admin.site.each_context(request),
        "title": _("Plugin"),
        "form": form,
        # What somebody else wrote is replaced only by who has been told of it.
        "version": form["version"].value() if form.is_bound and not is_behind else version,
        "is_behind": is_behind,
        "fields": fields,
        "tools": of_operations(fields),
        **picture,
        **judgement,
        "can_change": request.user.has_perm(CHANGE_IT),
        "is_own": served != default(),
        "plugin_id": plugin_id(served),
        "addresses": [
            (_("Manifest"), f"{settings.PUBLIC_URL}{reverse('ai-plugin')}"),
            (_("OpenAPI document"), f"{settings.PUBLIC_URL}{reverse('openapi-yaml')}"),
            (_("Legal information"), f"{settings.PUBLIC_URL}{reverse('legal')}"),
        ],
        "history": log[:ENTRIES_SHOWN],
        "asks": asks,
    }
    return TemplateResponse(request, "kbadmin/identity.html", context, status=status)


def judged(texts: dict[str, str], picture: str, served: Identity) -> dict[str, Any]:
    told = editing.would_be(texts)
    judgement = judge(told)
    # What is served already works or not, whatever is saved now.
    breaks = judgement.breaks(judge(served)) if judgement.report.has_errors else ""
    return {**judgement.shown(picture), "breaks": breaks}


def logo_of(form: IdentityForm, served: Identity) -> dict[str, Any]:
    """The picture that a form carries, else the one that is served."""
    picture = getattr(form, "cleaned_data", {}).get("picture")
    if picture:
        data = base64.b64encode(picture).decode()
        return {"logo": f"data:image/png;base64,{data}", "logo_data": data, "has_logo": True}
    if picture == b"":
        return {"logo": static(LOGO), "logo_data": "default", "has_logo": False}
    digest = served.logo_hash
    address = f"{reverse('logo')}?{digest[:12]}" if digest else static(LOGO)
    return {"logo": address, "logo_data": "", "has_logo": bool(digest)}
