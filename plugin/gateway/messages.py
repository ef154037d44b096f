"""What is sent upstream: the conversation with the passages, in a form that it accepts."""

from collections.abc import Sequence
from typing import Any

from plugin.gateway import answers
from plugin.gateway.conversation import Message, text_of

#: FastChat knows neither tools nor what hangs on them.
UNKNOWN_TO_FASTCHAT = frozenset(
    {
        "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call",
        "stream_options", "response_format", "max_completion_tokens", "reasoning_effort",
        "modalities", "audio", "prediction", "store", "metadata", "service_tier",
    }
)  # fmt: skip
INSTRUCTIONS = ("system", "developer")


def outgoing(
    body: dict[str, Any],
    messages: Sequence[Message],
    *,
    model: str,
    fastchat: bool,
) -> dict[str, Any]:
    """The body of the request to the upstream."""
    sent = {**body, "model": model, "messages": list(messages)}
    if not fastchat:
        return sent
    if "max_tokens" not in sent and isinstance(sent.get("max_completion_tokens"), int):
        sent["max_tokens"] = sent["max_completion_tokens"]
    sent = {name: value for name, value in sent.items() if name not in UNKNOWN_TO_FASTCHAT}
    sent["messages"] = for_fastchat(messages)
    return sent


def for_fastchat(messages: Sequence[Message]) -> list[Message]:
    """The same conversation in the three roles that FastChat knows, each with a content.

    Of several system messages it would keep the last, so they become one; but an order at the
    end is told by the user, and so is what tools answered.
    """
    *before, last = messages
    if before and last["role"] in INSTRUCTIONS:
        messages = [*before, {**last, "role": "user"}]
    instructions = "\n\n".join(
        text_of(message) for message in messages if message["role"] in INSTRUCTIONS
    ).strip()
    plain: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
    for message in messages:
        role = message["role"]
        if role in INSTRUCTIONS:
            continue
        if role == "assistant":
            plain.append({"role": "assistant", "content": text_of(message) or _calls(message)})
        elif role in {"tool", "function"}:
            name = message.get("name")
            told = f"Result of {name}:" if isinstance(name, str) else "Result of the tool:"
            plain.append({"role": "user", "content": f"{told}\n{text_of(message)}"})
        else:
            plain.append({"role": "user", "content": _content(message)})
    return plain


def _content(message: Message) -> Any:
    """Text as a string; pictures keep their list of parts."""
    content = message.get("content")
    if isinstance(content, list) and any(part.get("type") != "text" for part in content):
        return content
    return text_of(message)


def _calls(message: Message) -> str:
    """What an assistant did that said nothing."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return ""
    called = [call.get("function") or {} for call in calls if isinstance(call, dict)]
    return "\n".join(f"{call.get('name')}({call.get('arguments')})" for call in called)


def with_instructions(messages: Sequence[Message], text: str) -> list[Message]:
    """A conversation whose first instructions end with a text; they are made if there are none."""
    told = list(messages)
    for place, message in enumerate(told):
        if message["role"] in INSTRUCTIONS:
            before = text_of(message).rstrip()
            told[place] = {**message, "content": f"{before}\n\n{text}" if before else text}
            return told
    return [{"role": "system", "content": text}, *told]


def without_sources(messages: Sequence[Message]) -> list[Message]:
    """A conversation without the sources and links below earlier answers: the model would
    imitate them, and they cost tokens."""
    cleaned = []
    for message in messages:
        content = message.get("content")
        if message["role"] == "assistant" and isinstance(content, str):
            message = {**message, "content": answers.without_footer(content)}
        cleaned.append(message)
    return cleaned


def latest(messages: Sequence[Message]) -> list[Message]:
    """The instructions and what came since the last question: where all does not fit."""
    last = max(
        (place for place, message in enumerate(messages) if message["role"] == "user"), default=0
    )
    return [message for message in messages[:last] if message["role"] in INSTRUCTIONS] + list(
        messages[last:]
    )
