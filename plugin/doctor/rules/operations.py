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
from retrieval.sentences import Sentence as _

O = Document.OPENAPI  # noqa: E741 - the document
#: What interfaces of models take as the name of a tool.
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]+")
TOOL_NAME_LENGTH = 64


@rule(
    "KB214",
    "no-operations",
    O,
    everybody(ERROR),
    what=_("The document describes no operation."),
    why=_("There is nothing that a model could call."),
    fix=_("Describe at least one operation under paths."),
)
def no_operations(subject: Subject) -> Iterator[Found]:
    if subject.spec and not subject.operations and not any(_capitals(subject)):
        yield Found("/paths" if "paths" in subject.spec else "", _("No operation is described."))


@rule(
    "KB233",
    "method-in-capitals",
    O,
    callers(ERROR),
    what=_("A method is written in capital letters."),
    why=_("OpenAPI writes methods small; clients do not see GET or Post at all."),
    fix=_("Write the method in small letters."),
)
def method_in_capitals(subject: Subject) -> Iterator[Found]:
    for pointer, path, key in _capitals(subject):
        yield Found(
            pointer,
            _(
                "%(field)s of %(path)s is not seen; it is written %(small)s.",
                field=key,
                path=path,
                small=key.lower(),
            ),
        )


def _capitals(subject: Subject) -> Iterator[tuple[str, str, str]]:
    paths = subject.spec.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        for key in item if isinstance(item, dict) else ():
            if key.lower() in METHODS and key != key.lower():
                yield f"/paths/{escaped(path)}/{escaped(key)}", path, key


@rule(
    "KB231",
    "path-without-slash",
    O,
    {**callers(WARNING), NEXTCHAT: ADVICE},
    what=_("A path does not begin with a slash."),
    why=_(
        "Clients that put it right behind the server's address call a host that does not exist; "
        "others put the slash there themselves."
    ),
    fix=_("Put a slash before it."),
)
def path_without_slash(subject: Subject) -> Iterator[Found]:
    paths = subject.spec.get("paths")
    for path in paths if isinstance(paths, dict) else ():
        if not path.startswith(("/", "x-")):
            yield Found(
                f"/paths/{escaped(path)}",
                _("The path %(path)s begins without /.", path=shown(path)),
            )


@rule(
    "KB209",
    "operation-id-missing",
    O,
    {GPT_ACTIONS: ERROR, CHATGPT: WARNING, NEXTCHAT: WARNING, MCP: WARNING},
    what=_("An operation has no `operationId`."),
    why=_(
        "It is the name of the tool. GPT Actions refuse an operation without; NextChat makes a "
        "name of method and path, which models refuse if the path has braces or dots."
    ),
    fix=_("Give it a short name, such as searchDocuments."),
)
def operation_id_missing(subject: Subject) -> Iterator[Found]:
    levels: Levels | None
    for operation in subject.operations:
        if operation.value.get("operationId") and not operation.id:
            levels = {**callers(WARNING), GPT_ACTIONS: ERROR, NEXTCHAT: ERROR}
            place = f"{operation.pointer}/operationId"
            yield Found(
                place,
                _("The operationId of %(operation)s is no text.", operation=operation.label),
                levels,
            )
        elif not operation.id.strip():
            made = f"{operation.method.upper()}{operation.path.replace('/', '_')}"
            levels = None
            if not TOOL_NAME.fullmatch(made) or len(made) > TOOL_NAME_LENGTH:
                levels = {GPT_ACTIONS: ERROR, NEXTCHAT: ERROR, CHATGPT: WARNING, MCP: WARNING}
            yield Found(
                operation.pointer,
                _("%(operation)s has no operationId.", operation=operation.label),
                levels,
            )


@rule(
    "KB210",
    "operation-id-twice",
    O,
    {GPT_ACTIONS: ERROR, NEXTCHAT: ERROR, MCP: ERROR, CHATGPT: WARNING},
    what=_("Two operations have the same `operationId`."),
    why=_(
        "It is the name of the tool: of two tools with one name, one can never be called, and some "
        "interfaces of models refuse both."
    ),
    fix=_("Give each operation a name of its own."),
)
def operation_id_twice(subject: Subject) -> Iterator[Found]:
    counts = Counter(operation.id for operation in subject.operations if operation.id)
    seen = set()
    for operation in subject.operations:
        if counts[operation.id] > 1:
            if operation.id in seen:
                yield Found(
                    f"{operation.pointer}/operationId",
                    _(
                        "%(operation)s has the operationId %(id)s of another.",
                        operation=operation.label,
                        id=shown(operation.id),
                    ),
                )
            seen.add(operation.id)


