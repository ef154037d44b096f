"""The tools that NextChat 2.16 makes of an OpenAPI document, step by step as its code does.

Source: NextChat app/store/plugin.ts (`FunctionToolService.add`) and app/utils.ts
(`getOperationId`), openapi-client-axios 7 (`getOperations`), dereference-json-schema 0.2.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from plugin.doctor.almost_json import MAX_DEPTH, escaped
from plugin.doctor.types import Tool
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

#: The order in which openapi-client-axios looks for them.
METHODS = ("get", "put", "post", "patch", "delete", "options", "head", "trace")


@dataclass(frozen=True, slots=True)
class Made:
    """A tool, and whether its schema is endless, which no request can carry."""

    tool: Tool
    pointer: str  #: of the operation
    is_endless: bool = False


#: Values in the parameters of one tool; the largest published ones have 500.
MAX_VALUES = 5000
#: Operations that are made into tools here; clients give up far earlier.
MAX_TOOLS = 200


class ImportFails(Exception):
    """NextChat shows "OpenAPI Schema Error" and imports nothing."""

    def __init__(self, pointer: str, message: Sentence) -> None:
        super().__init__(message)
        self.pointer = pointer
        self.message = message


def nextchat_tools(document: dict[str, Any]) -> list[Made]:
    """Raises ImportFails where NextChat's code stops with a TypeError."""
    definition = dereferenced(document)
    if definition.get("info") is None:
        raise ImportFails("", _("info is missing, and NextChat takes the plugin's title from it."))
    made: list[Made] = []
    paths = definition.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        if not isinstance(item, dict):
            if item is None:
                raise ImportFails(
                    f"/paths/{escaped(path)}", _("The path %(path)s is null.", path=path)
                )
            continue
        for method in METHODS:
            if is_true(item.get(method)) and len(made) < MAX_TOOLS:
                value = item[method] if isinstance(item[method], dict) else {}
                pointer = f"/paths/{escaped(path)}/{method}"
                made.append(_tool(path, method, value, item, pointer))
    # Only now: operations whose bodies are the same object add to each other's parameters.
    return [_written(one) for one in made]


def _written(one: Made) -> Made:
    """A tool as it is sent: its parameters as JSON, or none if that is endless."""
    if not is_writable(one.tool.parameters):
        return Made(replace(one.tool, parameters=None), one.pointer, True)
    parameters = json.loads(json.dumps(one.tool.parameters))
    return Made(replace(one.tool, parameters=parameters), one.pointer)


def _tool(
    path: str, method: str, value: dict[str, Any], item: dict[str, Any], pointer: str
) -> Made:
    parameters = _body_schema(value, pointer)
    if not is_true(parameters):
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, dict | list):
        raise ImportFails(
            f"{pointer}/requestBody", _("The schema of the request body is no object.")
        )
    if isinstance(parameters, dict) and not is_true(parameters.get("required")):
        parameters["required"] = []
    for parameter in _parameters(value, item):
        _add_parameter(parameters, parameter, pointer)
    text = value.get("description") or value.get("summary")
    tool = Tool(
        name=str(value.get("operationId") or f"{method.upper()}{path.replace('/', '_')}"),
        description=text if isinstance(text, str) else "",
        parameters=parameters,
        method=method,
        path=path,
    )
    return Made(tool, pointer)


def is_true(value: Any) -> bool:
    """As JavaScript has it: an empty object or list is true."""
    return isinstance(value, dict | list) or bool(value)


def _body_schema(value: dict[str, Any], pointer: str) -> Any:
    body = value.get("requestBody")
    if body is None:
        return None
    content = body.get("content") if isinstance(body, dict) else None
    if content is None:
        raise ImportFails(f"{pointer}/requestBody", _("The request body has no content."))
    media = content.get("application/json") if isinstance(content, dict) else None
    return media.get("schema") if isinstance(media, dict) else None


def _parameters(value: dict[str, Any], item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for holder in (value, item):
        listed = holder.get("parameters")
        for parameter in listed if isinstance(listed, list) else ():
            if isinstance(parameter, dict) and parameter.get("in") in ("query", "path"):
                yield parameter


def _add_parameter(parameters: Any, parameter: dict[str, Any], pointer: str) -> None:
    name, schema = _key(parameter), parameter.get("schema")
    if schema is None:
        raise ImportFails(
            f"{pointer}/parameters", _("The parameter %(name)s has no schema.", name=name)
        )
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    if not isinstance(properties, dict):
        raise ImportFails(
            f"{pointer}/requestBody",
            _(
                "The body has no properties to which the parameter %(name)s could be added.",
                name=name,
            ),
        )
    properties[name] = {
        key: holder[key]
        for key, holder in (("type", schema), ("description", parameter))
        if isinstance(holder, dict) and key in holder
    }
    if parameter.get("required") and isinstance(parameters["required"], list):
        parameters["required"].append(name)


def _key(parameter: dict[str, Any]) -> str:
    """A parameter's name as JavaScript makes a key of it."""
    name = parameter.get("name")
    if isinstance(name, str):
        return name
    if isinstance(name, dict):
        return "[object Object]"
    return "undefined" if "name" not in parameter else json.dumps(name)


def dereferenced(document: dict[str, Any]) -> dict[str, Any]:
    """The document with each reference replaced by the very object it leads to, so that what
    refers to itself contains itself. A reference that leads nowhere becomes None.

    Raises ImportFails for one that leads through something that is not there.
    """
    cloned = copy.deepcopy(document)
    visited: set[int] = set()

    def resolve(current: Any, pointer: str) -> Any:
        if not isinstance(current, dict | list) or id(current) in visited:
            return current
        visited.add(id(current))
        if isinstance(current, list):
            for number, item in enumerate(current):
                current[number] = resolve(item, f"{pointer}/{number}")
            return current
        reference = current.get("$ref")
        if isinstance(reference, str):
            return _resolved(cloned, reference, pointer)
        for key in list(current):
            current[key] = resolve(current[key], f"{pointer}/{escaped(key)}")
        return current

    result: dict[str, Any] = resolve(cloned, "")
    return result


def _resolved(document: Any, reference: str, pointer: str) -> Any:
    current = document
    for part in reference.split("/")[1:]:
        if current is None or not isinstance(current, dict | list):
            raise ImportFails(
                pointer, _("The reference %(reference)s leads nowhere.", reference=reference)
            )
        if isinstance(current, list):
            current = current[int(part)] if part.isdecimal() and int(part) < len(current) else None
        else:
            current = current.get(part)
    return current


def is_writable(value: Any) -> bool:
    """Whether a value can be written as JSON: it does not contain itself, and a few references
    to one another do not make it endless."""
    sizes: dict[int, int] = {}

    def size(node: Any, depth: int) -> int:
        if not isinstance(node, dict | list):
            return 1
        if depth > MAX_DEPTH:
            return MAX_VALUES + 1
        if id(node) not in sizes:
            sizes[id(node)] = MAX_VALUES + 1  # met again on the way down, it is endless
            inner = node.values() if isinstance(node, dict) else node
            sizes[id(node)] = 1 + sum(size(value, depth + 1) for value in inner)
        return sizes[id(node)]

    return size(value, 0) <= MAX_VALUES
