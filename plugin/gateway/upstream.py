"""The language model's server: anything that speaks OpenAI's protocol.

Every exchange has a connection of its own, so that it can be ended from outside (see `watch`).
"""

import ipaddress
import itertools
import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from plugin.gateway import sse
from plugin.gateway.errors import (
    ClientGone,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from plugin.gateway.refusals import error_in, refusal
from plugin.gateway.watch import Watch

logger = logging.getLogger(__name__)

#: Seconds for connecting, and for the list of models that every request may need.
CONNECT, LISTING = 10.0, 10.0
#: Seconds that a list of models is remembered for; one that could not be had, shorter.
REMEMBERED, FORGOTTEN = 60.0, 5.0
#: Bytes of an answer that is not streamed.
MAX_ANSWER = 64 * 1024 * 1024


def is_there() -> bool:
    return bool(settings.UPSTREAM_URL)


def base_url() -> str:
    """Where /chat/completions is: an address without a path means its /v1."""
    url: str = settings.UPSTREAM_URL
    return url if urlsplit(url).path else f"{url}/v1"


@lru_cache(maxsize=4)
def _client(base: str, key: str, timeout: float) -> httpx.Client:
    return httpx.Client(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(timeout, connect=CONNECT),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        trust_env=_is_outside(urlsplit(base).hostname or ""),
    )


def _is_outside(host: str) -> bool:
    """Whether a proxy that is set for this machine may be used: not for what is inside."""
    try:
        return not ipaddress.ip_address(host).is_private
    except ValueError:
        return "." in host and not host.endswith((".internal", ".local", ".localhost"))


def client() -> httpx.Client:
    return _client(base_url(), settings.UPSTREAM_KEY, settings.UPSTREAM_TIMEOUT)


# --- Exchanges ------------------------------------------------------------------------------


@contextmanager
def failures(watch: Watch | None = None) -> Iterator[None]:
    """Says what went wrong as an error of ours."""
    try:
        yield
    except httpx.HTTPError as error:
        if watch is not None and watch.is_gone:
            raise ClientGone("The client has gone.") from error
        logger.warning("the upstream failed: %s: %s", type(error).__name__, error)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            raise UpstreamUnreachable("The language model cannot be reached right now.") from error
        if isinstance(error, httpx.TimeoutException):
            raise UpstreamTimeout("The language model did not answer in time.") from error
        raise UpstreamError("The language model broke off its answer.") from error


def ask(path: str, body: Any, watch: Watch) -> httpx.Response:
    """POST; the answer's head has come, and its status is 200. The caller closes it.

    Raises UpstreamError, or UpstreamRefused with the upstream's own words.
    """
    request = client().build_request(
        "POST",
        f"{base_url()}{path}",
        # Escaped: half a surrogate pair has no UTF-8, and clients cut texts anywhere.
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        extensions={"trace": watch.trace},
    )
    with failures(watch):
        response = client().send(request, stream=True)
    if response.status_code != 200:
        with failures(watch):
            try:
                raise refusal(response.status_code, response.headers, _bounded(response))
            finally:
                response.close()
    return response


def read_json(response: httpx.Response, watch: Watch) -> dict[str, Any]:
    """The whole answer. Raises UpstreamError."""
    with failures(watch):
        try:
            data = _bounded(response)
        finally:
            response.close()
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise UpstreamError("The language model's server answered with something else.") from error
    if not isinstance(answer, dict):
        raise UpstreamError("The language model's server answered with something else.")
    if told := error_in(answer):
        raise told
    return answer


def read_chunks(response: httpx.Response, watch: Watch) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed answer as they come; then it ends, or UpstreamError is raised.

    The first one has come when this returns, so that what fails at once can still be answered
    with an error. A server that does not stream is read as if it did.
    """
    if "text/event-stream" not in response.headers.get("content-type", ""):
        return _as_chunks(read_json(response, watch))
    chunks = _events(response, watch)
    first = next(chunks, None)
    return chunks if first is None else itertools.chain([first], chunks)


def _events(response: httpx.Response, watch: Watch) -> Iterator[dict[str, Any]]:
    is_done = False
    has_finished = False
    with failures(watch):
        for data in sse.events(response.iter_bytes()):
            watch.moved()
            if data == sse.DONE:
                is_done = True
                break
            chunk = _chunk(data)
            if told := error_in(chunk):
                raise told
            has_finished = has_finished or any(
                choice.get("finish_reason") for choice in choices_of(chunk)
            )
            yield chunk
    if watch.is_gone:
        raise ClientGone("The client has gone.")
    if not (is_done or has_finished):
        logger.warning("the upstream ended a stream before the answer was finished")
        raise UpstreamError("The language model broke off its answer.")


def _chunk(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise UpstreamError("The language model's server sent what cannot be read.")
    return chunk


def choices_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found = answer.get("choices")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _as_chunks(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    head: dict[str, Any] = {"object": "chat.completion.chunk"}
    head |= {name: answer[name] for name in ("id", "created", "model") if name in answer}
    for choice in choices_of(answer):
        index, delta = choice.get("index", 0), choice.get("message") or {}
        reason = choice.get("finish_reason") or "stop"
        yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": reason}]}
    if answer.get("usage"):
        yield {**head, "choices": [], "usage": answer["usage"]}


def _bounded(response: httpx.Response) -> bytes:
    data = bytearray()
    for piece in response.iter_bytes():
        data += piece
        if len(data) > MAX_ANSWER:
            raise UpstreamError("The language model's answer is too large.")
    return bytes(data)


# --- Its models -----------------------------------------------------------------------------

Model = dict[str, Any]
_listings: dict[tuple[str, str], tuple[float, list[Model] | None]] = {}
_listing = threading.Lock()


def models() -> list[Model]:
    """What its /v1/models lists, remembered for a minute. Raises UpstreamError."""
    found = _remembered()
    if found is None:
        raise UpstreamUnreachable("The language model cannot be reached right now.")
    return found


def count_models(timeout: float) -> int | None:
    """How many models it lists, None if it cannot be reached within so many seconds."""
    kept = _listings.get((base_url(), settings.UPSTREAM_KEY))
    is_fresh = kept is not None and time.monotonic() <= kept[0]
    found = kept[1] if kept is not None and is_fresh else _list_models(timeout)
    return None if found is None else len(found)


def _remembered() -> list[Model] | None:
    key = (base_url(), settings.UPSTREAM_KEY)
    kept = _listings.get(key)
    if kept is None or time.monotonic() > kept[0]:
        # The others wait for the one that asks, and then know as well.
        with _listing:
            kept = _listings.get(key)
            if kept is None or time.monotonic() > kept[0]:
                found = _list_models()
                until = time.monotonic() + (REMEMBERED if found is not None else FORGOTTEN)
                kept = _listings[key] = (until, found)
    return kept[1]


def _list_models(timeout: float = LISTING) -> list[Model] | None:
    try:
        response = client().get(f"{base_url()}/models", timeout=timeout)
        response.raise_for_status()
        listed = response.json()["data"]
        return [
            item for item in listed if isinstance(item, dict) and isinstance(item.get("id"), str)
        ]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        logger.warning("the upstream's models cannot be listed: %s", error)
        return None


def forget_models() -> None:
    """Ask the upstream anew on the next use of its list."""
    _listings.clear()


def model_for_collections() -> str:
    """The upstream's model that answers for our collections. Raises UpstreamError."""
    if settings.UPSTREAM_MODEL:
        return str(settings.UPSTREAM_MODEL)
    listed = [str(model["id"]) for model in models()]
    # A list often begins with what only embeds.
    chatting = [name for name in listed if not re.search(r"embed|rerank|whisper|tts", name, re.I)]
    if not listed:
        raise UpstreamError("The language model's server has no model.")
    return (chatting or listed)[0]


def speaks_fastchat() -> bool:
    """Whether it refuses what FastChat refuses; FastChat says in its list that it is one."""
    if settings.UPSTREAM_DIALECT != "auto":
        return bool(settings.UPSTREAM_DIALECT == "fastchat")
    return any(model.get("owned_by") == "fastchat" for model in _remembered() or [])
