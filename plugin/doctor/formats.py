"""Reports as text for people, as JSON for programs, as SARIF for code hosts."""

import json
from collections.abc import Sequence
from typing import Any

from plugin.doctor.registry import RULES, Rule
from plugin.doctor.types import Consumer, Document, Finding, Report, Severity, Verdict

SARIF_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.ADVICE: "note"}
SARIF_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

ROOMS = {
    "1": "KB1xx: text and manifest",
    "2": "KB2xx: OpenAPI document",
    "3": "KB3xx: NextChat",
    "4": "KB4xx: GPT Actions",
    "5": "KB5xx: LangChain",
    "6": "KB6xx: MCP",
    "7": "KB7xx: what the servers answer",
}
RULES_HEAD = """# Rules of the plugin doctor

`manage.py validate_manifest SOURCE` checks a plugin manifest and its OpenAPI document with these
rules. An error means that a program will not work with it, a warning that it works in part or not
for everybody, advice that it could be better. The same fault can be an error for one program and
nothing to another: the last column names the worst that a rule says, and of whom.

A rule's id stays what it is; its words may become better. They are English for programs, in text,
JSON and SARIF, whatever language is active; the admin's page says them in the reader's language.

This page is made of the rules: `manage.py validate_manifest --rules > docs/doctor-rules.md`.
"""


def as_text(report: Report) -> str:
    """A report for people, the worst first."""
    lines = [report.source, ""]
    for severity in sorted(Severity, reverse=True):
        for found in report.of(severity):
            place = f"{found.line}:{found.column}" if found.line else ""
            lines.append(
                f"{severity.label.upper():<8} {found.rule} {found.name}  "
                f"{place} {found.pointer}".rstrip()
            )
            lines.append(f"         {report.message_of(found)}")
            lines.append(f"         Why: {found.why}")
            lines.append(f"         Fix: {found.fix}")
            lines.append("")
    counts = ", ".join(
        f"{len(report.of(severity))} {severity.label}{'' if severity is Severity.ADVICE else 's'}"
        for severity in sorted(Severity, reverse=True)
    )
    lines.append(counts)
    for consumer, verdict in report.consumers.items():
        mark = {Verdict.OK: "ok", Verdict.WARNING: "warning", Verdict.ERROR: "ERROR"}[verdict]
        lines.append(f"  {consumer.label:<28} {mark}")
    if report.tools:
        lines += ["", "Tools as NextChat's model sees them:"]
        for tool in report.tools:
            lines.append(f"  {tool.name}({', '.join(arguments(tool.parameters))})")
            if tool.description:
                lines.append(f"    {' '.join(tool.description.split())[:200]}")
    return "\n".join(lines) + "\n"


def arguments(schema: Any) -> list[str]:
    """The parameters of a tool, the optional ones with a question mark."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    required = schema.get("required") if isinstance(schema, dict) else None
    named = required if isinstance(required, list) else []
    return [
        name if name in named else f"{name}?"
        for name in (properties if isinstance(properties, dict) else {})
    ]


def as_json(reports: Sequence[Report]) -> str:
    """One report as it is; several as a list, each with its source."""
    body: Any
    if len(reports) == 1:
        body = reports[0].as_json()
    else:
        body = [{"source": report.source, **report.as_json()} for report in reports]
    return json.dumps(body, ensure_ascii=False, indent=2) + "\n"


def as_sarif(reports: Sequence[Report]) -> str:
    """SARIF 2.1.0, one run."""
    used = sorted({found.rule for report in reports for found in report.findings})
    rules = [
        {
            "id": RULES[rule].id,
            "name": RULES[rule].name,
            "shortDescription": {"text": RULES[rule].what},
            "fullDescription": {"text": RULES[rule].why},
            "help": {"text": RULES[rule].fix},
        }
        for rule in used
    ]
    results = [
        {
            "ruleId": found.rule,
            "ruleIndex": used.index(found.rule),
            "level": SARIF_LEVELS[found.severity],
            "message": {"text": f"{report.message_of(found)} {found.fix}"},
            "locations": [location(report, found)],
            "properties": {
                "consumers": {str(name): level.label for name, level in found.consumers.items()}
            },
        }
        for report in reports
        for found in report.findings
    ]
    body = {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "kbadmin plugin doctor", "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }
    return json.dumps(body, ensure_ascii=False, indent=2) + "\n"


def rules_as_markdown() -> str:
    """The page of all rules, docs/doctor-rules.md."""
    lines = [RULES_HEAD]
    for first, title in ROOMS.items():
        inside = [
            found
            for found in sorted(RULES.values(), key=lambda rule: rule.id)
            if found.id[2] == first
        ]
        if not inside:
            continue
        lines += [
            f"## {title}",
            "",
            "| rule | what it finds | why it matters | how to mend it | at most |",
            "|---|---|---|---|---|",
        ]
        for found in inside:
            cells = (found.what, found.why, found.fix, levels_in_words(found))
            shown = " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
            lines.append(f"| **{found.id}** {found.name} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def levels_in_words(rule: Rule) -> str:
    """`error` for whom, `warning` for whom."""
    parts = []
    for severity in sorted(Severity, reverse=True):
        named = [str(name) for name in Consumer if rule.levels.get(name) is severity]
        if named:
            whom = "all" if len(named) == len(Consumer) else ", ".join(named)
            parts.append(f"{severity.label}: {whom}")
    return "; ".join(parts)


def location(report: Report, found: Finding) -> dict[str, Any]:
    address = report.documents.get(found.document) or report.source
    physical: dict[str, Any] = {"artifactLocation": {"uri": address.replace(" ", "%20")}}
    if found.line:
        physical["region"] = {"startLine": found.line, "startColumn": found.column}
    kind = "manifest" if found.document is Document.MANIFEST else "OpenAPI document"
    return {
        "physicalLocation": physical,
        "logicalLocations": [{"fullyQualifiedName": found.pointer or "/", "kind": kind}],
    }
