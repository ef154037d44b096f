"""What the tests of /mcp share: JSON-RPC by hand, in both generations of the protocol."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

NEW = "2026-07-28"
OLD = "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": NEW,
    "io.modelcontextprotocol/clientCapabilities": {},
}
NAMED = {"tools/call": "name", "resources/read": "uri"}

Rpc = Callable[..., Any]


@pytest.fixture
def post(api_key: str) -> Rpc:
    """POST anything to /mcp with a valid key; returns the response."""
    client = Client(raise_request_exception=False)

    def send(body: Any, *, key: str | None = api_key, **options: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        options.setdefault("content_type", "application/json")
        return client.post("/mcp", data, headers=headers, **options)

    return send


@pytest.fixture
def rpc(post: Rpc) -> Rpc:
    """A request of a revision: rpc("tools/list", {...}, revision=OLD) is its JSON answer."""

    def call(method: str, params: Any = None, *, revision: str = OLD, **options: Any) -> Any:
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, "method": method}
        headers = {"MCP-Protocol-Version": revision} if revision else {}
        if revision == NEW:
            params = {**(params or {}), "_meta": META}
            headers |= {"Mcp-Method": method}
            if method in NAMED and NAMED[method] in params:
                headers["Mcp-Name"] = str(params[NAMED[method]])
        if params is not None:
            body["params"] = params
        response = post(body, headers={**headers, **options.pop("headers", {})}, **options)
        answer = json.loads(response.content)
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == 7
        assert ("result" in answer) != ("error" in answer)
        assert (response.status_code == 200) or (revision == NEW and "error" in answer)
        return answer

    return call


@pytest.fixture
def tool(rpc: Rpc) -> Rpc:
    """tool("search", query="…") is the JSON that the tool answers with, as its text holds it."""

    def call(name: str, *, revision: str = OLD, **arguments: Any) -> Any:
        result = rpc("tools/call", {"name": name, "arguments": arguments}, revision=revision)[
            "result"
        ]
        assert result["isError"] is False, result
        (item,) = result["content"]
        assert item["type"] == "text"
        return json.loads(item["text"])

    return call


@pytest.fixture
def mistake(rpc: Rpc) -> Rpc:
    """What a tool tells the model that called it wrongly."""

    def call(name: str, *, revision: str = OLD, **arguments: Any) -> str:
        result = rpc("tools/call", {"name": name, "arguments": arguments}, revision=revision)[
            "result"
        ]
        assert result["isError"] is True, result
        assert "structuredContent" not in result
        (item,) = result["content"]
        text: str = item["text"]
        return text

    return call
