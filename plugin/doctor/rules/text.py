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

M = Document.MANIFEST
STRICT = (
    "Programs read manifests with a strict JSON reader, which refuses the whole document at "
    "the first fault. Browsers often report that as a CORS fault."
)


def _strict(id: str, name: str, what: str, fix: str, levels: Levels | None = None) -> None:
    describe(
        id,
        name,
        M,
        readers(ERROR) if levels is None else levels,
        f"{what}\n\nWhy: {STRICT}\n\nFix: {fix}",
    )


_strict(
    "KB102",
    "json-syntax",
    "Text that is no JSON, and whose meaning cannot be guessed.",
    "Mend the place that is named; what follows was not looked at.",
)
_strict(
    "KB103",
    "json-trailing-comma",
    "A comma before a closing bracket, or two in a row.",
    "Delete the comma.",
)
_strict(
    "KB104",
    "json-comment",
    "A comment.",
    "Delete the comment; JSON has no place for notes.",
)
_strict(
    "KB106",
    "json-single-quotes",
    "A text or a name in single quotes.",
    'Write double quotes, and \\" for those inside.',
)
_strict(
    "KB107",
    "json-missing-quotes",
    "A name or a text without quotes.",
    "Put it in double quotes.",
)
_strict("KB108", "json-missing-comma", "Two entries with no comma between them.", "Add the comma.")
_strict(
    "KB109",
    "json-control-character",
    "A line break or a control character inside a text, or an invisible one between values.",
    "Write \\n for a line break inside a text; delete invisible characters.",
)
_strict(
    "KB111",
    "json-foreign-literal",
    "A literal that JSON does not know: True, None, undefined, NaN, 0x1F, .5, 007.",
    "Write true, false, null or a plain number.",
)
_strict(
    "KB112",
    "json-curly-quotes",
    "Typographic quotes, as word processors make them.",
    "Write straight double quotes.",
)
_strict(
    "KB113", "json-open-text", "A text whose closing quote is missing.", "Add the closing quote."
)
_strict(
    "KB114",
    "json-open-bracket",
    "A bracket that is never closed; perhaps the text was cut off.",
    "Add the closing bracket, or fetch the whole document.",
)
_strict("KB115", "json-missing-colon", "No colon between a name and its value.", "Add the colon.")
_strict(
    "KB116",
    "json-text-around",
    "Text before or after the document: a fence, an assignment, a second document.",
    "Delete everything around the outermost brackets.",
)
_strict(
    "KB117",
    "json-bad-escape",
    "A backslash before a character that needs none.",
    "Double the backslash, or delete it.",
)

describe(
    "KB105",
    "byte-order-mark",
    M,
    {CHATGPT: WARNING},
    """A byte order mark before the first character.

    Why: Many JSON readers refuse it, and nobody sees it in an editor.

    Fix: Save the file as UTF-8 without a byte order mark.
    """,
)
describe(
    "KB110",
    "json-duplicate-key",
    M,
    readers(WARNING),
    """The same name twice in one object.

    Why: Which of the two counts depends on the program; most take the last one.

    Fix: Delete one of them.
    """,
)
describe(
    "KB118",
    "not-utf-8",
    M,
    {CHATGPT: ERROR, LANGCHAIN: WARNING},
    """Bytes that are not UTF-8.

    Why: JSON and YAML on the web are UTF-8; other encodings are refused or give wrong letters.

    Fix: Save the file as UTF-8.
    """,
)
describe(
    "KB119",
    "document-too-large",
    M,
    everybody(ERROR),
    """A document of more than 2 MB.

    Why: No program puts that much before a model, and it is not read here either.

    Fix: Describe only what a model should call.
    """,
)
describe(
    "KB120",
    "document-empty",
    M,
    everybody(ERROR),
    """A document without any text.

    Why: There is nothing to read. Often the server answered with an error and no body.

    Fix: Look at what the server sends.
    """,
)
describe(
    "KB121",
    "document-is-html",
    M,
    everybody(ERROR),
    """A page of the web where a document should be.

    Why: The address leads to a login, an error page or the start page of an application.

    Fix: Serve the document itself, without a login, at the address that is named.
    """,
)
describe(
    "KB122",
    "json-only-as-yaml",
    Document.OPENAPI,
    {CHATGPT: ADVICE, NEXTCHAT: ADVICE},
    """An OpenAPI document that is not quite JSON, but good YAML.

    Why: Clients that try YAML read it; those that only know JSON refuse it.

    Fix: Mend the place that is named.
    """,
)
describe(
    "KB123",
    "yaml-syntax",
    Document.OPENAPI,
    everybody(ERROR),
    """Text that is no YAML, or YAML that nobody can take in.

    Why: No client can read the document.

    Fix: Mend the place that is named; indent with spaces, and quote texts with a colon in them.
    """,
)
describe(
    "KB124",
    "manifest-in-yaml",
    M,
    readers(ERROR),
    """A manifest that is written in YAML.

    Why: Only the OpenAPI document may be YAML; manifests are read as JSON.

    Fix: Write it as JSON.
    """,
)
describe(
    "KB125",
    "yaml-duplicate-key",
    Document.OPENAPI,
    {NEXTCHAT: ERROR, CHATGPT: ADVICE},
    """The same name twice in one mapping of a YAML document.

    Why: NextChat's reader refuses the whole document; others silently drop the first one.

    Fix: Delete or rename one of them.
    """,
)
describe(
    "KB126",
    "manifest-no-object",
    M,
    readers(ERROR),
    """The document is JSON, but no object.

    Why: A manifest is one object in braces.

    Fix: Write the manifest as { … }, not as a list or a text.
    """,
)
