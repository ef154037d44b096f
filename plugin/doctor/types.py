"""What a check of a plugin says: findings, and a verdict for each consumer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _


class Severity(IntEnum):
    """How bad a finding is for one consumer; higher is worse."""

    ADVICE = 1  #: it works, and could be better
    WARNING = 2  #: it works in part, or not for everybody
    ERROR = 3  #: this consumer will not work

    @property
    def label(self) -> str:
        return self.name.lower()


class Consumer(StrEnum):
    """A program that reads manifests or OpenAPI documents."""

    CHATGPT = "chatgpt"  #: ChatGPT plugins, 2023 to 2024
    GPT_ACTIONS = "gpt-actions"
    NEXTCHAT = "nextchat"
    LANGCHAIN = "langchain"  #: AIPluginTool.from_plugin_url
    MCP = "mcp"  #: operations offered as tools to MCP clients

    @property
    def label(self) -> Sentence:
        return TITLES[self]


TITLES: Mapping[Consumer, Sentence] = {
    Consumer.CHATGPT: _("ChatGPT plugins (historic)"),
    Consumer.GPT_ACTIONS: _("GPT Actions"),
    Consumer.NEXTCHAT: _("NextChat"),
    Consumer.LANGCHAIN: _("LangChain"),
    Consumer.MCP: _("MCP clients"),
}


class Document(StrEnum):
    """Which of the two documents a finding is in."""

    MANIFEST = "manifest"
    OPENAPI = "openapi"


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


NOTHING_SAID = Sentence()


@dataclass(frozen=True, slots=True)
class Replacement:
    """A piece of a document's text and what should stand there, in characters of the text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault at one place.

    Its sentences are English; `.translated` says them to a reader of the page.

    `line` and `column` count from 1, in characters; 0 where there is no place.
    """

    rule: str  #: KB101
    name: str  #: logo-url-case
    document: Document
    pointer: str  #: JSON pointer; "" is the whole document
    line: int
    column: int
    message: Sentence  #: what was found
    why: Sentence  #: why it matters
    fix: Sentence  #: how to mend it
    consumers: Mapping[Consumer, Severity]  #: how bad it is, for whom
    edits: tuple[Replacement, ...] = ()  #: a change of the text that is safe to make

    @property
    def severity(self) -> Severity:
        """How bad it is for whom it is worst."""
        return max(self.consumers.values(), default=Severity.ADVICE)

    def affected(self, severity: Severity) -> list[Sentence]:
        """For whom it is that bad."""
        return [name.label for name, level in self.consumers.items() if level is severity]

    def only_for(self, consumers: frozenset[Consumer]) -> "Finding | None":
        """The finding as these consumers see it; None if it does not concern them."""
        kept = {name: level for name, level in self.consumers.items() if name in consumers}
        if not kept:
            return None
        return Finding(
            **{name: getattr(self, name) for name in self.__slots__ if name != "consumers"},
            consumers=kept,
        )


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model is offered for one operation."""

    name: str
    description: str
    parameters: Any  #: JSON Schema
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, the worst first, then in the order of the documents."""

    source: str
    findings: tuple[Finding, ...]
    checked: tuple[Consumer, ...] = tuple(Consumer)
    tools: tuple[Tool, ...] = ()  #: the tools as NextChat's model sees them
    mended: Mapping[Document, str] = field(default_factory=dict)  #: texts with the safe changes
    manifest: Mapping[str, Any] | None = None  #: as it was understood, for a preview
    openapi: Mapping[str, Any] | None = None
    main: Document = Document.MANIFEST  #: which of the two the source itself is
    documents: Mapping[Document, str] = field(default_factory=dict)  #: where each comes from
    texts: Mapping[Document, str] = field(default_factory=dict)  #: as they were read
    unavailable: Sentence = NOTHING_SAID  #: why the OpenAPI document could not be had

    @property
    def text(self) -> str:
        """Of the source itself."""
        return self.texts.get(self.main, "")

    @property
    def consumers(self) -> dict[Consumer, Verdict]:
        """A verdict for each consumer that was checked."""
        verdicts = {}
        for consumer in self.checked:
            worst = max(
                (found.consumers.get(consumer, Severity.ADVICE) for found in self.findings),
                default=Severity.ADVICE,
            )
            verdicts[consumer] = {
                Severity.ERROR: Verdict.ERROR,
                Severity.WARNING: Verdict.WARNING,
                Severity.ADVICE: Verdict.OK,
            }[worst]
        return verdicts

    def of(self, severity: Severity) -> list[Finding]:
        return [found for found in self.findings if found.severity is severity]

    @property
    def has_errors(self) -> bool:
        return bool(self.of(Severity.ERROR))

    def as_json(self) -> dict[str, Any]:
        """The stable form for programs, in English in every language; they go by the rules' ids."""
        return {
            "findings": [
                {
                    "rule": found.rule,
                    "severity": found.severity.label,
                    "pointer": found.pointer,
                    "line": found.line,
                    "column": found.column,
                    "message": self.message_of(found),
                    "fix": found.fix,
                }
                for found in self.findings
            ],
            "consumers": {str(name): str(verdict) for name, verdict in self.consumers.items()},
        }

    def message_of(self, found: Finding) -> Sentence:
        """The message, which names the document if that is not the one that was given."""
        if found.document is self.main:
            return found.message
        if found.document is Document.OPENAPI:
            return _("In the OpenAPI document: %(message)s", message=found.message)
        return _("In the manifest: %(message)s", message=found.message)
