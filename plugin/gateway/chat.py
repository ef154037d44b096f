"""One chat completion, from the request to the answer."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import httpx
from django.http import HttpResponseBase, JsonResponse

from plugin import turns
from plugin.gateway import (
    answers,
    context,
    extractive,
    housekeeping,
    messages,
    models,
    places,
    questions,
    streams,
    upstream,
)
from plugin.gateway.context import Found
from plugin.gateway.conversation import Conversation, Message, text_of
from plugin.gateway.errors import ContextTooLong
from plugin.gateway.watch import Watch, watcher
from plugin.gateway.wording import wording_for
from retrieval.exceptions import InvalidRequest

logger = logging.getLogger(__name__)

#: What is left out, step by step, where all does not fit into the model's context: the share of
#: the passages that stays, and whether the conversation before the question does.
SMALLER = ((0.5, False), (0.2, False))


def answer(asked: Conversation, client: Any, asker: str = "") -> HttpResponseBase:
    """`client` is the socket of who asks, if it is known; `asker` the name for the log.

    Raises KnowledgeBaseError as long as nothing was sent.
    """
    target = models.find(asked.model)
    if isinstance(target, models.PassThrough):
        return _from_upstream(asked, None, target.name, client)
    task = housekeeping.task_of(asked.messages)
    said = questions.asked_in(asked.messages)
    if task is None and not said and not any(m["role"] == "user" for m in asked.messages):
        raise InvalidRequest("`messages` has no message of the user.", param="messages")
    found = None
    # A picture without words, or "thanks": there is nothing to search for.
    if task is None and said and not questions.is_small_talk(said[-1]):
        found = context.find(target.collection, said, asked.wishes, asker)
    if target.is_extractive:
        if found is not None:
            text = extractive.answer(found)
        elif task is not None:
            text = extractive.done(task, asked.messages)
        else:
            text = extractive.greeting(said[-1] if said else "")
        return _made_here(asked, text, found)
    return _from_upstream(asked, found, upstream.model_for_collections(), client)


# --- Without an upstream ----------------------------------------------------------------------


def _made_here(asked: Conversation, text: str, found: Found | None) -> HttpResponseBase:
    name = asked.model
    chunks = streams.ended(_spoken(name, text), name, _ending(asked, found, says_nothing=False))
    if not asked.is_streamed:
        answer = streams.completion(chunks, name)
        content = answer["choices"][0]["message"]["content"]
        return JsonResponse({**answer, "usage": _estimate(asked.messages, content)})
    return streams.response(_with_usage(chunks, asked), ExitStack())


def _spoken(name: str, text: str) -> Iterator[streams.Chunk]:
    spoken = streams.Spoken(streams.head_of(name))
    yield spoken.chunk(0, {"role": "assistant", "content": ""})
    for piece in extractive.pieces(text):
        yield spoken.chunk(0, {"content": piece})


# --- With an upstream --------------------------------------------------------------------------


def _from_upstream(
    asked: Conversation, found: Found | None, model: str, client: Any
) -> HttpResponseBase:
    """The upstream's answer: with an ending if something was searched for, else as it comes."""
    with ExitStack() as held:
        held.enter_context(places.place())
        watch = held.enter_context(watcher.watching(client))
        turns.step_aside()
        response = _ask(asked, found, model, watch)
        held.callback(response.close)
        ending = _ending(asked, found)
        if asked.is_streamed:
            chunks = streams.ended(upstream.read_chunks(response, watch), asked.model, ending)
            return streams.response(_with_usage(chunks, asked), held.pop_all())
        return JsonResponse(_completed(upstream.read_json(response, watch), asked, ending))


def _ask(asked: Conversation, found: Found | None, model: str, watch: Watch) -> httpx.Response:
    """Send the question with its passages; with fewer, where they do not fit."""
    sent = list(asked.messages)
    fastchat = upstream.speaks_fastchat()
    if found is not None:
        sent = messages.without_sources(sent)
    steps = SMALLER if found is not None else ()
    for share, is_whole in ((1.0, True), *steps):
        told = sent if is_whole else messages.latest(sent)
        if found is not None:
            fitting = found if share == 1.0 else context.shrunk(found, share)
            told = messages.with_instructions(told, context.instructions(fitting))
        body = messages.outgoing(asked.body, told, model=model, fastchat=fastchat)
        try:
            return upstream.ask("/chat/completions", body, watch)
        except ContextTooLong:
            if (share, is_whole) == (steps[-1] if steps else (1.0, True)):
                raise
            logger.info("the conversation is too long for the model: sending less of it")
    raise AssertionError("unreachable")


def _completed(
    answer: dict[str, Any], asked: Conversation, ending: streams.Ending
) -> dict[str, Any]:
    """An answer that was not streamed, under our model's name and with its ending."""
    answer["model"] = asked.model
    for choice in upstream.choices_of(answer):
        message = choice.get("message")
        if not isinstance(message, dict) or choice.get("finish_reason") not in streams.ENDINGS:
            continue
        text = text_of(message)
        if footer := ending.footer(text):
            message["content"] = text + footer
        if data := ending.data(text):
            answer["kbadmin"] = data
    return answer


# --- Endings -----------------------------------------------------------------------------------


def _ending(
    asked: Conversation, found: Found | None, *, says_nothing: bool = True
) -> streams.Ending:
    """`says_nothing`: the footer is to say so where nothing was found."""
    if found is None:
        said = questions.question_in(asked.messages)
        return streams.Ending(lambda text: "", lambda text: {}, wording_for(said).broken)
    return streams.Ending(
        lambda text: (
            answers.footer(found, text, says_nothing=says_nothing) if asked.wants_footer else ""
        ),
        lambda text: answers.as_data(found, text),
        found.wording.broken,
    )


def _with_usage(chunks: Iterator[streams.Chunk], asked: Conversation) -> Iterator[streams.Chunk]:
    """The count of tokens as a last chunk where it is wanted, an estimate where nobody counted."""
    text, last = "", None
    for chunk in chunks:
        last = chunk
        if chunk.get("choices") == []:
            if asked.wants_usage:
                yield chunk
            continue
        for choice in upstream.choices_of(chunk):
            content = choice["delta"].get("content")
            text += content if isinstance(content, str) else ""
        yield chunk
    if asked.wants_usage and last is not None and last.get("choices") != []:
        head = {name: last[name] for name in ("id", "object", "created", "model")}
        yield {**head, "choices": [], "usage": _estimate(asked.messages, text)}


def _estimate(sent: Sequence[Message], text: str) -> dict[str, int]:
    prompt = sum(context.tokens_in(text_of(message)) + 4 for message in sent)
    completion = context.tokens_in(text)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
