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
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

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


@rule(
    "KB130",
    "field-missing",
    M,
    readers(ERROR),
    what=_("A field that every manifest has is not there."),
    why=_("ChatGPT refused manifests without it; LangChain's loader stops at the first one."),
    fix=_("Add the field."),
)
def field_missing(subject: Subject) -> Iterator[Found]:
    meant = misspelled(subject).values()
    for key in REQUIRED:
        if key not in subject.fields and key not in meant:
            levels = {CHATGPT: ERROR} if key == "auth" else readers(ERROR)
            yield Found(
                "",
                _("The field %(field)s is missing.", field=key),
                levels,
                fix=_('Add "%(field)s".', field=key),
            )


@rule(
    "KB131",
    "field-type",
    M,
    readers(ERROR),
    what=_("A field holds another type than text, or `auth` and `api` are no objects."),
    why=_("Clients read the manifest into fixed types and stop at the first that does not fit."),
    fix=_("Put texts in double quotes; `auth` and `api` are objects in braces."),
)
def field_type(subject: Subject) -> Iterator[Found]:
    for key in TEXTS:
        value = subject.fields.get(key, "")
        if value is None and key in OPTIONAL:
            yield Found(
                f"/{key}",
                _("%(field)s is null.", field=key),
                {CHATGPT: WARNING},
                fix=_("Name an address."),
            )
        elif not isinstance(value, str):
            yield Found(
                f"/{key}",
                _("%(field)s is %(kind)s; it should be a text.", field=key, kind=kind_of(value)),
                value=NOTHING if isinstance(value, dict | list | bool) else str(value),
            )
    for key in ("auth", "api"):
        value = subject.fields.get(key, {})
        if not isinstance(value, dict):
            # LangChain's loader takes any object or null for auth.
            levels = {CHATGPT: ERROR} if key == "auth" and value is None else readers(ERROR)
            yield Found(
                f"/{key}",
                _("%(field)s is %(kind)s; it should be an object.", field=key, kind=kind_of(value)),
                levels,
            )


def kind_of(value: Any) -> str | Sentence:
    kinds = {dict: _("an object"), list: _("a list"), str: _("a text"), bool: _("true or false")}
    return "null" if value is None else kinds.get(type(value), _("a number"))


@rule(
    "KB132",
    "field-empty",
    M,
    readers(ERROR),
    what=_("A field is there, with nothing in it."),
    why=_("The model knows a plugin by its name and description alone; people by theirs."),
    fix=_("Fill it in."),
)
def field_empty(subject: Subject) -> Iterator[Found]:
    for key in TEXTS:
        value = subject.fields.get(key)
        if isinstance(value, str) and not value.strip():
            levels: Levels = {CHATGPT: WARNING} if key in OPTIONAL else {CHATGPT: ERROR}
            if key == "name_for_model":
                levels = readers(ERROR)
            yield Found(f"/{key}", _("%(field)s is empty.", field=key), levels)


@rule(
    "KB133",
    "field-unknown",
    M,
    {CHATGPT: ADVICE},
    what=_("A field that no client knows."),
    why=_("It does no harm and no good; perhaps it was meant for another."),
    fix=_("Delete it, or compare its spelling with the documentation."),
)
def field_unknown(subject: Subject) -> Iterator[Found]:
    meant = misspelled(subject)
    for key in subject.fields:
        if key not in REQUIRED and key not in meant and "openapi" not in subject.fields:
            yield Found(
                f"/{escaped(key)}", _("No client knows the field %(field)s.", field=shown(key))
            )


@rule(
    "KB134",
    "field-misspelled",
    M,
    readers(ERROR),
    what=_("A field is missing, and another with nearly its name is there."),
    why=_("Names of fields count letter by letter, small and large ones apart."),
    fix=_("Write the name as it is in the documentation."),
)
def field_misspelled(subject: Subject) -> Iterator[Found]:
    for key, name in misspelled(subject).items():
        levels = {CHATGPT: ERROR} if name == "auth" else readers(ERROR)
        yield Found(
            f"/{escaped(key)}",
            _("%(field)s is no field; %(name)s is missing.", field=shown(key), name=name),
            levels,
            fix=_('Write "%(name)s".', name=name),
        )


@rule(
    "KB135",
    "schema-version",
    M,
    {CHATGPT: WARNING},
    what=_("`schema_version` is not v1."),
    why=_("There was never another version; a client may refuse one it does not know."),
    fix=_('Write "v1".'),
)
def schema_version(subject: Subject) -> Iterator[Found]:
    found = text_of(subject, "schema_version")
    if found.strip() and found != "v1":
        yield Found(
            "/schema_version", _('schema_version is "%(text)s".', text=shown(found)), value="v1"
        )


@rule(
    "KB136",
    "name-for-model-characters",
    M,
    {CHATGPT: ERROR, LANGCHAIN: WARNING},
    what=_("`name_for_model` holds something other than letters, digits and underscores."),
    why=_(
        "It becomes the name of a tool, and models' interfaces refuse tools with spaces, dots or "
        "other letters in their name."
    ),
    fix=_("Use the letters a to z, digits and underscores."),
)
def name_for_model_characters(subject: Subject) -> Iterator[Found]:
    found = text_of(subject, "name_for_model")
    if found.strip() and not re.fullmatch(r"[A-Za-z0-9_]+", found):
        # A hyphen is fine in the name of a tool.
        is_tool = re.fullmatch(r"[A-Za-z0-9_-]+", found)
        levels: Levels = {CHATGPT: ERROR, **({} if is_tool else {LANGCHAIN: WARNING})}
        odd = "".join(dict.fromkeys(re.sub(r"[A-Za-z0-9_]", "", found)))
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", found).strip("_")
        yield Found(
            "/name_for_model",
            _(
                "name_for_model is %(text)s; not allowed in it: %(odd)s.",
                text=repr(shown(found)),
                odd=shown(repr(odd)),
            ),
            levels,
            value=plain or NOTHING,
        )


