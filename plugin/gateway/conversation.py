"""The body of a chat completion, checked as far as the gateway depends on it."""

from dataclasses import dataclass
from typing import Any

from retrieval.exceptions import InvalidRequest

#: Messages of one request, and characters of a model's name.
MAX_MESSAGES, MAX_NAME = 2000, 500
#: A field of our own in the body; it never reaches the upstream.
OWN = "kbadmin"

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    model: str
    messages: tuple[Message, ...]
    is_streamed: bool
    wants_usage: bool  #: in a last chunk of the stream
    wants_footer: bool  #: sources and links below the text; programs have them in a field
    wishes: dict[str, Any]  #: for the search: filter, top_k, mode, …
    body: dict[str, Any]  #: as it came, without what is ours


def parse(body: Any) -> Conversation:
    """Raises InvalidRequest, which names the field as `param`."""
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest(
            "`messages` must be a list with at least one message.", param="messages"
        )
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(
            f"`messages` has {len(messages)} entries; at most {MAX_MESSAGES} are possible.",
            param="messages",
        )
    for number, message in enumerate(messages):
        _check(message, f"messages[{number}]")
    wishes = body.get(OWN) or {}
    if not isinstance(wishes, dict):
        raise InvalidRequest(f"`{OWN}` must be an object.", param=OWN)
    options = body.get("stream_options") or {}
    return Conversation(
        model=model_in(body),
        messages=tuple(messages),
        is_streamed=bool(body.get("stream")),
        wants_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        wants_footer=wishes.get("footer") is not False and not _wants_json(body),
        wishes=wishes,
        body={name: value for name, value in body.items() if name != OWN},
    )


def _wants_json(body: dict[str, Any]) -> bool:
    """Whether the answer is for a program, which a footer would break."""
    wanted = body.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in {"json_object", "json_schema"}


def model_in(body: dict[str, Any]) -> str:
    """The name of the wanted model. Raises InvalidRequest."""
    model = body.get("model")
    if not isinstance(model, str) or not model.strip() or len(model) > MAX_NAME:
        raise InvalidRequest("`model` must name one of /v1/models.", param="model")
    return model.strip()


def _check(message: Any, path: str) -> None:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InvalidRequest(f"`{path}` must be an object with a role.", param=path)
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return
    raise InvalidRequest(
        f"`{path}.content` must be a string or a list of parts.", param=f"{path}.content"
    )


def text_of(message: Message) -> str:
    """What a message says: its string, or its parts of text."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = [
        part["text"]
        for part in content or ()
        if part.get("type", "text") in {"text", "input_text"} and isinstance(part.get("text"), str)
    ]
    return "\n".join(texts)
