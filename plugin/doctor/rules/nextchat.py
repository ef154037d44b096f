"""How NextChat takes the document: what it would import, offer to a model and call."""

import json
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from plugin.doctor.almost_json import escaped, shown
from plugin.doctor.registry import Found, rule
from plugin.doctor.rules.levels import ADVICE, ERROR, MCP, NEXTCHAT, WARNING
from plugin.doctor.rules.schemas import circle_in
from plugin.doctor.subject import Subject
from plugin.doctor.tools import MAX_VALUES, ImportFails, Made, nextchat_tools
from plugin.doctor.types import Document

O = Document.OPENAPI  # noqa: E741 - the document
#: Tools that a chat can carry without the model losing its way.
MANY = 20


def made(subject: Subject) -> list[Made]:
    try:
        return nextchat_tools(subject.spec)
    except ImportFails:
        return []


@rule("KB301", "nextchat-import", O, {NEXTCHAT: ERROR})
def nextchat_import(subject: Subject) -> Iterator[Found]:
    """NextChat's import of the document fails.

    Why: It shows "OpenAPI Schema Error" and nothing is imported.

    Fix: Mend the place that is named.
    """
    try:
        nextchat_tools(subject.spec)
    except ImportFails as error:
        if not has_rule_of_its_own(str(error)):
            yield Found(error.pointer, str(error))


def has_rule_of_its_own(message: str) -> bool:
    return message.endswith(("has no schema.", "body has no content."))


@rule("KB302", "nextchat-method", O, {NEXTCHAT: WARNING})
def nextchat_method(subject: Subject) -> Iterator[Found]:
    """An operation is called with something other than GET or POST.

    Why: NextChat offers it to the model, but its proxy passes on GET and POST only: the tool
    always fails.

    Fix: Offer the operation as POST.
    """
    for operation in subject.operations:
        if operation.method not in {"get", "post"}:
            yield Found(operation.pointer, f"{operation.label} cannot be called.")


@rule("KB303", "nextchat-path-slash", O, {NEXTCHAT: WARNING})
def nextchat_path_slash(subject: Subject) -> Iterator[Found]:
    """A path ends in a slash.

    Why: NextChat's server redirects to the path without it, which loses the body; the API is
    called under another path than the document names.

    Fix: Serve the operation without the slash, too, and name that path.
    """
    for operation in subject.operations:
        if operation.path.endswith("/") and operation.path != "/":
            yield Found(operation.pointer, f"{operation.label} ends in a slash.")


@rule("KB304", "nextchat-parameters", O, {NEXTCHAT: ERROR, MCP: WARNING})
def nextchat_parameters(subject: Subject) -> Iterator[Found]:
    """The parameters that a tool would have are no valid JSON Schema.

    Why: NextChat hands them to the model as they stand, and interfaces such as OpenAI's refuse
    the whole request: no message is answered while the plugin is on. Usual causes are
    `required: true` at a property, types such as float or date, and arrays without items.

    Fix: Use the types of JSON Schema; list required properties by name beside `properties`.
    """
    seen = set()
    for found in made(subject):
        if found.is_endless or not isinstance(found.tool.parameters, dict):
            continue
        for place, message in parameter_faults(found.tool.parameters):
            pointer = place_of(subject, found, place)
            if pointer not in seen:  # the same schema can serve several operations
                seen.add(pointer)
                yield Found(pointer, f"{found.tool.name}: {message}")


def place_of(subject: Subject, found: Made, place: str) -> str:
    """Where in the document a fault of a tool's parameters stands."""
    operation = next((op for op in subject.operations if op.pointer == found.pointer), None)
    if operation is None:
        return found.pointer
    name = place.split("/")[2:3]
    for parameter in subject.parameters(operation):
        if place.startswith("/properties/") and [escaped(str(parameter.value.get("name")))] == name:
            return parameter.pointer
    value, pointer = subject.body_schema(operation)
    value, pointer = subject.follow(value, pointer)
    for part in place.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        inner = value.get(key) if isinstance(value, dict) else None
        if inner is None:
            break
        followed, target = subject.follow(inner, f"{pointer}/{part}")
        if followed is None:
            return f"{pointer}/{part}"
        value, pointer = followed, target
    return pointer


