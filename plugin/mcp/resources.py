"""Documents as resources: what is listed and read is what search may return at that moment."""

import base64
import binascii
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from plugin.mcp.jsonrpc import INVALID_PARAMS, RESOURCE_NOT_FOUND, RpcError
from plugin.mcp.revisions import STATELESS
from retrieval.exceptions import DocumentGone, PassageGone
from retrieval.live_documents import (
    Excerpt,
    LiveDocument,
    live_documents,
    read_document,
    read_passage,
)

DOCUMENT, PASSAGE = "kbadmin://documents/", "kbadmin://passages/"
MARKDOWN = "text/markdown"
PAGE = 100
#: Characters that one reading answers with; what follows has an address of its own.
READ, AROUND = 100_000, 8_000
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


def document_uri(pk: int, start: int = 0) -> str:
    return f"{DOCUMENT}{pk}" + (f"?from={start}" if start else "")


def listed(params: dict[str, Any]) -> dict[str, Any]:
    """The result of resources/list: a page of documents, by key."""
    documents = live_documents(_after(params.get("cursor")), PAGE + 1)
    told: dict[str, Any] = {"resources": [_described(one) for one in documents[:PAGE]]}
    if len(documents) > PAGE:
        told["nextCursor"] = _cursor(documents[PAGE - 1].pk)
    return told


def templates() -> dict[str, Any]:
    """The answer to resources/templates/list."""
    return {
        "resourceTemplates": [
            {
                "uriTemplate": f"{DOCUMENT}{{id}}{{?from}}",
                "name": "document",
                "title": "Document",
                "description": "A document of the knowledge base, from a character on.",
                "mimeType": MARKDOWN,
            },
            {
                "uriTemplate": f"{PASSAGE}{{id}}",
                "name": "passage",
                "title": "Passage",
                "description": "What stands around a search result, by its id.",
                "mimeType": MARKDOWN,
            },
        ]
    }


def read(params: dict[str, Any], revision: str) -> dict[str, Any]:
    """The result of resources/read. Raises RpcError."""
    uri = params.get("uri")
    if not isinstance(uri, str):
        raise RpcError(INVALID_PARAMS, "Invalid parameters: uri must be a string.")
    try:
        excerpt = excerpt_of(uri, READ, AROUND)
    except (DocumentGone, PassageGone, ValueError) as error:
        code = INVALID_PARAMS if revision in STATELESS else RESOURCE_NOT_FOUND
        raise RpcError(code, f"Resource not found: {uri[:200]}", {"uri": uri[:200]}) from error
    text = excerpt.text
    if excerpt.next_start is not None and uri.startswith(DOCUMENT):
        more = document_uri(excerpt.document.pk, excerpt.next_start)
        text += f"\n\n[The document goes on: read {more}]"
    return {"contents": [{"uri": uri, "mimeType": MARKDOWN, "text": text}]}


def excerpt_of(uri: str, limit: int, around: int) -> Excerpt:
    """What an address stands for: `limit` characters of a document, `around` of a passage.

    Raises DocumentGone, PassageGone, or ValueError for an address that is not ours.
    """
    parts = urlsplit(uri)
    kind = f"{parts.scheme}://{parts.netloc}/"
    number, start = parts.path.removeprefix("/"), parse_qs(parts.query).get("from", ["0"])[0]
    if not (_NUMBER.fullmatch(number) and _NUMBER.fullmatch(start)):
        raise ValueError(uri)
    if kind == DOCUMENT:
        return read_document(int(number), start=int(start), limit=limit)
    if kind == PASSAGE:
        return read_passage(int(number), limit=around)
    raise ValueError(uri)


def _described(document: LiveDocument) -> dict[str, Any]:
    told: dict[str, Any] = {
        "uri": document_uri(document.pk),
        "name": document.external_id,
        "title": document.title or document.external_id,
        "mimeType": MARKDOWN,
        "annotations": {"lastModified": document.changed_at.isoformat()},
    }
    description = document.metadata.get("description")
    if not isinstance(description, str) or not description:
        description = document.collection_title
    return {**told, "description": description[:500]}


def _cursor(pk: int) -> str:
    return base64.urlsafe_b64encode(f"after:{pk}".encode()).decode().rstrip("=")


def _after(cursor: Any) -> int:
    """The key behind which a page begins. Raises RpcError."""
    if cursor is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(f"{cursor}===").decode() if isinstance(cursor, str) else ""
    except (binascii.Error, ValueError):
        text = ""
    match = re.fullmatch(r"after:(\d{1,18})", text, re.ASCII)
    if match is None:
        raise RpcError(
            INVALID_PARAMS, "Invalid cursor: send one that resources/list answered with."
        )
    return int(match[1])
