"""A report of the plugin doctor as its pages show it, whether made just now or kept."""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from plugin.doctor import Document, Finding, Report, Severity, Tool, Verdict
from plugin.doctor.formats import arguments
from plugin.doctor.kept import Kept
from plugin.doctor.registry import RULES

#: Of a finding's kind more are listed than anybody mends one by one.
FINDINGS_SHOWN = 100
TOOLS_SHOWN = 50

SEVERITIES = {
    Severity.ERROR: gettext_lazy("Errors"),
    Severity.WARNING: gettext_lazy("Warnings"),
    Severity.ADVICE: gettext_lazy("Advice"),
}
VERDICTS = {
    Verdict.OK: gettext_lazy("works"),
    Verdict.WARNING: gettext_lazy("works in part"),
    Verdict.ERROR: gettext_lazy("does not work"),
}
DOCUMENTS = {
    Document.MANIFEST: gettext_lazy("Manifest"),
    Document.OPENAPI: gettext_lazy("OpenAPI document"),
}


ASKED = {
    "document": gettext_lazy("Document"),
    "logo": gettext_lazy("Logo"),
    "legal": gettext_lazy("Legal page"),
    "call": gettext_lazy("Search"),
    "mcp": gettext_lazy("MCP endpoint"),
    "cors": gettext_lazy("From a browser"),
    "preflight": gettext_lazy("Preflight"),
}


@dataclass(frozen=True, slots=True)
class Place:
    message: str
    document: str
    found: Finding


@dataclass(frozen=True, slots=True)
class Item:
    """What one rule found: its reason and its remedy are said once, however many places."""

    found: Finding  #: the first one
    about: str  #: what the rule looks for; "" for one that is no more
    whom: str
    places: list[Place]


@dataclass(frozen=True, slots=True)
class Group:
    severity: str  #: or another word for what these have in common
    title: str
    count: int
    entries: list[Item]
    hidden: int


@dataclass(frozen=True, slots=True)
class Row:
    """One program of the matrix."""

    name: str
    verdict: Verdict
    label: str
    counts: str
    reason: str  #: the worst that stands in its way


@dataclass(frozen=True, slots=True)
class Card:
    """The plugin as a chat client lists it."""

    name: str
    description: str
    name_for_model: str
    contact: str
    logo: str  #: a picture in an address of its own; "" without one

    @property
    def initial(self) -> str:
        return next((letter.upper() for letter in self.name if letter.isalnum()), "?")


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as the model is told of it."""

    tool: Tool
    arguments: list[str]
    parameters: str


def groups(report: Report) -> Iterator[Group]:
    for severity, title in SEVERITIES.items():
        if found := report.of(severity):
            yield group(severity.label, str(title), found)


def group(tone: str, title: str, found: list[Finding]) -> Group:
    items: dict[tuple[str, str, str], Item] = {}
    for one in found[:FINDINGS_SHOWN]:
        whom = concerns(one)
        item = items.setdefault((one.rule, one.fix, whom), Item(one, about(one), whom, []))
        item.places.append(Place(one.message.translated, str(DOCUMENTS[one.document]), one))
    hidden = max(len(found) - FINDINGS_SHOWN, 0)
    return Group(tone, title, len(found), list(items.values()), hidden)


def about(found: Finding) -> str:
    rule = RULES.get(found.rule)
    return rule.what.translated if rule else ""


def concerns(found: Finding) -> str:
    """Whom a finding concerns as badly as it is counted."""
    names = [name.translated for name in found.affected(found.severity)]
    return pgettext("between the parts of a list", ", ").join(names)


def matrix(report: Report) -> Iterator[Row]:
    for consumer, verdict in report.consumers.items():
        levels = [
            (found.consumers[consumer], report.message_of(found))
            for found in report.findings
            if consumer in found.consumers
        ]
        worst = max(levels, key=lambda level: level[0], default=None)
        counted = []
        errors = sum(level is Severity.ERROR for level, _message in levels)
        warnings = sum(level is Severity.WARNING for level, _message in levels)
        if errors:
            counted.append(ngettext("%(n)d error", "%(n)d errors", errors) % {"n": errors})
        if warnings:
            counted.append(ngettext("%(n)d warning", "%(n)d warnings", warnings) % {"n": warnings})
        yield Row(
            name=consumer.label.translated,
            verdict=verdict,
            label=str(VERDICTS[verdict]),
            counts=pgettext("between the parts of a list", ", ").join(counted),
            reason=worst[1].translated if worst and worst[0] is not Severity.ADVICE else "",
        )


def card(kept: Kept) -> Card | None:
    """None where nothing of a plugin could be read."""

    def text(holder: Any, *names: str) -> str:
        found = (holder.get(name) for name in names) if isinstance(holder, dict) else ()
        return next((each for each in found if isinstance(each, str) and each.strip()), "")

    report = kept.report
    if report.manifest:
        fields = report.manifest
        logo = base64.b64encode(kept.logo).decode() if kept.logo else ""
        return Card(
            name=text(fields, "name_for_human", "name_for_model") or _("without a name"),
            description=text(fields, "description_for_human", "description_for_model"),
            name_for_model=text(fields, "name_for_model"),
            contact=text(fields, "contact_email"),
            logo=f"data:image/png;base64,{logo}" if logo else "",
        )
    if report.openapi:
        info = report.openapi.get("info")
        return Card(
            name=text(info, "title") or _("without a name"),
            description=text(info, "description", "summary"),
            name_for_model="",
            contact="",
            logo="",
        )
    return None


def tools(report: Report) -> list[Offered]:
    return [
        Offered(
            tool,
            arguments(tool.parameters),
            json.dumps(tool.parameters, ensure_ascii=False, indent=2),
        )
        for tool in report.tools[:TOOLS_SHOWN]
    ]


def headline(report: Report) -> str:
    counts = {severity: len(report.of(severity)) for severity in Severity}
    errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
    if errors:
        return ngettext("%(n)d error to mend", "%(n)d errors to mend", errors) % {"n": errors}
    if warnings:
        return ngettext("No error, %(n)d warning", "No error, %(n)d warnings", warnings) % {
            "n": warnings
        }
    return _("Right for every program")


def worst_of(verdicts: Iterable[str]) -> Verdict:
    """The worst of them; ok without any."""
    found = {*verdicts, Verdict.OK}
    return next(one for one in (Verdict.ERROR, Verdict.WARNING, Verdict.OK) if one in found)


def shown(kept: Kept) -> dict[str, Any]:
    report = kept.report
    return {
        "report": report,
        "headline": headline(report),
        "state": worst_of(report.consumers.values()),
        "groups": list(groups(report)),
        "matrix": list(matrix(report)),
        "card": card(kept),
        "exchanges": [(str(ASKED[one.what]), one) for one in kept.exchanges],
        "tools": tools(report),
        "tools_hidden": max(len(report.tools) - TOOLS_SHOWN, 0),
        "mended": [(str(DOCUMENTS[name]), name, text) for name, text in report.mended.items()],
        "addresses": [
            (str(DOCUMENTS[name]), address) for name, address in report.documents.items()
        ],
    }
