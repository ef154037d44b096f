"""LangChain's loader, `AIPluginTool.from_plugin_url`: it reads the manifest into fixed types and
puts the whole OpenAPI document before the model.

Source: langchain_community/tools/plugin.py.
"""

from collections.abc import Iterator

from plugin.doctor.registry import Found, rule
from plugin.doctor.rules.levels import ADVICE, ERROR, LANGCHAIN, WARNING
from plugin.doctor.subject import Subject
from plugin.doctor.types import Document
from retrieval.sentences import Sentence as _

#: Characters of an OpenAPI document that a usual model takes without losing sight of the chat.
PROMPT = (30_000, 200_000)


@rule(
    "KB501",
    "langchain-api-fields",
    Document.MANIFEST,
    {LANGCHAIN: ERROR},
    what=_("`api.has_user_authentication` is neither true nor false."),
    why=_("LangChain's loader reads it as such and stops at anything else."),
    fix=_("Write true or false, or leave it out."),
)
def api_fields(subject: Subject) -> Iterator[Found]:
    api = subject.fields.get("api")
    value = api.get("has_user_authentication") if isinstance(api, dict) else None
    words = {"true", "false", "yes", "no", "on", "off", "t", "f", "y", "n", "1", "0"}
    if value is None or isinstance(value, bool) or value in (0, 1):
        return
    if not (isinstance(value, str) and value.lower() in words):
        yield Found("/api/has_user_authentication", _("It is neither true nor false."))


@rule(
    "KB502",
    "langchain-prompt",
    Document.OPENAPI,
    {LANGCHAIN: WARNING},
    what=_("The OpenAPI document is long."),
    why=_(
        "LangChain's loader puts all of it before the model: it is paid for with each call, and "
        "beyond the model's context nothing works."
    ),
    fix=_("Describe only what a model should call, without examples."),
)
def prompt(subject: Subject) -> Iterator[Found]:
    length = len(subject.openapi.text) if subject.openapi else 0
    usual, most = PROMPT
    if length > usual:
        yield Found(
            "",
            _("The document has %(length)s characters.", length=f"{length:,}"),
            {LANGCHAIN: WARNING if length > most else ADVICE},
        )
