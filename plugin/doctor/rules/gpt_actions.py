"""What GPT Actions allow, beyond what holds for all.

Source: https://platform.openai.com/docs/actions/production, "Open API specification limits".
"""

from collections.abc import Iterator
from typing import Any

from plugin.doctor.almost_json import escaped, shown
from plugin.doctor.registry import Found, rule
from plugin.doctor.rules.levels import ADVICE, ERROR, GPT_ACTIONS, WARNING
from plugin.doctor.rules.schemas import SHOWN, answers
from plugin.doctor.subject import Subject
from plugin.doctor.types import Document
from retrieval.sentences import Sentence as _

O = Document.OPENAPI  # noqa: E741 - the document
OPERATIONS = 30
DESCRIPTION = 300
PARAMETER = 700


@rule(
    "KB401",
    "gpt-actions-description",
    O,
    {GPT_ACTIONS: WARNING},
    what=_("The description or summary of an operation has more than 300 characters."),
    why=_("The editor of GPTs names it as a fault, and what is beyond may not reach the model."),
    fix=_("Say when to call it and what it returns, in 300 characters."),
)
def description_length(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        for key in ("description", "summary"):
            found = operation.value.get(key)
            if isinstance(found, str) and len(found) > DESCRIPTION:
                yield Found(
                    f"{operation.pointer}/{key}",
                    _(
                        "The %(field)s of %(operation)s has %(length)s characters; "
                        "%(most)s are allowed.",
                        field=key,
                        operation=operation.label,
                        length=len(found),
                        most=DESCRIPTION,
                    ),
                )


@rule(
    "KB402",
    "gpt-actions-parameter-description",
    O,
    {GPT_ACTIONS: WARNING},
    what=_("The description of a parameter or a field of the body has more than 700 characters."),
    why=_("The editor of GPTs names it as a fault, and what is beyond may not reach the model."),
    fix=_("Shorten it to 700 characters."),
)
def parameter_length(subject: Subject) -> Iterator[Found]:
    seen = set()
    for operation in subject.operations:
        texts = [(p.pointer, p.value.get("description")) for p in subject.parameters(operation)]
        schema, pointer = subject.body_schema(operation)
        followed, pointer = subject.follow(schema, pointer)
        fields = followed.get("properties") if isinstance(followed, dict) else None
        for name, field in fields.items() if isinstance(fields, dict) else ():
            if isinstance(field, dict):
                place = f"{pointer}/properties/{escaped(name)}"
                texts.append((place, field.get("description")))
        for place, text in texts:
            if isinstance(text, str) and len(text) > PARAMETER and place not in seen:
                seen.add(place)
                yield Found(
                    f"{place}/description",
                    _(
                        "It has %(length)s characters; %(most)s are allowed.",
                        length=len(text),
                        most=PARAMETER,
                    ),
                )


@rule(
    "KB403",
    "gpt-actions-operations",
    O,
    {GPT_ACTIONS: ERROR},
    what=_("The document has more than 30 operations."),
    why=_("The editor of GPTs refuses such a document."),
    fix=_("Describe only what a model should call."),
)
def too_many(subject: Subject) -> Iterator[Found]:
    if len(subject.operations) > OPERATIONS:
        yield Found(
            "/paths",
            _(
                "%(number)s operations; %(most)s are allowed.",
                number=len(subject.operations),
                most=OPERATIONS,
            ),
        )


@rule(
    "KB404",
    "gpt-actions-object",
    O,
    {GPT_ACTIONS: ADVICE},
    what=_("An object in a request or an answer has no `properties`."),
    why=_('The editor of GPTs names it as a fault ("object schema missing properties").'),
    fix=_('List its properties, or write "properties": {}.'),
)
def object_without_properties(subject: Subject) -> Iterator[Found]:
    seen: set[str] = set()
    for operation in subject.operations:
        schema, pointer = subject.body_schema(operation)
        places = [(pointer, schema), *answers(subject, operation.value, operation.pointer)]
        for place, found in places:
            for bare in _bare_objects(subject, found, place, seen):
                if len(seen) > 400 * SHOWN:
                    return
                yield Found(
                    bare,
                    _("%(operation)s: an object has no properties.", operation=operation.label),
                )


def _bare_objects(subject: Subject, node: Any, pointer: str, seen: set[str]) -> Iterator[str]:
    node, pointer = subject.follow(node, pointer)
    if pointer in seen or not isinstance(node, dict):
        return
    seen.add(pointer)
    if node.get("type") == "object" and not {"properties", "allOf", "oneOf", "anyOf"} & node.keys():
        yield pointer
    properties = node.get("properties")
    for name, value in properties.items() if isinstance(properties, dict) else ():
        yield from _bare_objects(subject, value, f"{pointer}/properties/{escaped(name)}", seen)
    if "items" in node:
        yield from _bare_objects(subject, node["items"], f"{pointer}/items", seen)


@rule(
    "KB406",
    "gpt-actions-text-only",
    O,
    {GPT_ACTIONS: WARNING},
    what=_("An operation answers only with pictures, sound or other bytes."),
    why=_("Actions carry text only."),
    fix=_("Answer with JSON that names an address of the file."),
)
def text_only(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        responses = operation.value.get("responses")
        response = responses.get("200") if isinstance(responses, dict) else None
        response, pointer = subject.follow(response, f"{operation.pointer}/responses/200")
        content = response.get("content") if isinstance(response, dict) else None
        if (
            isinstance(content, dict)
            and content
            and all(
                str(kind).startswith(("image/", "audio/", "video/", "application/octet", "font/"))
                for kind in content
            )
        ):
            yield Found(
                f"{pointer}/content",
                _(
                    "%(operation)s answers with %(types)s.",
                    operation=operation.label,
                    types=shown(", ".join(content)),
                ),
            )
