"""The fields of a manifest: there, of the right type, of a length that clients take."""

import difflib
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from plugin.doctor.almost_json import escaped, shown
from plugin.doctor.registry import NOTHING, Found, Levels, rule
from plugin.doctor.rules.levels import (
    ADVICE,
    CHATGPT,
    ERROR,
    LANGCHAIN,
    WARNING,
    readers,
)
from plugin.doctor.subject import Subject
from plugin.doctor.types import Document

M = Document.MANIFEST
TEXTS = (
    "schema_version",
    "name_for_model",
    "name_for_human",
    "description_for_model",
    "description_for_human",
    "logo_url",
    "contact_email",
    "legal_info_url",
)
REQUIRED = (*TEXTS[:5], "auth", "api", *TEXTS[5:])
#: Without these a plugin is of less use, but every client takes it.
OPTIONAL = ("logo_url", "contact_email", "legal_info_url")
#: Not in the documentation, but in published manifests.
TOLERATED = ("is_dev", "functions", "ui", "send_images", "name", "id", "$schema")
NAME_FOR_MODEL = 50
MODEL_API_NAME = 64
NAME_FOR_HUMAN = (20, 30)
DESCRIPTION_FOR_MODEL = 8000
#: Fields whose spelling is compared; published manifests have a dozen.
MAX_FIELDS = 200
DESCRIPTION_FOR_HUMAN = (100, 120)
SECRET = re.compile(r"(?i)secret|password|passwd|api_?key|access_?token|private_?key")


def text_of(subject: Subject, key: str) -> str:
    found = subject.fields.get(key)
    return found if isinstance(found, str) else ""


def misspelled(subject: Subject) -> dict[str, str]:
    """Unknown name → the missing field that it was meant for."""
    missing = [key for key in REQUIRED if key not in subject.fields]
    found: dict[str, str] = {}
    for key in islice(subject.fields, MAX_FIELDS):
        if key in REQUIRED or key in TOLERATED:
            continue
        plain = re.sub(r"[^a-z]", "", key.lower())
        same = [name for name in missing if name.replace("_", "") == plain]
        close = same or difflib.get_close_matches(key.lower(), missing, 1, 0.85)
        if close and close[0] not in found.values():
            found[key] = close[0]
    return found


@rule("KB130", "field-missing", M, readers(ERROR))
def field_missing(subject: Subject) -> Iterator[Found]:
    """A field that every manifest has is not there.

    Why: ChatGPT refused manifests without it; LangChain's loader stops at the first one.

    Fix: Add the field.
    """
    meant = misspelled(subject).values()
    for key in REQUIRED:
        if key not in subject.fields and key not in meant:
            levels = {CHATGPT: ERROR} if key == "auth" else readers(ERROR)
            yield Found("", f"The field {key} is missing.", levels, fix=f'Add "{key}".')


@rule("KB131", "field-type", M, readers(ERROR))
def field_type(subject: Subject) -> Iterator[Found]:
    """A field holds another type than text, or `auth` and `api` are no objects.

    Why: Clients read the manifest into fixed types and stop at the first that does not fit.

    Fix: Put texts in double quotes; `auth` and `api` are objects in braces.
    """
    for key in TEXTS:
        value = subject.fields.get(key, "")
        if value is None and key in OPTIONAL:
            yield Found(f"/{key}", f"{key} is null.", {CHATGPT: WARNING}, fix="Name an address.")
        elif not isinstance(value, str):
            yield Found(
                f"/{key}",
                f"{key} is {kind_of(value)}; it should be a text.",
                value=NOTHING if isinstance(value, dict | list | bool) else str(value),
            )
    for key in ("auth", "api"):
        value = subject.fields.get(key, {})
        if not isinstance(value, dict):
            # LangChain's loader takes any object or null for auth.
            levels = {CHATGPT: ERROR} if key == "auth" and value is None else readers(ERROR)
            yield Found(f"/{key}", f"{key} is {kind_of(value)}; it should be an object.", levels)


def kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")


@rule("KB132", "field-empty", M, readers(ERROR))
def field_empty(subject: Subject) -> Iterator[Found]:
    """A field is there, with nothing in it.

    Why: The model knows a plugin by its name and description alone; people by theirs.

    Fix: Fill it in.
    """
    for key in TEXTS:
        value = subject.fields.get(key)
        if isinstance(value, str) and not value.strip():
            levels: Levels = {CHATGPT: WARNING} if key in OPTIONAL else {CHATGPT: ERROR}
            if key == "name_for_model":
                levels = readers(ERROR)
            yield Found(f"/{key}", f"{key} is empty.", levels)


@rule("KB133", "field-unknown", M, {CHATGPT: ADVICE})
def field_unknown(subject: Subject) -> Iterator[Found]:
    """A field that no client knows.

    Why: It does no harm and no good; perhaps it was meant for another.

    Fix: Delete it, or compare its spelling with the documentation.
    """
    meant = misspelled(subject)
    for key in subject.fields:
        if key not in REQUIRED and key not in meant and "openapi" not in subject.fields:
            yield Found(f"/{escaped(key)}", f"No client knows the field {shown(key)}.")


@rule("KB134", "field-misspelled", M, readers(ERROR))
def field_misspelled(subject: Subject) -> Iterator[Found]:
    """A field is missing, and another with nearly its name is there.

    Why: Names of fields count letter by letter, small and large ones apart.

    Fix: Write the name as it is in the documentation.
    """
    for key, name in misspelled(subject).items():
        levels = {CHATGPT: ERROR} if name == "auth" else readers(ERROR)
        yield Found(
            f"/{escaped(key)}",
            f"{shown(key)} is no field; {name} is missing.",
            levels,
            fix=f'Write "{name}".',
        )


@rule("KB135", "schema-version", M, {CHATGPT: WARNING})
def schema_version(subject: Subject) -> Iterator[Found]:
    """`schema_version` is not v1.

    Why: There was never another version; a client may refuse one it does not know.

    Fix: Write "v1".
    """
    found = text_of(subject, "schema_version")
    if found.strip() and found != "v1":
        yield Found("/schema_version", f'schema_version is "{shown(found)}".', value="v1")


@rule("KB136", "name-for-model-characters", M, {CHATGPT: ERROR, LANGCHAIN: WARNING})
def name_for_model_characters(subject: Subject) -> Iterator[Found]:
    """`name_for_model` holds something other than letters, digits and underscores.

    Why: It becomes the name of a tool, and models' interfaces refuse tools with spaces, dots
    or other letters in their name.

    Fix: Use the letters a to z, digits and underscores.
    """
    found = text_of(subject, "name_for_model")
    if found.strip() and not re.fullmatch(r"[A-Za-z0-9_]+", found):
        # A hyphen is fine in the name of a tool.
        is_tool = re.fullmatch(r"[A-Za-z0-9_-]+", found)
        levels: Levels = {CHATGPT: ERROR, **({} if is_tool else {LANGCHAIN: WARNING})}
        odd = "".join(dict.fromkeys(re.sub(r"[A-Za-z0-9_]", "", found)))
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", found).strip("_")
        yield Found(
            "/name_for_model",
            f"name_for_model is {shown(found)!r}; not allowed in it: {shown(repr(odd))}.",
            levels,
            value=plain or NOTHING,
        )


@rule("KB137", "name-for-model-length", M, {CHATGPT: ERROR})
def name_for_model_length(subject: Subject) -> Iterator[Found]:
    """`name_for_model` has more than 50 characters.

    Why: ChatGPT refused longer ones; interfaces of models refuse tools with more than 64.

    Fix: Shorten it.
    """
    length = len(text_of(subject, "name_for_model"))
    if length > NAME_FOR_MODEL:
        levels: Levels = {CHATGPT: ERROR}
        if length > MODEL_API_NAME:
            levels = {CHATGPT: ERROR, LANGCHAIN: WARNING}
        yield Found(
            "/name_for_model",
            f"name_for_model has {length} characters; {NAME_FOR_MODEL} are allowed.",
            levels,
        )


