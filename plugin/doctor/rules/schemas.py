"""The OpenAPI document as a whole: what it is, its version's schema, its references."""

import difflib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from plugin.doctor.almost_json import escaped, shown
from plugin.doctor.registry import Found, describe, rule
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
from plugin.doctor.rules.manifest import REQUIRED
from plugin.doctor.subject import METHODS, Subject, at
from plugin.doctor.types import Document
from plugin.doctor.violations import explained
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

O = Document.OPENAPI  # noqa: E741 - the document
#: Findings of one kind that are listed; a generated document repeats the same fault.
SHOWN = 20

describe(
    "KB202",
    "openapi-unrecognised",
    O,
    everybody(ERROR),
    what=_("The document is no OpenAPI document: it has neither `openapi` nor `paths`."),
    why=_(
        'No client finds an operation in it. NextChat shows "OpenAPI Schema Error", also for a '
        "manifest that was given in its place."
    ),
    fix=_("Give the address of the OpenAPI document, not of the manifest or of a page."),
)
describe(
    "KB205",
    "openapi-not-checked",
    Document.MANIFEST,
    callers(ADVICE),
    what=_("The OpenAPI document was not looked at."),
    why=_("Most of what can go wrong for a client is in there."),
    fix=_("Check again with it: without --offline, or with --openapi FILE."),
)


@rule(
    "KB203",
    "openapi-version",
    O,
    callers(WARNING),
    what=_("`openapi` is not a version 3.0 or 3.1."),
    why=_(
        "Clients read 3.0 and 3.1. Swagger 2.0 puts bodies, servers and schemas elsewhere, where "
        "nobody looks for them."
    ),
    fix=_("Write the document for OpenAPI 3.0.3 or 3.1.0; converters for Swagger 2.0 exist."),
)
def openapi_version(subject: Subject) -> Iterator[Found]:
    version = subject.spec.get("openapi")
    if "swagger" in subject.spec and version is None:
        yield Found(
            "/swagger",
            _("This is Swagger %(version)s.", version=shown(str(subject.spec["swagger"]))),
            callers(ERROR),
        )
    elif version is None:
        yield Found(
            "",
            _("The field openapi, which names the version, is missing."),
            {GPT_ACTIONS: ERROR, CHATGPT: WARNING, NEXTCHAT: ADVICE, MCP: WARNING},
            fix=_('Add "openapi": "3.0.3".'),
        )
    elif not isinstance(version, str) or not re.fullmatch(r"3\.[01]\.\d+.*", version):
        yield Found(
            "/openapi",
            _("openapi is %(version)s.", version=shown(repr(version))),
            {GPT_ACTIONS: WARNING, CHATGPT: WARNING, MCP: WARNING, NEXTCHAT: ADVICE},
            value="3.0.3"
            if version in (3, 3.0, "3", "3.0")
            else "3.1.0"
            if version in (3.1, "3.1")
            else version,
        )


@rule(
    "KB204",
    "openapi-schema",
    O,
    {CHATGPT: WARNING, GPT_ACTIONS: WARNING, MCP: WARNING},
    what=_("The document breaks the schema of its own OpenAPI version."),
    why=_(
        "Clients differ in what they forgive: one ignores the part, another refuses all of it. "
        "Stores took many such documents."
    ),
    fix=_("Mend the place that is named as the OpenAPI specification has it."),
)
def openapi_schema(subject: Subject) -> Iterator[Found]:
    version = subject.spec.get("openapi")
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
        return
    document = subject.spec
    if subject.openapi is subject.manifest:  # one document that is both
        document = {key: value for key, value in document.items() if key not in REQUIRED}
    found = sorted(schema_errors(document, version))
    for number, (pointer, message) in enumerate(found):
        if number >= SHOWN:
            return
        yield Found(pointer, message)


