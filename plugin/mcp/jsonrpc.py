"""JSON-RPC 2.0, as far as the Model Context Protocol uses it."""

import json
from typing import Any

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
#: Of the protocol: a resource that there is not (until 2025), and since 2026 headers that say
#: something else than the body, and a revision that is not spoken here.
RESOURCE_NOT_FOUND, HEADER_MISMATCH, UNSUPPORTED_VERSION = -32002, -32020, -32022
#: Our own: -32000 to -32019 are free.
REFUSED = -32010


class RpcError(Exception):
    """What is answered instead of a result."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def parse(body: bytes) -> Any:
    """Raises RpcError for what is no JSON."""
    try:
        return json.loads(body, parse_constant=_no_number)
    except RecursionError as error:
        raise RpcError(PARSE_ERROR, "Parse error: nested too deeply.") from error
    except ValueError as error:
        why = error if body.strip() else "the body is empty; send it with a Content-Length"
        raise RpcError(PARSE_ERROR, f"Parse error: {why}.") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def serialised(message: Any) -> bytes:
    # Half a surrogate pair, which a request may hold and an error repeats, is no text.
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def result(request_id: Any, value: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "result": value}


def failure(request_id: Any, error: RpcError) -> dict[str, Any]:
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        told["data"] = error.data
    return {"jsonrpc": "2.0", "id": request_id, "error": told}


def is_response(message: dict[str, Any]) -> bool:
    return "method" not in message and ("result" in message or "error" in message)


def is_notification(message: dict[str, Any]) -> bool:
    return "id" not in message and isinstance(message.get("method"), str)


def checked_request(message: Any) -> tuple[str | int | float, str, dict[str, Any]]:
    """Id, method and parameters. Raises RpcError."""
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "Invalid request: send one JSON object.")
    request_id, method = message.get("id"), message.get("method")
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'Invalid request: "jsonrpc" must be "2.0".')
    if not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, 'Invalid request: "method" must be a string.')
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | float):
        raise RpcError(INVALID_REQUEST, 'Invalid request: "id" must be a string or a number.')
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "Invalid parameters: they must be an object.")
    return request_id, method, params


def id_of(message: Any) -> Any:
    """The id to answer a faulty request with; None where it has none that can be repeated."""
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str | int | float) and not isinstance(found, bool) else None