@rule(
    "KB211",
    "operation-id-characters",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
    what=_("An `operationId` holds something other than letters, digits, hyphens and underscores."),
    why=_(
        "It becomes the name of a tool. Models' interfaces refuse the whole request if one tool's "
        "name has spaces, dots or other characters."
    ),
    fix=_("Use letters, digits, hyphens and underscores."),
)
def operation_id_characters(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        if operation.id.strip() and not TOOL_NAME.fullmatch(operation.id):
            yield Found(
                f"{operation.pointer}/operationId",
                _("%(id)s cannot be the name of a tool.", id=repr(shown(operation.id))),
                value=re.sub(r"[^A-Za-z0-9_-]+", "_", operation.id).strip("_") or "operation",
            )


@rule(
    "KB212",
    "operation-id-length",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
    what=_("An `operationId` has more than 64 characters."),
    why=_("It becomes the name of a tool, and models' interfaces refuse longer names."),
    fix=_("Shorten it."),
)
def operation_id_length(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        if len(operation.id) > TOOL_NAME_LENGTH:
            yield Found(
                f"{operation.pointer}/operationId",
                _(
                    "%(id)s has %(length)s characters; %(most)s are allowed.",
                    id=shown(operation.id),
                    length=len(operation.id),
                    most=TOOL_NAME_LENGTH,
                ),
            )


@rule(
    "KB213",
    "operation-undescribed",
    O,
    callers(WARNING),
    what=_("An operation has neither description nor summary."),
    why=_("The description is all a model has to decide when to call it."),
    fix=_("Say in a sentence or two when to call it and what it returns."),
)
def operation_undescribed(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        if not operation.description:
            yield Found(
                operation.pointer, _("%(operation)s has no description.", operation=operation.label)
            )


@rule(
    "KB215",
    "path-parameter-undeclared",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: ERROR},
    what=_("A path has a parameter in braces that no parameter of the operation describes."),
    why=_("The model is not asked for it, so the call goes to a path with the braces in it."),
    fix=_('Describe it under parameters, with "in": "path", "required": true and a schema.'),
)
def path_parameter_undeclared(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        places: dict[str, set[str]] = {}
        for parameter in subject.parameters(operation):
            name = str(parameter.value.get("name"))
            places.setdefault(name, set()).add(str(parameter.value.get("in")))
        for name in re.findall(r"{([^{}/]+)}", operation.path):
            if "path" not in places.get(name, ()):
                levels = callers(WARNING) if name in places else None
                yield Found(
                    operation.pointer,
                    _(
                        "%(operation)s: {%(name)s} is not described.",
                        operation=operation.label,
                        name=name,
                    ),
                    levels,
                )


@rule(
    "KB235",
    "path-parameter-unused",
    O,
    {CHATGPT: WARNING, GPT_ACTIONS: WARNING, MCP: WARNING},
    what=_("A parameter in the path is described that the path does not have."),
    why=_("The model fills it in, and it is sent nowhere."),
    fix=_("Put {name} into the path, or delete the parameter."),
)
def path_parameter_unused(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        for parameter in subject.parameters(operation):
            name = str(parameter.value.get("name"))
            if parameter.value.get("in") == "path" and f"{{{name}}}" not in operation.path:
                yield Found(
                    parameter.pointer,
                    _(
                        "%(operation)s has no {%(name)s} in its path.",
                        operation=operation.label,
                        name=name,
                    ),
                )


@rule(
    "KB216",
    "parameter-without-schema",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
    what=_("A parameter has no schema."),
    why=_("NextChat's import stops at it; other clients do not know its type."),
    fix=_('Add "schema": {"type": "string"}, or whatever it is.'),
)
def parameter_without_schema(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        for parameter in subject.parameters(operation):
            if not isinstance(parameter.value.get("schema"), dict):
                levels: Levels | None = None
                if parameter.value.get("in") not in ("query", "path"):
                    levels = {GPT_ACTIONS: WARNING, CHATGPT: WARNING}
                name = shown(str(parameter.value.get("name")))
                yield Found(
                    parameter.pointer,
                    _(
                        "%(operation)s: %(name)s has no schema.",
                        operation=operation.label,
                        name=name,
                    ),
                    levels,
                )


@rule(
    "KB217",
    "parameter-undescribed",
    O,
    callers(ADVICE),
    what=_("A parameter or a field of the body has no description."),
    why=_("A model guesses what to put there from its name alone."),
    fix=_("Say what it is, with an example if its form matters."),
)
def parameter_undescribed(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        for parameter in subject.parameters(operation):
            if not described(parameter.value) and not described(parameter.value.get("schema")):
                name = shown(str(parameter.value.get("name")))
                yield Found(
                    parameter.pointer,
                    _(
                        "%(operation)s: %(name)s is not described.",
                        operation=operation.label,
                        name=name,
                    ),
                )
        schema, pointer = subject.body_schema(operation)
        followed, pointer = subject.follow(schema, pointer)
        fields = followed.get("properties") if isinstance(followed, dict) else None
        for name, field in fields.items() if isinstance(fields, dict) else ():
            target, _pointer = subject.follow(field, "")
            if not described(field) and not described(target):
                place = f"{pointer}/properties/{escaped(name)}"
                yield Found(
                    place,
                    _(
                        "%(operation)s: %(name)s is not described.",
                        operation=operation.label,
                        name=shown(name),
                    ),
                )


def described(value: Any) -> bool:
    return isinstance(value, dict) and bool(str(value.get("description") or "").strip())


@rule(
    "KB218",
    "body-not-json",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
    what=_("A request body has no `application/json`."),
    why=_(
        "Models write JSON, and clients send JSON. NextChat then offers the operation without any "
        "parameter."
    ),
    fix=_("Take application/json."),
)
def body_not_json(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        body, pointer = subject.body(operation)
        content = body.get("content") if isinstance(body, dict) else None
        if isinstance(content, dict) and content and "application/json" not in content:
            kinds = shown(", ".join(map(str, content)))
            levels = None if body.get("required") is True else callers(WARNING)
            yield Found(
                f"{pointer}/content",
                _("%(operation)s takes only %(types)s.", operation=operation.label, types=kinds),
                levels,
            )


@rule(
    "KB219",
    "body-without-schema",
    O,
    {NEXTCHAT: WARNING, GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING},
    what=_("A request body has no content, or no schema for its JSON."),
    why=_("The model is not told what to send. NextChat's import stops at a body without content."),
    fix=_("Describe the JSON with a schema of type object."),
)
def body_without_schema(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        body, pointer = subject.body(operation)
        if not isinstance(body, dict):
            continue
        content = body.get("content")
        if not isinstance(content, dict) or not content:
            levels = {**callers(WARNING)}
            if not isinstance(content, dict):
                levels[NEXTCHAT] = ERROR
            yield Found(
                pointer,
                _("The body of %(operation)s has no content.", operation=operation.label),
                levels,
            )
        elif "application/json" in content:
            media = content["application/json"]
            if not isinstance(media, dict) or not isinstance(media.get("schema"), dict):
                place = f"{pointer}/content/application~1json"
                yield Found(
                    place,
                    _(
                        "The JSON that %(operation)s takes has no schema.",
                        operation=operation.label,
                    ),
                )


@rule(
    "KB236",
    "body-of-get",
    O,
    {GPT_ACTIONS: WARNING, CHATGPT: WARNING, NEXTCHAT: WARNING},
    what=_("A GET, HEAD or DELETE has a request body."),
    why=_("Clients and proxies drop it on the way: the call arrives without its parameters."),
    fix=_("Use POST, or parameters in the query."),
)
def body_of_get(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        body, pointer = subject.body(operation)
        if operation.method in ("get", "head") and isinstance(body, dict):
            yield Found(pointer, _("%(operation)s has a body.", operation=operation.label))


@rule(
    "KB237",
    "answer-undescribed",
    O,
    {GPT_ACTIONS: ADVICE, CHATGPT: ADVICE},
    what=_("An operation describes no successful answer."),
    why=_("A model understands an answer better if it was told what is in it."),
    fix=_("Describe the answer 200 with a schema."),
)
def answer_undescribed(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        responses = operation.value.get("responses")
        statuses = list(responses) if isinstance(responses, dict) else []
        if not any(str(status)[:1] == "2" or status == "default" for status in statuses):
            yield Found(
                operation.pointer,
                _("%(operation)s describes no answer.", operation=operation.label),
            )


@rule(
    "KB238",
    "header-parameter",
    O,
    {NEXTCHAT: WARNING, GPT_ACTIONS: WARNING},
    what=_("An operation asks for a header or a cookie of its own."),
    why=_(
        "NextChat never offers headers to the model, and GPT Actions send none but their own: a "
        "required one is always missing."
    ),
    fix=_("Take it in the body or the query."),
)
def header_parameter(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        for parameter in subject.parameters(operation):
            where = parameter.value.get("in")
            if where in ("header", "cookie"):
                level = WARNING if parameter.value.get("required") is True else ADVICE
                name = shown(str(parameter.value.get("name")))
                yield Found(
                    parameter.pointer,
                    _(
                        "%(operation)s asks for the %(place)s %(name)s.",
                        operation=operation.label,
                        place=where,
                        name=name,
                    ),
                    {NEXTCHAT: level, GPT_ACTIONS: level},
                )
