"""What each operation needs to become a tool."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from plugin.doctor.almost_json import escaped, shown
from plugin.doctor.registry import Found, Levels, rule
from plugin.doctor.rules.levels import (
    ADVICE,
    CHATGPT,
    ERROR,
    GPT_ACTIONS,
    MCP,
    NEXTCHAT,
    WARNING,
    callers,
    everybody,
)
from plugin.doctor.subject import METHODS, Subject
from plugin.doctor.types import Document

O = Document.OPENAPI  # noqa: E741 - the document
#: What interfaces of models take as the name of a tool.
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]+")
TOOL_NAME_LENGTH = 64


@rule("KB214", "no-operations", O, everybody(ERROR))
def no_operations(subject: Subject) -> Iterator[Found]:
    """The document describes no operation.

    Why: There is nothing that a model could call.

    Fix: Describe at least one operation under paths.
    """
    if subject.spec and not subject.operations and not any(_capitals(subject)):
        yield Found("/paths" if "paths" in subject.spec else "", "No operation is described.")


@rule("KB233", "method-in-capitals", O, callers(ERROR))
def method_in_capitals(subject: Subject) -> Iterator[Found]:
    """A method is written in capital letters.

    Why: OpenAPI writes methods small; clients do not see GET or Post at all.

    Fix: Write the method in small letters.
    """
    for pointer, path, key in _capitals(subject):
        yield Found(pointer, f"{key} of {path} is not seen; it is written {key.lower()}.")


def _capitals(subject: Subject) -> Iterator[tuple[str, str, str]]:
    paths = subject.spec.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        for key in item if isinstance(item, dict) else ():
            if key.lower() in METHODS and key != key.lower():
                yield f"/paths/{escaped(path)}/{escaped(key)}", path, key


@rule("KB231", "path-without-slash", O, {**callers(WARNING), NEXTCHAT: ADVICE})
def path_without_slash(subject: Subject) -> Iterator[Found]:
    """A path does not begin with a slash.

    Why: Clients that put it right behind the server's address call a host that does not exist;
    others put the slash there themselves.

    Fix: Put a slash before it.
    """
    paths = subject.spec.get("paths")
    for path in paths if isinstance(paths, dict) else ():
        if not path.startswith(("/", "x-")):
            yield Found(f"/paths/{escaped(path)}", f"The path {shown(path)} begins without /.")


@rule(
    "KB209",
    "operation-id-missing",
    O,
    {GPT_ACTIONS: ERROR, CHATGPT: WARNING, NEXTCHAT: WARNING, MCP: WARNING},
)
def operation_id_missing(subject: Subject) -> Iterator[Found]:
    """An operation has no `operationId`.

    Why: It is the name of the tool. GPT Actions refuse an operation without; NextChat makes a
    name of method and path, which models refuse if the path has braces or dots.

    Fix: Give it a short name, such as searchDocuments.
    """
    levels: Levels | None
    for operation in subject.operations:
        if operation.value.get("operationId") and not operation.id:
            levels = {**callers(WARNING), GPT_ACTIONS: ERROR, NEXTCHAT: ERROR}
            place = f"{operation.pointer}/operationId"
            yield Found(place, f"The operationId of {operation.label} is no text.", levels)
        elif not operation.id.strip():
            made = f"{operation.method.upper()}{operation.path.replace('/', '_')}"
            levels = None
            if not TOOL_NAME.fullmatch(made) or len(made) > TOOL_NAME_LENGTH:
                levels = {GPT_ACTIONS: ERROR, NEXTCHAT: ERROR, CHATGPT: WARNING, MCP: WARNING}
            yield Found(operation.pointer, f"{operation.label} has no operationId.", levels)


@rule(
    "KB210",
    "operation-id-twice",
    O,
    {GPT_ACTIONS: ERROR, NEXTCHAT: ERROR, MCP: ERROR, CHATGPT: WARNING},
)
def operation_id_twice(subject: Subject) -> Iterator[Found]:
    """Two operations have the same `operationId`.

    Why: It is the name of the tool: of two tools with one name, one can never be called, and
    some interfaces of models refuse both.

    Fix: Give each operation a name of its own.
    """
    counts = Counter(operation.id for operation in subject.operations if operation.id)
    seen = set()
    for operation in subject.operations:
        if counts[operation.id] > 1:
            if operation.id in seen:
                yield Found(
                    f"{operation.pointer}/operationId",
                    f"{operation.label} has the operationId {shown(operation.id)} of another.",
                )
            seen.add(operation.id)


@rule(
    "KB211",
    "operation-id-characters",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
)
def operation_id_characters(subject: Subject) -> Iterator[Found]:
    """An `operationId` holds something other than letters, digits, hyphens and underscores.

    Why: It becomes the name of a tool. Models' interfaces refuse the whole request if one
    tool's name has spaces, dots or other characters.

    Fix: Use letters, digits, hyphens and underscores.
    """
    for operation in subject.operations:
        if operation.id.strip() and not TOOL_NAME.fullmatch(operation.id):
            yield Found(
                f"{operation.pointer}/operationId",
                f"{shown(operation.id)!r} cannot be the name of a tool.",
                value=re.sub(r"[^A-Za-z0-9_-]+", "_", operation.id).strip("_") or "operation",
            )


@rule(
    "KB212",
    "operation-id-length",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
)
def operation_id_length(subject: Subject) -> Iterator[Found]:
    """An `operationId` has more than 64 characters.

    Why: It becomes the name of a tool, and models' interfaces refuse longer names.

    Fix: Shorten it.
    """
    for operation in subject.operations:
        if len(operation.id) > TOOL_NAME_LENGTH:
            yield Found(
                f"{operation.pointer}/operationId",
                f"{shown(operation.id)} has {len(operation.id)} characters; "
                f"{TOOL_NAME_LENGTH} are allowed.",
            )


@rule("KB213", "operation-undescribed", O, callers(WARNING))
def operation_undescribed(subject: Subject) -> Iterator[Found]:
    """An operation has neither description nor summary.

    Why: The description is all a model has to decide when to call it.

    Fix: Say in a sentence or two when to call it and what it returns.
    """
    for operation in subject.operations:
        if not operation.description:
            yield Found(operation.pointer, f"{operation.label} has no description.")


@rule(
    "KB215",
    "path-parameter-undeclared",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: ERROR},
)
def path_parameter_undeclared(subject: Subject) -> Iterator[Found]:
    """A path has a parameter in braces that no parameter of the operation describes.

    Why: The model is not asked for it, so the call goes to a path with the braces in it.

    Fix: Describe it under parameters, with "in": "path", "required": true and a schema.
    """
    for operation in subject.operations:
        places: dict[str, set[str]] = {}
        for parameter in subject.parameters(operation):
            name = str(parameter.value.get("name"))
            places.setdefault(name, set()).add(str(parameter.value.get("in")))
        for name in re.findall(r"{([^{}/]+)}", operation.path):
            if "path" not in places.get(name, ()):
                levels = callers(WARNING) if name in places else None
                yield Found(
                    operation.pointer, f"{operation.label}: {{{name}}} is not described.", levels
                )


@rule("KB235", "path-parameter-unused", O, {CHATGPT: WARNING, GPT_ACTIONS: WARNING, MCP: WARNING})
def path_parameter_unused(subject: Subject) -> Iterator[Found]:
    """A parameter in the path is described that the path does not have.

    Why: The model fills it in, and it is sent nowhere.

    Fix: Put {name} into the path, or delete the parameter.
    """
    for operation in subject.operations:
        for parameter in subject.parameters(operation):
            name = str(parameter.value.get("name"))
            if parameter.value.get("in") == "path" and f"{{{name}}}" not in operation.path:
                yield Found(parameter.pointer, f"{operation.label} has no {{{name}}} in its path.")


@rule(
    "KB216",
    "parameter-without-schema",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
)
def parameter_without_schema(subject: Subject) -> Iterator[Found]:
    """A parameter has no schema.

    Why: NextChat's import stops at it; other clients do not know its type.

    Fix: Add "schema": {"type": "string"}, or whatever it is.
    """
    for operation in subject.operations:
        for parameter in subject.parameters(operation):
            if not isinstance(parameter.value.get("schema"), dict):
                levels: Levels | None = None
                if parameter.value.get("in") not in ("query", "path"):
                    levels = {GPT_ACTIONS: WARNING, CHATGPT: WARNING}
                name = shown(str(parameter.value.get("name")))
                yield Found(parameter.pointer, f"{operation.label}: {name} has no schema.", levels)


@rule("KB217", "parameter-undescribed", O, callers(ADVICE))
def parameter_undescribed(subject: Subject) -> Iterator[Found]:
    """A parameter or a field of the body has no description.

    Why: A model guesses what to put there from its name alone.

    Fix: Say what it is, with an example if its form matters.
    """
    for operation in subject.operations:
        for parameter in subject.parameters(operation):
            if not described(parameter.value) and not described(parameter.value.get("schema")):
                name = shown(str(parameter.value.get("name")))
                yield Found(parameter.pointer, f"{operation.label}: {name} is not described.")
        schema, pointer = subject.body_schema(operation)
        followed, pointer = subject.follow(schema, pointer)
        fields = followed.get("properties") if isinstance(followed, dict) else None
        for name, field in fields.items() if isinstance(fields, dict) else ():
            target, _ = subject.follow(field, "")
            if not described(field) and not described(target):
                place = f"{pointer}/properties/{escaped(name)}"
                yield Found(place, f"{operation.label}: {shown(name)} is not described.")


def described(value: Any) -> bool:
    return isinstance(value, dict) and bool(str(value.get("description") or "").strip())


@rule(
    "KB218",
    "body-not-json",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
)
def body_not_json(subject: Subject) -> Iterator[Found]:
    """A request body has no `application/json`.

    Why: Models write JSON, and clients send JSON. NextChat then offers the operation without
    any parameter.

    Fix: Take application/json.
    """
    for operation in subject.operations:
        body, pointer = subject.body(operation)
        content = body.get("content") if isinstance(body, dict) else None
        if isinstance(content, dict) and content and "application/json" not in content:
            kinds = shown(", ".join(map(str, content)))
            levels = None if body.get("required") is True else callers(WARNING)
            yield Found(f"{pointer}/content", f"{operation.label} takes only {kinds}.", levels)


@rule(
    "KB219",
    "body-without-schema",
    O,
    {NEXTCHAT: WARNING, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
)
def body_without_schema(subject: Subject) -> Iterator[Found]:
    """A request body has no content, or no schema for its JSON.

    Why: The model is not told what to send. NextChat's import stops at a body without content.

    Fix: Describe the JSON with a schema of type object.
    """
    for operation in subject.operations:
        body, pointer = subject.body(operation)
        if not isinstance(body, dict):
            continue
        content = body.get("content")
        if not isinstance(content, dict) or not content:
            levels = {**callers(WARNING)}
            if not isinstance(content, dict):
                levels[NEXTCHAT] = ERROR
            yield Found(pointer, f"The body of {operation.label} has no content.", levels)
        elif "application/json" in content:
            media = content["application/json"]
            if not isinstance(media, dict) or not isinstance(media.get("schema"), dict):
                place = f"{pointer}/content/application~1json"
                yield Found(place, f"The JSON that {operation.label} takes has no schema.")


@rule("KB236", "body-of-get", O, {GPT_ACTIONS: WARNING, CHATGPT: WARNING, NEXTCHAT: WARNING})
def body_of_get(subject: Subject) -> Iterator[Found]:
    """A GET, HEAD or DELETE has a request body.

    Why: Clients and proxies drop it on the way: the call arrives without its parameters.

    Fix: Use POST, or parameters in the query.
    """
    for operation in subject.operations:
        body, pointer = subject.body(operation)
        if operation.method in ("get", "head") and isinstance(body, dict):
            yield Found(pointer, f"{operation.label} has a body.")


@rule("KB237", "answer-undescribed", O, {GPT_ACTIONS: ADVICE, CHATGPT: ADVICE})
def answer_undescribed(subject: Subject) -> Iterator[Found]:
    """An operation describes no successful answer.

    Why: A model understands an answer better if it was told what is in it.

    Fix: Describe the answer 200 with a schema.
    """
    for operation in subject.operations:
        responses = operation.value.get("responses")
        statuses = list(responses) if isinstance(responses, dict) else []
        if not any(str(status)[:1] == "2" or status == "default" for status in statuses):
            yield Found(operation.pointer, f"{operation.label} describes no answer.")


@rule("KB238", "header-parameter", O, {NEXTCHAT: WARNING, GPT_ACTIONS: WARNING})
def header_parameter(subject: Subject) -> Iterator[Found]:
    """An operation asks for a header or a cookie of its own.

    Why: NextChat never offers headers to the model, and GPT Actions send none but their own:
    a required one is always missing.

    Fix: Take it in the body or the query.
    """
    for operation in subject.operations:
        for parameter in subject.parameters(operation):
            where = parameter.value.get("in")
            if where in ("header", "cookie"):
                level = WARNING if parameter.value.get("required") is True else ADVICE
                name = shown(str(parameter.value.get("name")))
                yield Found(
                    parameter.pointer,
                    f"{operation.label} asks for the {where} {name}.",
                    {NEXTCHAT: level, GPT_ACTIONS: level},
                )
