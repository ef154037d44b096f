"""What each method of the protocol answers with, in both of its generations."""

from typing import Any

from django.conf import settings

from plugin.identity import current
from plugin.mcp import resources, tools
from plugin.mcp.caller import Caller
from plugin.mcp.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, RpcError
from plugin.mcp.revisions import META_SERVER, SPOKEN, STATELESS, negotiated

VERSION = "1"
SERVER = {"name": "kbadmin", "version": VERSION}
CAPABILITIES: dict[str, Any] = {"tools": {}, "resources": {}}
#: Milliseconds for which a client may keep an answer. Of documents none: gone is gone.
KEPT = {
    "server/discover": 300_000,
    "tools/list": 60_000,
    "resources/templates/list": 300_000,
    "resources/list": 0,
    "resources/read": 0,
}
#: Only there since, or until, the revision that needs no `initialize`.
NEW, OLD = frozenset({"server/discover"}), frozenset({"initialize", "ping"})


def answer(method: str, params: dict[str, Any], revision: str, caller: Caller) -> Any:
    """The result of a request. Raises RpcError."""
    is_stateless = revision in STATELESS
    if method in (OLD if is_stateless else NEW):
        raise _unknown(method)
    result = _result(method, params, revision, caller)
    if not is_stateless:
        return result
    told = {**result, "resultType": "complete", "_meta": {META_SERVER: SERVER}}
    if method in KEPT:
        told |= {"ttlMs": KEPT[method], "cacheScope": "private"}
    return told


def _result(method: str, params: dict[str, Any], revision: str, caller: Caller) -> dict[str, Any]:
    match method:
        case "initialize":
            return {
                "protocolVersion": negotiated(params.get("protocolVersion")),
                "capabilities": CAPABILITIES,
                "serverInfo": server_info(),
                "instructions": instructions(),
            }
        case "server/discover":
            return {
                "supportedVersions": list(SPOKEN),
                "capabilities": CAPABILITIES,
                "instructions": instructions(),
            }
        case "ping":
            return {}
        case "tools/list":
            _check_one_page(params)
            return {"tools": [tool.described(revision) for tool in tools.tools().values()]}
        case "tools/call":
            return tools.call(params, caller, revision)
        case "resources/list":
            return resources.listed(params)
        case "resources/templates/list":
            _check_one_page(params)
            return resources.templates()
        case "resources/read":
            return resources.read(params, revision)
        case _:
            raise _unknown(method)


def _unknown(method: str) -> RpcError:
    return RpcError(METHOD_NOT_FOUND, f"Method not found: {method[:100]}")


def _check_one_page(params: dict[str, Any]) -> None:
    if params.get("cursor") is not None:
        raise RpcError(INVALID_PARAMS, "Invalid cursor: this list has one page.")


def server_info() -> dict[str, Any]:
    return {**SERVER, "title": current().name_for_human, "websiteUrl": settings.PUBLIC_URL}


def instructions() -> str:
    """How a model should use the tools together: what the manifest says, by their names here."""
    return current().description_for_model.replace("submitFeedback", tools.FEEDBACK.name)
