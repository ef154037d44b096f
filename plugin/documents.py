"""What clients read about the plugin: manifest, OpenAPI document, logo, legal page."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import yaml
from django.contrib.staticfiles import finders
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.views.decorators.http import require_safe

from plugin.exception_handler import body
from plugin.identity import current
from plugin.manifest import manifest
from plugin.models import PluginIdentity
from plugin.openapi import AUDIENCES, DEFAULT_AUDIENCE, document
from retrieval.admin.rendering import rendered

LOGO = "kbadmin/logo.png"


def fresh(request: HttpRequest, content: bytes, content_type: str) -> HttpResponseBase:
    """An answer that clients may keep but must ask about: a change is seen at once."""
    return _if_changed(request, hashlib.sha256(content).hexdigest(), lambda: content, content_type)


def _if_changed(
    request: HttpRequest, digest: str, content: Callable[[], bytes], content_type: str
) -> HttpResponseBase:
    """The same, of content that need not be read where the client has it."""
    etag = f'"{digest[:32]}"'
    known = get_conditional_response(request, etag=etag)
    response = HttpResponse(content(), content_type=content_type) if known is None else known
    response["ETag"] = etag
    response["Cache-Control"] = "no-cache"
    return response


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


@require_safe
def ai_plugin(request: HttpRequest) -> HttpResponseBase:
    return fresh(request, as_json(manifest()), "application/json")


@require_safe
def openapi_json(request: HttpRequest, audience: str = "") -> HttpResponseBase:
    try:
        return fresh(request, as_json(_wanted(request, audience)), "application/json")
    except KeyError:
        return _no_audience()


@require_safe
def openapi_yaml(request: HttpRequest) -> HttpResponseBase:
    try:
        text = yaml.safe_dump(_wanted(request), sort_keys=False, allow_unicode=True)
    except KeyError:
        return _no_audience()
    return fresh(request, text.encode(), "application/yaml; charset=utf-8")


def _wanted(request: HttpRequest, audience: str = "") -> dict[str, Any]:
    """The document for whom the address names: `?for=actions`. Raises KeyError."""
    return document(audience or request.GET.get("for") or DEFAULT_AUDIENCE)


def _no_audience() -> HttpResponse:
    known = ", ".join(AUDIENCES)
    message = f"There is no such document: for may be {known}."
    return JsonResponse(body("invalid_request", message), status=400)


@require_safe
def logo(request: HttpRequest) -> HttpResponseBase:
    digest = current().logo_hash
    if digest:
        return _if_changed(request, digest, lambda: own_logo(digest), "image/png")
    return fresh(request, default_logo(), "image/png")


def own_logo(digest: str) -> bytes:
    """The uploaded one. Raises Http404 if another has come meanwhile."""
    row = PluginIdentity.objects.filter(logo_hash=digest).values_list("logo", flat=True).first()
    if row is None:
        raise Http404
    return bytes(row)


def default_logo() -> bytes:
    path = finders.find(LOGO)
    if not path:
        raise Http404
    with open(path, "rb") as file:  # noqa: PTH123 - finders return text
        return file.read()


@require_safe
def legal(request: HttpRequest) -> HttpResponseBase:
    """The legal page that the manifest names, in the reader's language."""
    told = current()
    html = render_to_string(
        "plugin/legal.html",
        {
            "name": told.name_for_human,
            "contact_email": told.contact_email,
            "text": rendered(told.legal_text, ()) if told.legal_text else "",
        },
        request,
    )
    response = fresh(request, html.encode(), "text/html; charset=utf-8")
    patch_vary_headers(response, ["Accept-Language"])
    return response
