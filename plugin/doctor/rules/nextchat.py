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
from plugin.doctor.violations import explained
from retrieval.sentences import Sentence, listed
from retrieval.sentences import Sentence as _

O = Document.OPENAPI  # noqa: E741 - the document
#: Tools that a chat can carry without the model losing its way.
MANY = 20


def made(subject: Subject) -> list[Made]:
    try:
        return nextchat_tools(subject.spec)
    except ImportFails:
        return []


@rule(
    "KB301",
    "nextchat-import",
    O,
    {NEXTCHAT: ERROR},
    what=_("NextChat's import of the document fails."),
    why=_('It shows "OpenAPI Schema Error" and nothing is imported.'),
    fix=_("Mend the place that is named."),
)
def nextchat_import(subject: Subject) -> Iterator[Found]:
    try:
        nextchat_tools(subject.spec)
    except ImportFails as error:
        if not has_rule_of_its_own(error.message):
            yield Found(error.pointer, error.message)


def has_rule_of_its_own(message: str) -> bool:
    return message.endswith(("has no schema.", "body has no content."))


@rule(
    "KB302",
    "nextchat-method",
    O,
    {NEXTCHAT: WARNING},
    what=_("An operation is called with something other than GET or POST."),
    why=_(
        "NextChat offers it to the model, but its proxy passes on GET and POST only: the tool "
        "always fails."
    ),
    fix=_("Offer the operation as POST."),
)
def nextchat_method(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        if operation.method not in {"get", "post"}:
            yield Found(
                operation.pointer, _("%(operation)s cannot be called.", operation=operation.label)
            )


@rule(
    "KB303",
    "nextchat-path-slash",
    O,
    {NEXTCHAT: WARNING},
    what=_("A path ends in a slash."),
    why=_(
        "NextChat's server redirects to the path without it, which loses the body; the API is "
        "called under another path than the document names."
    ),
    fix=_("Serve the operation without the slash, too, and name that path."),
)
def nextchat_path_slash(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        if operation.path.endswith("/") and operation.path != "/":
            yield Found(
                operation.pointer, _("%(operation)s ends in a slash.", operation=operation.label)
            )


@rule(
    "KB304",
    "nextchat-parameters",
    O,
    {NEXTCHAT: ERROR, MCP: WARNING},
    what=_("The parameters that a tool would have are no valid JSON Schema."),
    why=_(
        "NextChat hands them to the model's interface as they stand. One that checks them, as "
        "OpenAI's does, refuses the whole request: no message is answered while the plugin is on. "
        "One that does not check them takes the tool, and its model may fill it in wrongly. Usual "
        "causes are `required: true` at a property, types such as float or date, and arrays "
        "without items."
    ),
    fix=_("Use the types of JSON Schema; list required properties by name beside `properties`."),
)
def nextchat_parameters(subject: Subject) -> Iterator[Found]:
    seen = set()
    for found in made(subject):
        if found.is_endless or not isinstance(found.tool.parameters, dict):
            continue
        for place, message in parameter_faults(found.tool.parameters):
            pointer = place_of(subject, found, place)
            if pointer not in seen:  # the same schema can serve several operations
                seen.add(pointer)
                said = _(
                    "%(tool)s: %(message)s This concerns interfaces that check what a tool takes, "
                    "as OpenAI's does; others let it pass.",
                    tool=found.tool.name,
                    message=message,
                )
                yield Found(pointer, said)


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


def parameter_faults(schema: dict[str, Any]) -> Iterator[tuple[str, Sentence]]:
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
            yield place, _("%(type)s is no type of JSON Schema.", type=shown(repr(inner.instance)))
        elif place.endswith("/required") and inner.validator == "uniqueItems":
            names = shown(", ".join(map(str, inner.instance)))
            yield (
                place,
                _(
                    "required names a field twice: %(names)s. NextChat adds the parameters of path "
                    "and query to the body's schema, also where several operations share it.",
                    names=names,
                ),
            )
        elif place.endswith("/required"):
            kind = json.dumps(inner.instance)
            yield place, _("required is %(text)s; it should be a list of names.", text=shown(kind))
        elif inner.instance is None:
            yield place, _("A schema is null; perhaps its reference leads nowhere.")
        else:
            yield place, explained(inner)
    yield from (
        (place, _("An array does not say what its items are."))
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


@rule(
    "KB305",
    "nextchat-body-no-object",
    O,
    {NEXTCHAT: ERROR, MCP: WARNING},
    what=_("The JSON that an operation takes is not described as an object with fields."),
    why=_(
        "A tool's parameters are an object; interfaces of models refuse a schema of another type, "
        "without a type, or with anyOf, oneOf, allOf or enum at its top."
    ),
    fix=_('Describe one flat object: "type": "object" with properties.'),
)
def nextchat_body_no_object(subject: Subject) -> Iterator[Found]:
    for found in made(subject):
        schema = found.tool.parameters
        if found.is_endless:
            continue
        operation = found.pointer
        place = f"{operation}/requestBody"
        if not isinstance(schema, dict) or schema.get("type") != "object":
            kind = schema.get("type") if isinstance(schema, dict) else None
            said = (
                _("a schema of type %(kind)s", kind=shown(repr(kind)))
                if kind
                else _("a schema without a type")
            )
            yield Found(place, _("%(tool)s takes %(said)s.", tool=found.tool.name, said=said))
        elif top := {"anyOf", "oneOf", "allOf", "enum", "not"} & schema.keys():
            yield Found(
                place,
                _(
                    "%(tool)s has %(keywords)s at its top.",
                    tool=found.tool.name,
                    keywords=listed(sorted(top)),
                ),
            )


@rule(
    "KB306",
    "nextchat-reference-lost",
    O,
    {NEXTCHAT: ERROR},
    what=_("The schema of a body leads nowhere, so that the tool has no parameters."),
    why=_(
        "NextChat puts nothing in the place of a reference that it cannot follow. The model is "
        "told that the tool takes nothing, and calls it with nothing."
    ),
    fix=_("Define the schema that the reference names."),
)
def nextchat_reference_lost(subject: Subject) -> Iterator[Found]:
    offered = {one.pointer for one in made(subject)}
    for operation in subject.operations:
        schema, pointer = subject.body_schema(operation)
        if operation.pointer in offered and isinstance(schema, dict) and "$ref" in schema:
            followed, _pointer = subject.follow(schema, pointer)
            if followed is None:
                yield Found(
                    pointer,
                    _("The parameters of %(operation)s are lost.", operation=operation.label),
                )


@rule(
    "KB307",
    "nextchat-parameters-huge",
    O,
    {NEXTCHAT: WARNING, MCP: WARNING},
    what=_("The parameters of a tool become huge once their references are followed."),
    why=_(
        "NextChat sends the schema in full with every message; interfaces of models refuse very "
        "large or deep ones, and each takes room from the chat."
    ),
    fix=_("Describe fewer fields, and fewer levels of them."),
)
def parameters_huge(subject: Subject) -> Iterator[Found]:
    for found in made(subject):
        operation = next((op for op in subject.operations if op.pointer == found.pointer), None)
        if found.is_endless and operation is not None:
            schema, _pointer = subject.body_schema(operation)
            if not circle_in(subject, schema, set()):
                yield Found(
                    found.pointer,
                    _(
                        "%(tool)s takes more than %(most)s values.",
                        tool=found.tool.name,
                        most=MAX_VALUES,
                    ),
                )


@rule(
    "KB312",
    "many-tools",
    O,
    {NEXTCHAT: ADVICE, MCP: ADVICE},
    what=_("The document has more than 20 operations."),
    why=_(
        "Every operation becomes a tool that stands before each message: it costs room and makes "
        "the choice harder for the model."
    ),
    fix=_("Describe only what a model should call."),
)
def many_tools(subject: Subject) -> Iterator[Found]:
    if len(subject.operations) > MANY:
        yield Found(
            "/paths",
            _("%(number)s operations become as many tools.", number=len(subject.operations)),
        )
