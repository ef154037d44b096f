"""Our own endpoint of the Model Context Protocol, asked as its clients ask it.

What stands before it, such as a reverse proxy, may let the documents through and not this: it is
a POST with headers that few know.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings

from plugin.doctor.almost_json import shown
from plugin.doctor.exchanges import Exchange
from plugin.doctor.registry import RULES
from plugin.doctor.subject import Subject
from plugin.doctor.types import Finding
from plugin.mcp.revisions import HANDSHAKE, META_CAPABILITIES, META_VERSION, STATELESS
from retrieval.sentences import Sentence as _

if TYPE_CHECKING:
    from plugin.doctor.probes import Prober

#: What ChatGPT's connectors look for.
CONNECTOR = ("search", "fetch")
CLIENT = {"name": "kbadmin-doctor", "version": "1"}
QUOTED = 200


def own(prober: "Prober", subject: Subject) -> Iterator[Finding]:
    """Both generations of the protocol, where the documents are our own."""
    if not subject.address.startswith(f"{settings.PUBLIC_URL}/"):
        return
    begun = _ask(
        prober,
        "initialize",
        {"protocolVersion": HANDSHAKE[-1], "capabilities": {}, "clientInfo": CLIENT},
    )
    result = _result(begun)
    if begun.is_forbidden:
        return  # nobody asked; the rules of servers say what is wrong with the address
    if not isinstance(result.get("protocolVersion"), str):
        yield RULES["KB602"].finding(subject, "", _refusal(begun))
        return
    meta = {META_VERSION: STATELESS[-1], META_CAPABILITIES: {}}
    listed = _ask(prober, "tools/list", {"_meta": meta}, STATELESS[-1])
    if "tools" not in _result(listed):
        yield RULES["KB604"].finding(subject, "", _refusal(listed))
        listed = _ask(prober, "tools/list", {}, HANDSHAKE[-1])
    tools = _result(listed).get("tools")
    names = {tool.get("name") for tool in tools if isinstance(tool, dict)} if tools else set()
    if missing := [name for name in CONNECTOR if name not in names]:
        message = _("It offers no tool %(names)s.", names=", ".join(missing))
        yield RULES["KB603"].finding(subject, "", message)


def _ask(prober: "Prober", method: str, params: Mapping[str, Any], revision: str = "") -> Exchange:
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if revision:
        headers["MCP-Protocol-Version"] = revision
    if revision in STATELESS:
        headers["Mcp-Method"] = method
    if prober.token:
        headers["Authorization"] = f"Bearer {prober.token}"
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return prober.asker.ask(
        "mcp",
        f"{settings.PUBLIC_URL}/mcp",
        method="POST",
        headers=headers,
        body=json.dumps(body).encode(),
        follow=False,
        secrets=(prober.token,) if prober.token else (),
    )


def _result(answer: Exchange) -> dict[str, Any]:
    """What the message holds; {} where it is none, or an error."""
    if answer.page is None or not answer.is_good:
        return {}
    try:
        message = json.loads(answer.page.data)
    except (ValueError, RecursionError):
        return {}
    result = message.get("result") if isinstance(message, dict) else None
    return result if isinstance(result, dict) else {}


def _refusal(answer: Exchange) -> _:
    if answer.page is None:
        return _("%(address)s: %(reason)s", address=answer.url, reason=answer.error)
    text = shown(" ".join(answer.page.data.decode("utf-8", "replace").split()), QUOTED)
    return _(
        "%(address)s answers with %(status)s: %(text)s",
        address=answer.url,
        status=answer.status,
        text=text or _("nothing"),
    )