@rule(
    "KB137",
    "name-for-model-length",
    M,
    {CHATGPT: ERROR},
    what=_("`name_for_model` has more than 50 characters."),
    why=_("ChatGPT refused longer ones; interfaces of models refuse tools with more than 64."),
    fix=_("Shorten it."),
)
def name_for_model_length(subject: Subject) -> Iterator[Found]:
    length = len(text_of(subject, "name_for_model"))
    if length > NAME_FOR_MODEL:
        levels: Levels = {CHATGPT: ERROR}
        if length > MODEL_API_NAME:
            levels = {CHATGPT: ERROR, LANGCHAIN: WARNING}
        yield Found(
            "/name_for_model",
            _(
                "name_for_model has %(length)s characters; %(most)s are allowed.",
                length=length,
                most=NAME_FOR_MODEL,
            ),
            levels,
        )


@rule(
    "KB138",
    "name-for-human-length",
    M,
    {CHATGPT: WARNING},
    what=_("`name_for_human` has more than 20 characters."),
    why=_("Lists of plugins cut it off. Stores asked for 20; up to 30 were published."),
    fix=_("Shorten it to 20 characters."),
)
def name_for_human_length(subject: Subject) -> Iterator[Found]:
    length = len(text_of(subject, "name_for_human"))
    usual, most = NAME_FOR_HUMAN
    if length > usual:
        yield Found(
            "/name_for_human",
            _(
                "name_for_human has %(length)s characters; %(usual)s fit everywhere.",
                length=length,
                usual=usual,
            ),
            {CHATGPT: WARNING if length > most else ADVICE},
        )


@rule(
    "KB139",
    "description-for-model-length",
    M,
    {CHATGPT: WARNING},
    what=_("`description_for_model` has more than 8000 characters."),
    why=_("It stands before every conversation; longer ones are cut off or refused."),
    fix=_("Say only when to call the plugin and how to use what it returns."),
)
def description_for_model_length(subject: Subject) -> Iterator[Found]:
    length = len(text_of(subject, "description_for_model"))
    if length > DESCRIPTION_FOR_MODEL:
        yield Found(
            "/description_for_model",
            _(
                "description_for_model has %(length)s characters; %(most)s are allowed.",
                length=f"{length:,}",
                most=f"{DESCRIPTION_FOR_MODEL:,}",
            ),
        )


@rule(
    "KB140",
    "description-for-human-length",
    M,
    {CHATGPT: WARNING},
    what=_("`description_for_human` has more than 100 characters."),
    why=_("Lists of plugins cut it off. 120 were once allowed, and many published ones have them."),
    fix=_("Shorten it to one sentence of at most 100 characters."),
)
def description_for_human_length(subject: Subject) -> Iterator[Found]:
    length = len(text_of(subject, "description_for_human"))
    usual, most = DESCRIPTION_FOR_HUMAN
    if length > usual:
        yield Found(
            "/description_for_human",
            _(
                "description_for_human has %(length)s characters; %(usual)s fit everywhere.",
                length=length,
                usual=usual,
            ),
            {CHATGPT: WARNING if length > most else ADVICE},
        )


@rule(
    "KB161",
    "descriptions-alike",
    M,
    {CHATGPT: ADVICE},
    what=_("The model is told the same as people."),
    why=_(
        "People want to know what they get; a model, when to call the plugin and what to do with "
        "its answers."
    ),
    fix=_("Tell the model when to call it, with what, and how to use the answer."),
)
def descriptions_alike(subject: Subject) -> Iterator[Found]:
    found = text_of(subject, "description_for_model").strip()
    if found and found == text_of(subject, "description_for_human").strip():
        yield Found("/description_for_model", _("Both descriptions say the same."))


@rule(
    "KB162",
    "text-padding",
    M,
    {CHATGPT: ADVICE},
    what=_("A text begins or ends with white space."),
    why=_("Names are shown and compared as they are."),
    fix=_("Delete the spaces around it."),
)
def text_padding(subject: Subject) -> Iterator[Found]:
    for key in ("name_for_human", "description_for_human", "schema_version"):
        found = text_of(subject, key)
        if found.strip() and found != found.strip():
            yield Found(
                f"/{key}", _("%(field)s has white space around it.", field=key), value=found.strip()
            )


@rule(
    "KB164",
    "secret-published",
    M,
    {CHATGPT: WARNING},
    what=_("A field of the manifest is named like a secret."),
    why=_("Everybody can read a manifest."),
    fix=_("Delete it and replace that secret: it has been public."),
)
def secret_published(subject: Subject) -> Iterator[Found]:
    for base, fields in (("", subject.fields), ("/auth", subject.auth)):
        for key, value in fields.items():
            if SECRET.search(key) and isinstance(value, str) and value.strip():
                yield Found(
                    f"{base}/{escaped(key)}", _("%(field)s looks like a secret.", field=shown(key))
                )
