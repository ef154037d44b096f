"""The revisions of the protocol, and what each request says about the one that it speaks.

Source: https://modelcontextprotocol.io/specification, Versioning and Streamable HTTP of
2025-11-25 and 2026-07-28.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from plugin.mcp.jsonrpc import HEADER_MISMATCH, INVALID_PARAMS, UNSUPPORTED_VERSION, RpcError

#: Begun by `initialize`, oldest first, and stateless.
HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
STATELESS = ("2026-07-28",)
SPOKEN = (*reversed(STATELESS), *reversed(HANDSHAKE))
#: What a request without the header speaks.
ASSUMED = "2025-03-26"
#: Those that send several messages in one array, and the first that knows structured results.
BATCHING = frozenset({"2024-11-05", "2025-03-26"})
FIRST_STRUCTURED = "2025-06-18"

META_VERSION = "io.modelcontextprotocol/protocolVersion"
META_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
META_SERVER = "io.modelcontextprotocol/serverInfo"
#: Methods whose header Mcp-Name repeats a parameter.
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def negotiated(wanted: Any) -> str:
    """The revision that `initialize` is answered with."""
    return wanted if wanted in HANDSHAKE else HANDSHAKE[-1]


def is_structured(revision: str) -> bool:
    return SPOKEN.index(revision) <= SPOKEN.index(FIRST_STRUCTURED)


def meta_of(message: Any) -> dict[str, Any]:
    params = message.get("params") if isinstance(message, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}


def revision_of(headers: Mapping[str, str], message: Any) -> str:
    """The revision that a request speaks. Raises RpcError if that is not spoken here."""
    header = headers.get("Mcp-Protocol-Version", "").strip()
    named = meta_of(message).get(META_VERSION)
    if not header and named is None:
        return ASSUMED
    if header in HANDSHAKE and named is None:
        return header
    if named is not None and header != named:
        raise RpcError(
            HEADER_MISMATCH,
            f"The header MCP-Protocol-Version and {META_VERSION} must be the same.",
        )
    if header not in STATELESS:
        raise RpcError(
            UNSUPPORTED_VERSION,
            f"This revision of the protocol is not spoken here: {header}.",
            {"supported": list(SPOKEN), "requested": header},
        )
    return header


def check_stateless(
    headers: Mapping[str, str], message: dict[str, Any], method: str, params: dict[str, Any]
) -> None:
    """What a stateless request must say of itself, twice. Raises RpcError."""
    meta = meta_of(message)
    missing = [key for key in (META_VERSION, META_CAPABILITIES) if key not in meta]
    if missing:
        raise RpcError(INVALID_PARAMS, f"params._meta must hold {' and '.join(missing)}.")
    if headers.get("Mcp-Method") != method:
        raise RpcError(HEADER_MISMATCH, "The header Mcp-Method must name the method of the body.")
    name = params.get(NAMED[method]) if method in NAMED else None
    if name is not None and decoded(headers.get("Mcp-Name")) != name:
        raise RpcError(
            HEADER_MISMATCH, f"The header Mcp-Name must repeat the parameter {NAMED[method]}."
        )


def decoded(value: str | None) -> str | None:
    """A header's text; what is not ASCII comes as `=?base64?…?=`. None if that is damaged."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
