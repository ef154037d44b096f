"""What an upstream says instead of an answer, as an error of ours."""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from plugin.gateway.errors import (
    ContextTooLong,
    UpstreamError,
    UpstreamKeyRefused,
    UpstreamRefused,
)

logger = logging.getLogger(__name__)

#: Characters of an upstream's own words that are handed on.
MAX_WORDS = 500
TOO_LONG = re.compile(r"context[ _](length|size|window)|maximum context|too many tokens", re.I)
#: FastChat's own code for it.
FASTCHAT_OVERFLOW = 40303


def error_in(answer: dict[str, Any]) -> UpstreamError | None:
    """The error that an answer or a chunk carries with a status of 200, if it does."""
    if answer.get("error"):
        return UpstreamError(_words(answer))
    if answer.get("object") == "error" or answer.get("error_code"):
        return UpstreamError(_words(answer))
    return None


def refusal(status: int, headers: Mapping[str, str], data: bytes) -> UpstreamError:
    """What an answer with another status than 200 means to a client of ours."""
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    words = _words(answer)
    logger.warning("the upstream answered %d: %s", status, words)
    if status in {401, 403, 407}:
        return UpstreamKeyRefused(
            "The language model's server refused the key that this gateway uses. Its operator "
            "sets it as KBADMIN_UPSTREAM_KEY."
        )
    found = answer.get("error")
    code = found.get("code") if isinstance(found, dict) else answer.get("code")
    is_too_long = code in {"context_length_exceeded", FASTCHAT_OVERFLOW} or TOO_LONG.search(words)
    if status in {400, 413, 422} and is_too_long:
        return ContextTooLong(words, status=400, param="messages")
    if status == 429:
        return UpstreamRefused(words, status=429, retry_after=headers.get("retry-after"))
    if status in {400, 404, 413, 415, 422}:
        return UpstreamRefused(words, status=status)
    return UpstreamError(words)


def _words(answer: dict[str, Any]) -> str:
    """What an upstream says is wrong: OpenAI's shape, FastChat's, or FastAPI's."""
    found = answer.get("error")
    if isinstance(found, dict):
        found = found.get("message")
    found = found or answer.get("message") or answer.get("detail") or answer.get("text")
    if not isinstance(found, str):
        found = json.dumps(found, ensure_ascii=False) if found else ""
    return found[:MAX_WORDS].strip() or "The language model's server failed."