def parameter_faults(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(pointer within the parameters, what is wrong)."""
    seen = set()
    for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
        inner = error
        while inner.context:
            inner = max(inner.context, key=lambda e: len(e.absolute_path))
        place = "".join(f"/{escaped(str(part))}" for part in inner.absolute_path)
        if place in seen:
            continue
        seen.add(place)
        if inner.validator in {"enum", "anyOf"} and place.endswith("/type"):
            yield place, f"{shown(repr(inner.instance))} is no type of JSON Schema."
        elif place.endswith("/required") and inner.validator == "uniqueItems":
            names = shown(", ".join(map(str, inner.instance)))
            yield (
                place,
                (
                    f"required names a field twice: {names}. NextChat adds the parameters of path "
                    "and query to the body's schema, also where several operations share it."
                ),
            )
        elif place.endswith("/required"):
            kind = json.dumps(inner.instance)
            yield place, f"required is {shown(kind)}; it should be a list of names."
        elif inner.instance is None:
            yield place, "A schema is null; perhaps its reference leads nowhere."
        else:
            yield place, shown(inner.message, 120)
    yield from (
        (place, "An array does not say what its items are.")
        for place in arrays_without_items(schema, "")
    )


def arrays_without_items(node: Any, place: str, is_schema: bool = True) -> Iterator[str]:
    if isinstance(node, dict):
        if is_schema:
            kind = node.get("type")
            if kind == "array" and not {"items", "prefixItems", "$ref"} & node.keys():
                yield place
        for key, value in node.items():
            if is_schema and key in {"example", "examples", "default", "enum", "const"}:
                continue
            names = is_schema and key in {"properties", "patternProperties", "$defs"}
            yield from arrays_without_items(value, f"{place}/{escaped(str(key))}", not names)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from arrays_without_items(value, f"{place}/{number}", is_schema)


@rule("KB305", "nextchat-body-no-object", O, {NEXTCHAT: ERROR, MCP: WARNING})
def nextchat_body_no_object(subject: Subject) -> Iterator[Found]:
    """The JSON that an operation takes is not described as an object with fields.

    Why: A tool's parameters are an object; interfaces of models refuse a schema of another
    type, without a type, or with anyOf, oneOf, allOf or enum at its top.

    Fix: Describe one flat object: "type": "object" with properties.
    """
    for found in made(subject):
        schema = found.tool.parameters
        if found.is_endless:
            continue
        operation = found.pointer
        place = f"{operation}/requestBody"
        if not isinstance(schema, dict) or schema.get("type") != "object":
            kind = schema.get("type") if isinstance(schema, dict) else None
            said = f"a schema of type {shown(repr(kind))}" if kind else "a schema without a type"
            yield Found(place, f"{found.tool.name} takes {said}.")
        elif top := {"anyOf", "oneOf", "allOf", "enum", "not"} & schema.keys():
            yield Found(place, f"{found.tool.name} has {' and '.join(sorted(top))} at its top.")


@rule("KB306", "nextchat-reference-lost", O, {NEXTCHAT: ERROR})
def nextchat_reference_lost(subject: Subject) -> Iterator[Found]:
    """The schema of a body leads nowhere, so that the tool has no parameters.

    Why: NextChat puts nothing in the place of a reference that it cannot follow. The model is
    told that the tool takes nothing, and calls it with nothing.

    Fix: Define the schema that the reference names.
    """
    offered = {one.pointer for one in made(subject)}
    for operation in subject.operations:
        schema, pointer = subject.body_schema(operation)
        if operation.pointer in offered and isinstance(schema, dict) and "$ref" in schema:
            followed, _ = subject.follow(schema, pointer)
            if followed is None:
                yield Found(pointer, f"The parameters of {operation.label} are lost.")


@rule("KB307", "nextchat-parameters-huge", O, {NEXTCHAT: WARNING, MCP: WARNING})
def parameters_huge(subject: Subject) -> Iterator[Found]:
    """The parameters of a tool become huge once their references are followed.

    Why: NextChat sends the schema in full with every message; interfaces of models refuse very
    large or deep ones, and each takes room from the chat.

    Fix: Describe fewer fields, and fewer levels of them.
    """
    for found in made(subject):
        operation = next((op for op in subject.operations if op.pointer == found.pointer), None)
        if found.is_endless and operation is not None:
            schema, _ = subject.body_schema(operation)
            if not circle_in(subject, schema, set()):
                yield Found(
                    found.pointer, f"{found.tool.name} takes more than {MAX_VALUES} values."
                )


@rule("KB312", "many-tools", O, {NEXTCHAT: ADVICE, MCP: ADVICE})
def many_tools(subject: Subject) -> Iterator[Found]:
    """The document has more than 20 operations.

    Why: Every operation becomes a tool that stands before each message: it costs room and
    makes the choice harder for the model.

    Fix: Describe only what a model should call.
    """
    if len(subject.operations) > MANY:
        yield Found("/paths", f"{len(subject.operations)} operations become as many tools.")
