"""Which operation is clearly a search, and a question to ask it: made of the document alone."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from plugin.doctor.subject import Operation, Subject, is_absolute

QUESTION = "What can you tell me?"
ASKING = {"find", "lookup", "query", "queries", "retrieve", "retrieval", "search", "searches"}
#: Only a GET is believed to do no more than these say.
READING = {"fetch", "get", "list", "read", "show"}
#: A word of these anywhere, and the operation is left alone.
_CHANGING = (
    "add append apply approve archive assign book buy call cancel change charge checkout clear "
    "close commit confirm copy create delete deploy destroy disable drop edit email enable "
    "exec execute feedback import insert install invite issue kill mail make merge modify move "
    "notify open order pay place publish purchase purge push record refund register reindex "
    "remove rename replace reset restart restore revoke run save schedule send set share sign "
    "sql start stop store submit subscribe sync train transfer trigger unsubscribe update upload "
    "upsert vote write"
)
CHANGING = set(_CHANGING.split())
#: Names of what a question stands in.
QUERIES = {
    "input", "keyword", "keywords", "phrase", "prompt", "q", "query", "querytext", "question",
    "search", "searchquery", "searchterm", "searchtext", "term", "terms", "text", "topic",
}  # fmt: skip
DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Call:
    """A question, ready to be sent."""

    method: str
    url: str
    pointer: str  #: of the operation
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


class NoSample(Exception):
    """Nothing harmless is known to put there."""


def search_call(subject: Subject) -> Call | None:
    """A question to the operation that is clearly a search; None where none is."""
    for call in _calls(subject):
        return call
    return None


def _calls(subject: Subject) -> Iterator[Call]:
    for is_wanted in (is_search, is_reading):
        for operation in subject.operations:
            if is_wanted(operation):
                try:
                    yield sample(subject, operation)
                except NoSample:
                    continue


def words(text: str) -> list[str]:
    """The words of a name: `searchNotes_v2` → search, notes, v, 2."""
    return [one.lower() for one in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", text)]


def _names(operation: Operation) -> tuple[list[str], list[str]]:
    steps = [step for step in operation.path.split("/") if step and "{" not in step]
    return words(operation.id), words(steps[-1] if steps else "")


def is_search(operation: Operation) -> bool:
    name, last = _names(operation)
    if operation.method not in {"get", "post"} or CHANGING.intersection(name + last):
        return False
    return bool(ASKING.intersection(name[:2]) or ASKING.intersection(last))


def is_reading(operation: Operation) -> bool:
    name, last = _names(operation)
    if operation.method != "get" or CHANGING.intersection(name + last):
        return False
    return bool(name) and name[0] in READING


def base_address(subject: Subject) -> str:
    """What paths are added to; "" where that is nothing that can be asked."""
    servers = subject.spec.get("servers")
    server = servers[0] if isinstance(servers, list) and servers else {}
    base = server.get("url") if isinstance(server, dict) else ""
    if not isinstance(base, str) or "{" in base or subject.openapi is None:
        return ""
    try:
        home = subject.openapi.address
        whole = urljoin(home, base.strip()) if base.strip() else home
        return whole.rstrip("/") if is_absolute(whole) else ""
    except ValueError:
        return ""


def sample(subject: Subject, operation: Operation) -> Call:
    """A question to this operation. Raises NoSample."""
    base = base_address(subject)
    if not base:
        raise NoSample
    path, query, asked = operation.path, {}, False
    for parameter in subject.parameters(operation):
        name, where = parameter.value.get("name"), parameter.value.get("in")
        is_query = isinstance(name, str) and plain(name) in QUERIES
        if not (parameter.value.get("required") is True or (is_query and where == "query")):
            continue
        if not isinstance(name, str) or where not in {"path", "query"}:
            raise NoSample
        value = _of_parameter(subject, parameter.value, name)
        asked = asked or is_query
        if where == "path":
            path = path.replace(f"{{{name}}}", quote(_as_text(value), safe=""))
        else:
            query[name] = _as_text(value)
    if "{" in path:
        raise NoSample
    url = base + path + (f"?{urlencode(query)}" if query else "")
    if operation.method == "get":
        if is_search(operation) and not asked:
            raise NoSample
        return Call("GET", url, operation.pointer)
    body = _body(subject, operation)
    if body is None and not asked:
        raise NoSample
    data = json.dumps({} if body is None else body, ensure_ascii=False).encode("utf-8", "replace")
    return Call("POST", url, operation.pointer, data, {"Content-Type": "application/json"})


def plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_parameter(subject: Subject, parameter: dict[str, Any], name: str) -> Any:
    if isinstance(parameter.get("example"), str | int | float):
        return parameter["example"]
    return value_of(subject, parameter.get("schema"), name)


def _body(subject: Subject, operation: Operation) -> Any:
    body, _pointer = subject.body(operation)
    content = body.get("content") if isinstance(body, dict) else None
    media = content.get("application/json") if isinstance(content, dict) else None
    if not isinstance(media, dict):
        return None
    examples = media.get("examples")
    first = next(iter(examples.values()), None) if isinstance(examples, dict) else None
    for example in (media.get("example"), first.get("value") if isinstance(first, dict) else None):
        if isinstance(example, dict):
            return example
    found = value_of(subject, media.get("schema"), "")
    # A question must stand in it somewhere, or it is none.
    if not isinstance(found, dict) or not found:
        raise NoSample
    return found


def value_of(subject: Subject, schema: Any, name: str, depth: int = 0) -> Any:
    """Something that a schema allows and that asks for little. Raises NoSample."""
    schema, _pointer = subject.follow(schema, "")
    if not isinstance(schema, dict) or depth > DEEPEST:
        raise NoSample
    for key in ("const", "example", "default"):
        if key in schema and schema[key] is not None:
            return schema[key]
    for key in ("examples", "enum"):
        listed = schema.get(key)
        if isinstance(listed, list) and listed:
            return listed[0]
    for key in ("allOf", "anyOf", "oneOf"):
        for part in schema[key] if isinstance(schema.get(key), list) else ():
            try:
                return value_of(subject, part, name, depth + 1)
            except NoSample:
                continue
    return _by_type(subject, schema, name, depth)


def _by_type(subject: Subject, schema: dict[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), None)
    properties = schema.get("properties")
    if kind == "object" or isinstance(properties, dict):
        required = schema.get("required")
        needed = required if isinstance(required, list) else []
        return {
            key: value_of(subject, part, str(key), depth + 1)
            for key, part in (properties if isinstance(properties, dict) else {}).items()
            if key in needed or plain(str(key)) in QUERIES
        }
    if kind == "array":
        return [value_of(subject, schema.get("items"), name.removesuffix("s"), depth + 1)]
    if kind in {"integer", "number"}:
        least = schema.get("minimum")
        return least if isinstance(least, int | float) else 1
    if kind == "boolean":
        return False
    if kind == "string" and plain(name) in QUERIES and not schema.get("format"):
        return QUESTION
    raise NoSample
