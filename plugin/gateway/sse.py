"""Server-sent events, as far as OpenAI's protocol uses them: `data:` lines and blank ones."""

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

from plugin.gateway.errors import UpstreamError

DONE = "[DONE]"
#: Characters of one event; more is no chunk of an answer.
MAX_EVENT = 4 * 1024 * 1024


def events(pieces: Iterable[bytes]) -> Iterator[str]:
    """The data of each event as soon as it is complete. Raises UpstreamError if it is too long."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    data: list[str] = []
    for piece in pieces:
        rest += decoder.decode(piece)
        if len(rest) > MAX_EVENT:
            raise UpstreamError("The language model's server sent what cannot be read.")
        # Not splitlines(), which also splits at separators that JSON may hold.
        *lines, rest = rest.replace("\r\n", "\n").split("\n")
        for line in lines:
            if line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line.strip() and data:
                yield "\n".join(data)
                data = []
    if rest.startswith("data:"):
        data.append(rest[5:].strip())
    if data:
        yield "\n".join(data)


def event(data: dict[str, Any] | str) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n".encode(errors="replace")
