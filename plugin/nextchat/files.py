"""The files that are laid over NextChat's own, so that it begins with the knowledge base on."""

import hashlib
import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_safe

from plugin.documents import as_json, fresh
from plugin.identity import current, plugin_id
from plugin.openapi import document

#: Before it is asked for a model of its own, NextChat's own default fills its place.
MODEL = "gpt-4o-mini"
#: The knowledge base's scripts, in the order in which they are joined.
SCRIPTS = ("feedback.js", "kbadmin/nextchat.js")
#: NextChat sorts masks by it.
CREATED_AT = 1_700_000_000_000
MASKS = (
    (
        "en",
        "",
        "You answer from the user's private knowledge base. Where you have the tool `search`, "
        "call it before you answer anything that the knowledge base may cover, cite the numbers "
        "of its results, and end every such answer with the `footer` that came with them, word "
        "for word. If the knowledge base does not know something, say so.",
    ),
    (
        "cn",
        "（中文）",
        "你根据用户的私有知识库回答问题。如果有 `search` 工具，凡是知识库可能涵盖的内容，"
        "先调用它再回答，并注明结果的编号；"
        "每个这样的回答都要以检索结果附带的 `footer` 原文结尾。知识库没有的内容，请直接说明。",
    ),
)


@require_safe
def openapi_json(request: HttpRequest) -> HttpResponseBase:
    return fresh(request, as_json(document("nextchat")), "application/json")


@require_safe
def plugins_json(request: HttpRequest) -> HttpResponseBase:
    return fresh(request, as_json(plugins()), "application/json")


@require_safe
def masks_json(request: HttpRequest) -> HttpResponseBase:
    return fresh(request, as_json(masks()), "application/json")


@require_safe
def register_js(request: HttpRequest) -> HttpResponseBase:
    return fresh(request, register_script(), "text/javascript; charset=utf-8")


def id_of(key: str = "") -> str:
    """What browsers know the plugin by: they never ask again for one that they have."""
    if not key:
        return plugin_id()
    return f"{plugin_id()}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"


def plugins(key: str = "") -> list[dict[str, Any]]:
    """plugins.json. With a key, everybody who can open NextChat can read that key in it."""
    plugin = {
        "id": id_of(key),
        "name": current().name_for_human,
        "schema": settings.PUBLIC_URL + reverse("nextchat-openapi"),
    }
    if key:
        plugin |= {"authType": "bearer", "authLocation": "header", "authToken": key}
    return [plugin]


def masks(key: str = "") -> dict[str, list[dict[str, Any]]]:
    """masks.json. They are numbered from 100000 on in this order, whatever their language."""
    return {"cn": [], "tw": [], "en": [mask(*words, plugin=id_of(key)) for words in MASKS]}


def mask(lang: str, suffix: str, prompt: str, plugin: str) -> dict[str, Any]:
    """One entry of NextChat's masks.json: a chat that begins with our plugin switched on."""
    return {
        "avatar": "1f4da",
        "name": current().name_for_human + suffix,
        # It is for the model; people see their own questions first.
        "hideContext": True,
        "context": [{"id": f"kbadmin-{lang}", "role": "system", "content": prompt, "date": ""}],
        "modelConfig": {
            "model": settings.NEXTCHAT_MODEL or MODEL,
            "providerName": "OpenAI",
            "temperature": 0.2,
            "max_tokens": 4000,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "sendMemory": True,
            "historyMessageCount": 8,
            "compressMessageLengthThreshold": 4000,
        },
        "lang": lang,
        "builtin": True,
        "createdAt": CREATED_AT,
        "plugin": [plugin],
        # Without a model of ours the one that NextChat is set to is used.
        "syncGlobalConfig": not settings.NEXTCHAT_MODEL,
    }


def register_script() -> bytes:
    """serviceWorkerRegister.js: what NextChat's own file does, and buttons below its answers."""
    parts = [f"window.kbadminFeedbackUrl = {json.dumps(settings.PUBLIC_URL)};\n".encode()]
    for name in SCRIPTS:
        path = finders.find(name)
        if not path:
            raise ImproperlyConfigured(f"static/{name} is missing from this installation.")
        parts.append(Path(path).read_bytes())
    return b"\n".join(parts)
