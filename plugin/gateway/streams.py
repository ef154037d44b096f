"""Answers on their way to a client: chunk by chunk, whatever happens to the upstream."""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from django.http import StreamingHttpResponse

from plugin.gateway import sse
from plugin.gateway.errors import ClientGone, UpstreamError
from plugin.gateway.upstream import choices_of

logger = logging.getLogger(__name__)

Chunk = dict[str, Any]
#: After these a footer makes sense; after a call of a tool, the answer is still to come.
ENDINGS = {"stop", "length", "content_filter", None}


@dataclass(slots=True)
class Ending:
    """What is put behind an answer."""

    footer: Callable[[str], str]  #: of the answer's text
    data: Callable[[str], dict[str, Any]]  #: for programs
    broken: str  #: a sentence for where the upstream breaks off


@dataclass(slots=True)
class Spoken:
    """What a stream has said so far, by choice."""

    head: Chunk
    text: dict[int, str] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)

    def chunk(self, index: int, delta: dict[str, Any], reason: str | None = None) -> Chunk:
        return {**self.head, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def head_of(model: str) -> Chunk:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }


def ended(chunks: Iterable[Chunk], model: str, ending: Ending) -> Iterator[Chunk]:
    """An answer's chunks under our model's name, each choice with its ending before its finish.

    Where the upstream breaks off, a sentence says so, and the answer is ended properly.
    """
    spoken = Spoken(head_of(model))
    usage = None
    try:
        for chunk in chunks:
            spoken.head |= {name: chunk[name] for name in ("id", "created") if chunk.get(name)}
            if not choices_of(chunk):
                usage = chunk.get("usage") or usage
                continue
            yield from _passed(chunk, spoken, ending)
    except ClientGone:
        return
    except UpstreamError as error:
        logger.warning("an answer was broken off: %s", error.message)
        for index in (set(spoken.text) or {0}) - spoken.ended:
            yield spoken.chunk(index, {"content": f"\n\n⚠️ {ending.broken}"})
    for index in (set(spoken.text) or {0}) - spoken.ended:
        yield from _finish(spoken, index, "stop", ending)
    if usage:
        yield {**spoken.head, "choices": [], "usage": usage}


def _passed(chunk: Chunk, spoken: Spoken, ending: Ending) -> Iterator[Chunk]:
    for choice in choices_of(chunk):
        index = choice.get("index") or 0
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        reason = choice.get("finish_reason")
        if index in spoken.ended:
            continue
        content = delta.get("content")
        spoken.text[index] = spoken.text.get(index, "") + (
            content if isinstance(content, str) else ""
        )
        if delta or not reason:
            kept = {name: value for name, value in choice.items() if name != "finish_reason"}
            yield {
                **chunk,
                **spoken.head,
                "choices": [{**kept, "delta": delta, "finish_reason": None}],
            }
        if reason:
            yield from _finish(spoken, index, reason, ending)


def _finish(spoken: Spoken, index: int, reason: str, ending: Ending) -> Iterator[Chunk]:
    spoken.ended.add(index)
    text = spoken.text.get(index, "")
    last = spoken.chunk(index, {}, reason)
    if reason in ENDINGS:
        footer = ending.footer(text)
        if footer:
            yield spoken.chunk(index, {"content": footer})
        data = ending.data(text)
        if data:
            last["kbadmin"] = data
    yield last


def completion(chunks: Iterable[Chunk], model: str) -> dict[str, Any]:
    """The answer that a client gets which did not want a stream, of chunks of our own making."""
    text = ""
    extra: dict[str, Any] = {}
    for chunk in chunks:
        for choice in choices_of(chunk):
            text += choice["delta"].get("content") or ""
        extra |= {name: chunk[name] for name in ("kbadmin", "usage") if name in chunk}
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        **head_of(model),
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        **extra,
    }


class EventStream:
    """The body of a streamed answer. Closing it gives back all that it holds, also if nothing
    of it was ever sent."""

    def __init__(self, chunks: Iterator[Chunk], held: ExitStack) -> None:
        self._chunks = chunks
        self._held = held

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            yield sse.event(chunk)
        yield sse.event(sse.DONE)

    def close(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        self._held.close()


def response(chunks: Iterator[Chunk], held: ExitStack) -> StreamingHttpResponse:
    answer = StreamingHttpResponse(EventStream(chunks, held), content_type="text/event-stream")
    answer["Cache-Control"] = "no-cache"
    answer["X-Accel-Buffering"] = "no"  # nginx
    return answer
