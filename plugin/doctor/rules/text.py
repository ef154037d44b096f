"""Faults of the text itself, which are found while it is read."""

from plugin.doctor.registry import Levels, describe
from plugin.doctor.rules.levels import (
    ADVICE,
    CHATGPT,
    ERROR,
    LANGCHAIN,
    NEXTCHAT,
    WARNING,
    everybody,
    readers,
)
from plugin.doctor.types import Document
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

M = Document.MANIFEST
STRICT = _(
    "Programs read manifests with a strict JSON reader, which refuses the whole document at "
    "the first fault. Browsers often report that as a CORS fault."
)


def _strict(
    id: str, name: str, what: Sentence, fix: Sentence, levels: Levels | None = None
) -> None:
    describe(
        id,
        name,
        M,
        readers(ERROR) if levels is None else levels,
        what=what,
        why=STRICT,
        fix=fix,
    )


_strict(
    "KB102",
    "json-syntax",
    _("Text that is no JSON, and whose meaning cannot be guessed."),
    _("Mend the place that is named; what follows was not looked at."),
)
_strict(
    "KB103",
    "json-trailing-comma",
    _("A comma before a closing bracket, or two in a row."),
    _("Delete the comma."),
)
_strict(
    "KB104",
    "json-comment",
    _("A comment."),
    _("Delete the comment; JSON has no place for notes."),
)
_strict(
    "KB106",
    "json-single-quotes",
    _("A text or a name in single quotes."),
    _('Write double quotes, and \\" for those inside.'),
)
_strict(
    "KB107",
    "json-missing-quotes",
    _("A name or a text without quotes."),
    _("Put it in double quotes."),
)
_strict(
    "KB108",
    "json-missing-comma",
    _("Two entries with no comma between them."),
    _("Add the comma."),
)
_strict(
    "KB109",
    "json-control-character",
    _("A line break or a control character inside a text, or an invisible one between values."),
    _("Write \\n for a line break inside a text; delete invisible characters."),
)
_strict(
    "KB111",
    "json-foreign-literal",
    _("A literal that JSON does not know: True, None, undefined, NaN, 0x1F, .5, 007."),
    _("Write true, false, null or a plain number."),
)
_strict(
    "KB112",
    "json-curly-quotes",
    _("Typographic quotes, as word processors make them."),
    _("Write straight double quotes."),
)
_strict(
    "KB113",
    "json-open-text",
    _("A text whose closing quote is missing."),
    _("Add the closing quote."),
)
_strict(
    "KB114",
    "json-open-bracket",
    _("A bracket that is never closed; perhaps the text was cut off."),
    _("Add the closing bracket, or fetch the whole document."),
)
_strict(
    "KB115",
    "json-missing-colon",
    _("No colon between a name and its value."),
    _("Add the colon."),
)
_strict(
    "KB116",
    "json-text-around",
    _("Text before or after the document: a fence, an assignment, a second document."),
    _("Delete everything around the outermost brackets."),
)
_strict(
    "KB117",
    "json-bad-escape",
    _("A backslash before a character that needs none."),
    _("Double the backslash, or delete it."),
)

describe(
    "KB105",
    "byte-order-mark",
    M,
    {CHATGPT: WARNING},
    what=_("A byte order mark before the first character."),
    why=_("Many JSON readers refuse it, and nobody sees it in an editor."),
    fix=_("Save the file as UTF-8 without a byte order mark."),
)
describe(
    "KB110",
    "json-duplicate-key",
    M,
    readers(WARNING),
    what=_("The same name twice in one object."),
    why=_("Which of the two counts depends on the program; most take the last one."),
    fix=_("Delete one of them."),
)
describe(
    "KB118",
    "not-utf-8",
    M,
    {CHATGPT: ERROR, LANGCHAIN: WARNING},
    what=_("Bytes that are not UTF-8."),
    why=_("JSON and YAML on the web are UTF-8; other encodings are refused or give wrong letters."),
    fix=_("Save the file as UTF-8."),
)
describe(
    "KB119",
    "document-too-large",
    M,
    everybody(ERROR),
    what=_("A document of more than 2 MB."),
    why=_("No program puts that much before a model, and it is not read here either."),
    fix=_("Describe only what a model should call."),
)
describe(
    "KB120",
    "document-empty",
    M,
    everybody(ERROR),
    what=_("A document without any text."),
    why=_("There is nothing to read. Often the server answered with an error and no body."),
    fix=_("Look at what the server sends."),
)
describe(
    "KB121",
    "document-is-html",
    M,
    everybody(ERROR),
    what=_("A page of the web where a document should be."),
    why=_("The address leads to a login, an error page or the start page of an application."),
    fix=_("Serve the document itself, without a login, at the address that is named."),
)
describe(
    "KB122",
    "json-only-as-yaml",
    Document.OPENAPI,
    {CHATGPT: ADVICE, NEXTCHAT: ADVICE},
    what=_("An OpenAPI document that is not quite JSON, but good YAML."),
    why=_("Clients that try YAML read it; those that only know JSON refuse it."),
    fix=_("Mend the place that is named."),
)
describe(
    "KB123",
    "yaml-syntax",
    Document.OPENAPI,
    everybody(ERROR),
    what=_("Text that is no YAML, or YAML that nobody can take in."),
    why=_("No client can read the document."),
    fix=_(
        "Mend the place that is named; indent with spaces, and quote texts with a colon in them."
    ),
)
describe(
    "KB124",
    "manifest-in-yaml",
    M,
    readers(ERROR),
    what=_("A manifest that is written in YAML."),
    why=_("Only the OpenAPI document may be YAML; manifests are read as JSON."),
    fix=_("Write it as JSON."),
)
describe(
    "KB125",
    "yaml-duplicate-key",
    Document.OPENAPI,
    {NEXTCHAT: ERROR, CHATGPT: ADVICE},
    what=_("The same name twice in one mapping of a YAML document."),
    why=_("NextChat's reader refuses the whole document; others silently drop the first one."),
    fix=_("Delete or rename one of them."),
)
describe(
    "KB126",
    "manifest-no-object",
    M,
    readers(ERROR),
    what=_("The document is JSON, but no object."),
    why=_("A manifest is one object in braces."),
    fix=_("Write the manifest as { … }, not as a list or a text."),
)