@rule("KB138", "name-for-human-length", M, {CHATGPT: WARNING})
def name_for_human_length(subject: Subject) -> Iterator[Found]:
    """`name_for_human` has more than 20 characters.

    Why: Lists of plugins cut it off. Stores asked for 20; up to 30 were published.

    Fix: Shorten it to 20 characters.
    """
    length = len(text_of(subject, "name_for_human"))
    usual, most = NAME_FOR_HUMAN
    if length > usual:
        yield Found(
            "/name_for_human",
            f"name_for_human has {length} characters; {usual} fit everywhere.",
            {CHATGPT: WARNING if length > most else ADVICE},
        )


@rule("KB139", "description-for-model-length", M, {CHATGPT: WARNING})
def description_for_model_length(subject: Subject) -> Iterator[Found]:
    """`description_for_model` has more than 8000 characters.

    Why: It stands before every conversation; longer ones are cut off or refused.

    Fix: Say only when to call the plugin and how to use what it returns.
    """
    length = len(text_of(subject, "description_for_model"))
    if length > DESCRIPTION_FOR_MODEL:
        yield Found(
            "/description_for_model",
            f"description_for_model has {length:,} characters; "
            f"{DESCRIPTION_FOR_MODEL:,} are allowed.",
        )


@rule("KB140", "description-for-human-length", M, {CHATGPT: WARNING})
def description_for_human_length(subject: Subject) -> Iterator[Found]:
    """`description_for_human` has more than 100 characters.

    Why: Lists of plugins cut it off. 120 were once allowed, and many published ones have them.

    Fix: Shorten it to one sentence of at most 100 characters.
    """
    length = len(text_of(subject, "description_for_human"))
    usual, most = DESCRIPTION_FOR_HUMAN
    if length > usual:
        yield Found(
            "/description_for_human",
            f"description_for_human has {length} characters; {usual} fit everywhere.",
            {CHATGPT: WARNING if length > most else ADVICE},
        )


@rule("KB161", "descriptions-alike", M, {CHATGPT: ADVICE})
def descriptions_alike(subject: Subject) -> Iterator[Found]:
    """The model is told the same as people.

    Why: People want to know what they get; a model, when to call the plugin and what to do
    with its answers.

    Fix: Tell the model when to call it, with what, and how to use the answer.
    """
    found = text_of(subject, "description_for_model").strip()
    if found and found == text_of(subject, "description_for_human").strip():
        yield Found("/description_for_model", "Both descriptions say the same.")


@rule("KB162", "text-padding", M, {CHATGPT: ADVICE})
def text_padding(subject: Subject) -> Iterator[Found]:
    """A text begins or ends with white space.

    Why: Names are shown and compared as they are.

    Fix: Delete the spaces around it.
    """
    for key in ("name_for_human", "description_for_human", "schema_version"):
        found = text_of(subject, key)
        if found.strip() and found != found.strip():
            yield Found(f"/{key}", f"{key} has white space around it.", value=found.strip())


@rule("KB164", "secret-published", M, {CHATGPT: WARNING})
def secret_published(subject: Subject) -> Iterator[Found]:
    """A field of the manifest is named like a secret.

    Why: Everybody can read a manifest.

    Fix: Delete it and replace that secret: it has been public.
    """
    for base, fields in (("", subject.fields), ("/auth", subject.auth)):
        for key, value in fields.items():
            if SECRET.search(key) and isinstance(value, str) and value.strip():
                yield Found(f"{base}/{escaped(key)}", f"{shown(key)} looks like a secret.")