def schema_errors(document: dict[str, Any], version: str) -> Iterator[tuple[str, Sentence]]:
    """(pointer, what is wrong) by the official schema. References are not followed: nothing
    is fetched."""
    # Not at the top: it loads pydantic, which no request needs.
    from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

    is_30 = version.startswith("3.0")
    validator = OpenAPIV30SpecValidator if is_30 else OpenAPIV31SpecValidator
    seen = set()
    for error in validator.schema_validator.iter_errors(without_known(document)):
        inner = deepest(error)
        pointer = "".join(f"/{escaped(str(part))}" for part in inner.absolute_path)
        message = explained(inner)
        if (pointer, message) not in seen:
            seen.add((pointer, message))
            yield pointer, message


def without_known(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what rules of their own speak of: empty or wrong `servers`, and
    methods in capital letters."""
    kept = {key: value for key, value in document.items() if key != "servers"}
    if isinstance(kept.get("paths"), dict):
        kept["paths"] = {
            path: {
                key: value
                for key, value in item.items()
                if key.lower() == key or key.lower() not in METHODS
            }
            if isinstance(item, dict)
            else item
            for path, item in kept["paths"].items()
            if path.startswith(("/", "x-"))
        }
    return kept


def deepest(error: Any) -> Any:
    """Of the branches of anyOf and oneOf, the error of the one that fits best.

    An object and a reference to one are the usual pair: nobody who wrote no `$ref` meant that.
    """
    while error.context:
        branches: dict[Any, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0] if inner.schema_path else 0, []).append(inner)
        meant = [
            errors
            for errors in branches.values()
            if not any(e.validator == "required" and "'$ref'" in e.message for e in errors)
        ] or list(branches.values())
        fitting = min(meant, key=lambda errors: (-max(map(depth, errors)), len(errors)))
        error = max(fitting, key=depth)
    return error


def depth(error: Any) -> int:
    return len(error.absolute_path)


# --- References ------------------------------------------------------------------------------


@rule(
    "KB206",
    "reference-broken",
    O,
    {CHATGPT: WARNING, GPT_ACTIONS: WARNING, MCP: WARNING},
    what=_("A `$ref` leads to something that is not in the document."),
    why=_(
        "The client does not know what to send or what to expect there. Where the request is "
        "concerned, the model is not told its parameters."
    ),
    fix=_("Define what it names under components, or correct its spelling; it begins with #/."),
)
def reference_broken(subject: Subject) -> Iterator[Found]:
    seen = set()
    for pointer, reference in subject.references:
        if not is_local(reference):
            continue
        if reference.startswith("#/") and at(subject.spec, unquoted(reference)) is not None:
            continue
        if reference in seen or reference == "#":
            continue
        seen.add(reference)
        close = spelling(subject.spec, reference)
        yield Found(
            f"{pointer}/$ref",
            _(
                "%(reference)s leads nowhere. Did you mean %(other)s?",
                reference=shown(reference),
                other=close,
            )
            if close
            else _("%(reference)s leads nowhere.", reference=shown(reference)),
        )


def is_local(reference: str) -> bool:
    return reference.startswith("#")


def unquoted(reference: str) -> str:
    return unquote(reference[1:])


def spelling(spec: dict[str, Any], reference: str) -> str:
    """The reference that was probably meant; "" where there is none."""
    components = spec.get("components")
    known = [
        f"#/components/{kind}/{escaped(str(name))}"
        for kind, named in (components.items() if isinstance(components, dict) else ())
        for name in (named if isinstance(named, dict) else ())
    ]
    return next(iter(difflib.get_close_matches(reference, known, 1, 0.85)), "")


@rule(
    "KB208",
    "reference-remote",
    O,
    {NEXTCHAT: WARNING, GPT_ACTIONS: WARNING, CHATGPT: ADVICE, MCP: WARNING},
    what=_("A `$ref` leads to another file or address."),
    why=_(
        "Clients read one document only; what it names elsewhere is missing. It was not fetched "
        "here either."
    ),
    fix=_("Copy it under components."),
)
def reference_remote(subject: Subject) -> Iterator[Found]:
    seen = set()
    for pointer, reference in subject.references:
        if not is_local(reference) and reference not in seen:
            seen.add(reference)
            yield Found(
                f"{pointer}/$ref",
                _("%(reference)s is another document.", reference=shown(reference)),
            )


@rule(
    "KB207",
    "reference-circular",
    O,
    {NEXTCHAT: ERROR, GPT_ACTIONS: WARNING, MCP: WARNING},
    what=_("The schema of a request contains itself."),
    why=_(
        "NextChat replaces references by what they name and then cannot write the request: the "
        "chat breaks. Models' interfaces have no references across tools either."
    ),
    fix=_("Cut the circle: describe the inner object as one without properties."),
)
def reference_circular(subject: Subject) -> Iterator[Found]:
    done: set[str] = set()
    for operation in subject.operations:
        schema, pointer = subject.body_schema(operation)
        if circle := circle_in(subject, schema, done):
            yield Found(
                pointer,
                _(
                    "%(operation)s: %(reference)s contains itself.",
                    operation=operation.label,
                    reference=circle,
                ),
            )


def circle_in(subject: Subject, schema: Any, done: set[str]) -> str:
    """A reference that leads back to itself; "" where there is none.

    `done` are references known to lead into no circle; those found on the way are added.
    """
    path: list[tuple[str, Iterator[str]]] = [("", references_in(schema))]
    while path:
        reference = next(path[-1][1], None)
        if reference is None:
            done.add(path.pop()[0])
        elif any(reference == passed for passed, _inner in path):
            return reference
        elif reference not in done and reference.startswith("#/"):
            path.append((reference, references_in(at(subject.spec, unquoted(reference)))))
    return ""


def references_in(node: Any) -> Iterator[str]:
    """The references in a value, not followed."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            else:
                waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


@rule(
    "KB229",
    "answer-unbounded",
    O,
    {GPT_ACTIONS: ADVICE, CHATGPT: ADVICE},
    what=_("An operation answers with a list, and nothing says how long it may get."),
    why=_(
        "GPT Actions refuse answers of 100,000 characters or more, and every character costs the "
        "model room to think."
    ),
    fix=_("Take a limit or a page as a parameter, or give the list maxItems."),
)
def answer_unbounded(subject: Subject) -> Iterator[Found]:
    for operation in subject.operations:
        names = {str(p.value.get("name")) for p in subject.parameters(operation)}
        schema, _pointer = subject.body_schema(operation)
        names |= set(properties_of(subject, schema))
        if any(LIMIT.search(name) for name in names):
            continue
        for pointer, found in answers(subject, operation.value, operation.pointer):
            followed, _pointer = subject.follow(found, pointer)
            is_list = isinstance(followed, dict) and followed.get("type") == "array"
            if is_list and "maxItems" not in followed:
                yield Found(
                    pointer,
                    _(
                        "%(operation)s answers with a list of any length.",
                        operation=operation.label,
                    ),
                )


LIMIT = re.compile(
    r"(?i)limit|top_?k|count|size|page|max|first|\bn\b|\bk\b|num|amount|offset|cursor|length"
)


def properties_of(subject: Subject, schema: Any) -> list[str]:
    followed, _pointer = subject.follow(schema, "")
    found = followed.get("properties") if isinstance(followed, dict) else None
    return list(found) if isinstance(found, dict) else []


def answers(subject: Subject, operation: dict[str, Any], pointer: str) -> Iterator[tuple[str, Any]]:
    """(pointer, schema) of every successful JSON answer."""
    responses = operation.get("responses")
    for status, response in responses.items() if isinstance(responses, dict) else ():
        if not str(status).startswith("2") and status != "default":
            continue
        base = f"{pointer}/responses/{escaped(str(status))}"
        followed, base = subject.follow(response, base)
        content = followed.get("content") if isinstance(followed, dict) else None
        media = content.get("application/json") if isinstance(content, dict) else None
        if isinstance(media, dict) and "schema" in media:
            yield f"{base}/content/application~1json/schema", media["schema"]
