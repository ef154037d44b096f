"""What each client does, in its own order, with its own headers."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import httpx
from django.conf import settings
from django.utils.translation import gettext as _

from plugin.doctor.sources import Fetched, check_document
from plugin.doctor.tools import ImportFails, nextchat_tools
from plugin.doctor.types import Consumer, Severity
from plugin.gateway import upstream
from plugin.rehearsal.steps import (
    TIMEOUT,
    Answer,
    Facts,
    Rehearsal,
    Step,
    Stopped,
    Wrong,
    as_json,
    expect,
    expect_cors,
)

#: As NextChat's server sends its plugins' calls on; other headers of the browser are dropped.
NEXTCHAT_HEADERS = {"accept": "application/json, text/plain, */*"}
#: The beginning of what NextChat asks after the first exchange.
TITLE = (
    "Please generate a four to five word title summarizing our conversation without any lead-in, "
    "punctuation, quotation marks, periods, symbols, bold text, or additional text. "
    "Remove enclosing quotation marks."
)
MCP_VERSION = "2025-06-18"
MCP_HEADERS = {"accept": "application/json, text/event-stream"}


def rehearse(client: str, facts: Facts) -> list[Step]:
    """The steps of one of CLIENTS, up to and including the first that fails."""
    # No proxy of the environment: it stands between us and others, not before ourselves.
    with httpx.Client(timeout=TIMEOUT, trust_env=False) as http:
        rehearsal = Rehearsal(facts, http)
        with suppress(Stopped):
            CLIENTS[client](rehearsal)
    return rehearsal.steps


# --- Chats through the gateway ----------------------------------------------------------------


def nextchat_gateway(rehearsal: Rehearsal) -> None:
    facts = rehearsal.facts
    models(rehearsal)
    streamed(rehearsal)
    rehearsal.take(
        _("Ask for a title of the chat, as NextChat does after the first answer"),
        "POST",
        f"{facts.server}/v1/chat/completions",
        _title,
        headers=facts.authorization,
        body={
            "model": facts.collection,
            "messages": [
                {"role": "user", "content": facts.question},
                {"role": "assistant", "content": "…"},
                {"role": "user", "content": TITLE},
            ],
        },
    )


def fastchat(rehearsal: Rehearsal) -> None:
    """The upstream on its own, then through the gateway."""
    if not upstream.is_there():
        rehearsal.conclude(
            _("Look for the language model's server"),
            _("No server is set: give its address as KBADMIN_UPSTREAM_URL and start again."),
            is_good=False,
        )
    headers = {}
    if settings.UPSTREAM_KEY:
        headers["Authorization"] = f"Bearer {settings.UPSTREAM_KEY}"
    rehearsal.take(
        _("Ask the language model's server for its models"),
        "GET",
        f"{upstream.base_url()}/models",
        _upstream_models,
        headers=headers,
    )
    models(rehearsal)
    streamed(rehearsal)


def models(rehearsal: Rehearsal) -> None:
    facts = rehearsal.facts

    def check(answer: Answer) -> tuple[str, None]:
        expect(answer, 200)
        names = [model["id"] for model in as_json(answer)["data"]]
        if facts.collection not in names:
            raise Wrong(
                _("“%(name)s” is not among the models: %(names)s.")
                % {"name": facts.collection, "names": ", ".join(names[:20])}
            )
        return _("Models: %(names)s") % {"names": ", ".join(names[:20])}, None

    rehearsal.take(
        _("Ask for the models"),
        "GET",
        f"{facts.server}/v1/models",
        check,
        headers=facts.authorization,
    )


def streamed(rehearsal: Rehearsal) -> None:
    facts = rehearsal.facts
    rehearsal.take(
        _("Chat, with the answer as a stream"),
        "POST",
        f"{facts.server}/v1/chat/completions",
        _stream,
        headers=facts.authorization,
        body={
            "model": facts.collection,
            "stream": True,
            "messages": [{"role": "user", "content": facts.question}],
        },
    )


def _stream(answer: Answer) -> tuple[str, str]:
    expect(answer, 200)
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    if not lines or lines[-1] != "[DONE]":
        raise Wrong(_("The stream ended in the middle; the log of the web process says why."))
    pieces = [json.loads(line) for line in lines[:-1]]
    for piece in pieces:
        if error := piece.get("error"):
            raise Wrong(str(error.get("message", error)))
    choices = [choice for piece in pieces for choice in piece.get("choices", [])]
    text = "".join(choice.get("delta", {}).get("content") or "" for choice in choices)
    if not text.strip():
        raise Wrong(_("The stream has no text in it."))
    told = _("%(count)d pieces, the first after %(first)d ms: “%(text)s”") % {
        "count": len(pieces),
        "first": answer.first,
        "text": _shortened(text),
    }
    return told, text


def _title(answer: Answer) -> tuple[str, None]:
    expect(answer, 200)
    text = as_json(answer)["choices"][0]["message"]["content"]
    return _("Title: “%(title)s”") % {"title": _shortened(text)}, None


def _upstream_models(answer: Answer) -> tuple[str, None]:
    expect(answer, 200)
    names = [str(model.get("id")) for model in as_json(answer).get("data", [])]
    if not names:
        raise Wrong(_("It lists no model: its worker may still be loading, or has stopped."))
    return _("Models: %(names)s") % {"names": ", ".join(names[:20])}, None


# --- NextChat's plugin ------------------------------------------------------------------------


def nextchat_plugin(rehearsal: Rehearsal) -> None:
    facts = rehearsal.facts
    listed = rehearsal.take(
        _("Fetch the list of plugins, from a page of NextChat"),
        "GET",
        f"{facts.base}/nextchat/plugins.json",
        lambda answer: _plugins(answer, facts),
        headers={"Origin": facts.origin},
    )
    document = rehearsal.take(
        _("Import the OpenAPI document, from a page of NextChat"),
        "GET",
        listed,
        lambda answer: _document(answer, facts.origin),
        headers={"Origin": facts.origin},
    )
    try:
        tools = [made.tool for made in nextchat_tools(document)]
    except ImportFails as error:
        rehearsal.conclude(_("Turn it into tools"), str(error.message), is_good=False)
        raise Stopped from error  # unreachable: a bad conclusion stops
    rehearsal.conclude(
        _("Turn it into tools"),
        _("The model is offered: %(names)s") % {"names": ", ".join(tool.name for tool in tools)},
        is_good=bool(tools),
    )
    server = str(document["servers"][0]["url"])
    rehearsal.take(
        _("Search, as NextChat's server calls a tool"),
        "POST",
        f"{server}/search",
        _found,
        headers=NEXTCHAT_HEADERS | facts.authorization,
        body={"query": facts.question},
    )
    preflight(rehearsal, f"{facts.base}/f", _("May the feedback buttons send a vote?"))


def _plugins(answer: Answer, facts: Facts) -> tuple[str, str]:
    expect(answer, 200)
    expect_cors(answer, facts.origin)
    plugins = as_json(answer)
    if not plugins:
        raise Wrong(_("The list of plugins is empty."))
    told = _("Plugin “%(name)s” with the id %(id)s") % {
        "name": plugins[0]["name"],
        "id": plugins[0]["id"],
    }
    return told, str(plugins[0]["schema"])


def _document(answer: Answer, origin: str) -> tuple[str, dict[str, Any]]:
    expect(answer, 200)
    expect_cors(answer, origin)
    document = as_json(answer)
    told = _("OpenAPI %(version)s; calls go to %(server)s") % {
        "version": document.get("openapi"),
        "server": document["servers"][0]["url"],
    }
    return told, document


def _found(answer: Answer) -> tuple[str, dict[str, Any]]:
    expect(answer, 200)
    found = as_json(answer)
    if "error" in found:
        raise Wrong(str(found["error"]))
    titles = [str(result["title"]) for result in found["results"]]
    if not titles:
        raise Wrong(_("Nothing was found. Upload a document to this collection first."))
    told = _("%(count)d passages, the first from “%(title)s”; confidence %(confidence)s") % {
        "count": len(titles),
        "title": titles[0],
        "confidence": found["confidence"],
    }
    return told, found


def preflight(rehearsal: Rehearsal, url: str, title: str) -> None:
    """What a browser asks before it lets a page of another origin post JSON with a key."""
    origin = rehearsal.facts.origin

    def check(answer: Answer) -> tuple[str, None]:
        expect(answer, 200, 204)
        expect_cors(answer, origin)
        headers = answer.headers.get("access-control-allow-headers", "").lower()
        missing = [name for name in ("authorization", "content-type") if name not in headers]
        if missing:
            raise Wrong(_("The header %(name)s is not allowed (CORS).") % {"name": missing[0]})
        return _("Pages of %(origin)s may.") % {"origin": origin}, None

    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    rehearsal.take(title, "OPTIONS", url, check, headers=asked)


# --- GPT Actions ------------------------------------------------------------------------------


def actions(rehearsal: Rehearsal) -> None:
    facts = rehearsal.facts
    document = rehearsal.take(
        _("Import the OpenAPI document"),
        "GET",
        f"{facts.base}/openapi.json?for=actions",
        _imported,
    )
    told, is_good = _verdict(document)
    rehearsal.conclude(_("Check it against the rules of GPT Actions"), told, is_good=is_good)
    search(rehearsal)


def _imported(answer: Answer) -> tuple[str, str]:
    expect(answer, 200)
    as_json(answer)
    return _("%(size)d characters of at most 100,000") % {"size": len(answer.text)}, answer.text


def _verdict(text: str) -> tuple[str, bool]:
    given = Fetched(text.encode(), "")
    report = check_document(given, consumers=[Consumer.GPT_ACTIONS], fetch=None)
    for found in report.of(Severity.ERROR):
        return f"{found.rule}: {report.message_of(found)} {found.fix}", False
    return _("Nothing stands against it."), True


# --- Programs ---------------------------------------------------------------------------------


def search(rehearsal: Rehearsal) -> None:
    facts = rehearsal.facts
    rehearsal.take(
        _("Search"),
        "POST",
        f"{facts.base}/search",
        _found,
        headers=facts.authorization,
        body={"query": facts.question, "collection": facts.collection},
    )


def code(rehearsal: Rehearsal) -> None:
    search(rehearsal)
    preflight(
        rehearsal,
        f"{rehearsal.facts.base}/search",
        _("May a web page of NextChat's origin search?"),
    )


def mcp(rehearsal: Rehearsal) -> None:
    facts = rehearsal.facts

    def call(title: str, method: str, params: dict[str, Any], check: Any) -> Any:
        body = {
            "jsonrpc": "2.0",
            "id": len(rehearsal.steps) + 1,
            "method": method,
            "params": params,
        }
        headers = MCP_HEADERS | facts.authorization
        if rehearsal.steps:
            headers["mcp-protocol-version"] = MCP_VERSION
        url = f"{facts.base}/mcp"
        return rehearsal.take(
            title, "POST", url, lambda answer: check(_result(answer)), headers=headers, body=body
        )

    introduced = {
        "protocolVersion": MCP_VERSION,
        "capabilities": {},
        "clientInfo": {"name": "kbadmin", "version": "1"},
    }
    call(_("Connect"), "initialize", introduced, _introduced)
    call(_("List the tools"), "tools/list", {}, _tools)
    arguments = {"query": facts.question}
    call(_("Search"), "tools/call", {"name": "search", "arguments": arguments}, _tool_result)


def _result(answer: Answer) -> dict[str, Any]:
    expect(answer, 200)
    message = as_json(answer)
    if error := message.get("error"):
        raise Wrong(str(error.get("message", error)))
    result: dict[str, Any] = message["result"]
    return result


def _introduced(result: dict[str, Any]) -> tuple[str, None]:
    server = result["serverInfo"]
    told = _("%(name)s %(version)s, protocol %(protocol)s") % {
        "name": server["name"],
        "version": server.get("version", ""),
        "protocol": result["protocolVersion"],
    }
    return told, None


def _tools(result: dict[str, Any]) -> tuple[str, None]:
    names = [tool["name"] for tool in result["tools"]]
    return _("The model is offered: %(names)s") % {"names": ", ".join(names)}, None


def _tool_result(result: dict[str, Any]) -> tuple[str, None]:
    text = result["content"][0]["text"]
    if result.get("isError"):
        raise Wrong(text)
    results = json.loads(text)["results"]
    if not results:
        raise Wrong(_("Nothing was found. Upload a document to this collection first."))
    told = _("%(count)d passages, the first from “%(title)s”") % {
        "count": len(results),
        "title": results[0]["title"],
    }
    return told, None


def _shortened(text: str, most: int = 120) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


#: By the name in the address of the page.
CLIENTS: Mapping[str, Callable[[Rehearsal], None]] = {
    "nextchat": nextchat_gateway,
    "nextchat-plugin": nextchat_plugin,
    "fastchat": fastchat,
    "gpt-actions": actions,
    "mcp": mcp,
    "code": code,
}
