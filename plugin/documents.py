"""What clients read about the plugin: manifest, OpenAPI document, logo, legal page."""

import hashlib
import json
from typing import Any

import yaml
from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from plugin.manifest import manifest
from plugin.openapi import document

LOGO = "kbadmin/logo.png"


def _fresh(request: HttpRequest, content: bytes, content_type: str) -> HttpResponseBase:
    """An answer that clients may keep but must ask about: a change is seen at once."""
    response = HttpResponse(content, content_type=content_type)
    response["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    response["Cache-Control"] = "no-cache"
    conditional = get_conditional_response(request, etag=response["ETag"], response=response)
    return conditional or response


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


@require_safe
def ai_plugin(request: HttpRequest) -> HttpResponseBase:
    return _fresh(request, _json(manifest()), "application/json")


@require_safe
def openapi_json(request: HttpRequest) -> HttpResponseBase:
    return _fresh(request, _json(document()), "application/json")


@require_safe
def openapi_yaml(request: HttpRequest) -> HttpResponseBase:
    text = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True)
    return _fresh(request, text.encode(), "application/yaml; charset=utf-8")


@require_safe
def logo(request: HttpRequest) -> HttpResponseBase:
    path = finders.find(LOGO)
    if not path:
        raise Http404
    with open(path, "rb") as file:  # noqa: PTH123 - finders return text
        return _fresh(request, file.read(), "image/png")


@require_safe
def legal(request: HttpRequest) -> HttpResponse:
    return render(request, "plugin/legal.html", {"contact_email": settings.CONTACT_EMAIL})
