"""Reports as data that a database can hold, and back."""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plugin.doctor.exchanges import Told
from plugin.doctor.types import (
    Consumer,
    Document,
    Finding,
    Replacement,
    Report,
    Severity,
    Tool,
)
from retrieval.sentences import Sentence

#: What is kept of a report beside its texts: hardly anybody reads more.
FINDINGS, TOOLS, EXCHANGES = 500, 50, 60
#: Characters of the schemas of all tools; beyond it their names are kept.
SCHEMAS = 500_000
#: What of a finding can be said in another language later.
SENTENCES = ("message", "why", "fix")
#: What a preview shows of the two documents.
MANIFEST_FIELDS = (
    "name_for_human",
    "name_for_model",
    "description_for_human",
    "description_for_model",
    "contact_email",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is to show of a check, whether it was made just now or long ago."""

    report: Report
    exchanges: tuple[Told, ...]
    logo: bytes | None


def to_data(kept: Kept) -> dict[str, Any]:
    """Everything but the texts of the documents, as JSON."""
    report = kept.report
    info = report.openapi.get("info") if report.openapi else None
    data: dict[str, Any] = {
        "findings": [_of_finding(found) for found in report.findings[:FINDINGS]],
        "checked": [str(consumer) for consumer in report.checked],
        "tools": _of_tools(report.tools[:TOOLS]),
        "mended": {str(name): text for name, text in report.mended.items()},
        "manifest": _strings(report.manifest, MANIFEST_FIELDS),
        "openapi": (
            None
            if report.openapi is None
            else _strings(info if isinstance(info, dict) else {}, ("title", "description"))
        ),
        "main": str(report.main),
        "documents": {str(name): address for name, address in report.documents.items()},
        "unavailable": report.unavailable.as_data(),
        "exchanges": [
            {**{name: getattr(one, name) for name in Told.__slots__}, "error": one.error.as_data()}
            for one in kept.exchanges[:EXCHANGES]
        ],
        "logo": base64.b64encode(kept.logo).decode() if kept.logo else "",
    }
    cleaned: dict[str, Any] = _clean(data)
    return cleaned


def from_data(data: Mapping[str, Any], source: str, texts: Mapping[Document, str]) -> Kept:
    report = Report(
        source=source,
        findings=tuple(map(finding_of, data["findings"])),
        checked=tuple(map(Consumer, data["checked"])),
        tools=tuple(Tool(**one) for one in data["tools"]),
        mended={Document(name): text for name, text in data["mended"].items()},
        manifest=data["manifest"],
        openapi=None if data["openapi"] is None else {"info": data["openapi"]},
        main=Document(data["main"]),
        documents={Document(name): address for name, address in data["documents"].items()},
        texts=dict(texts),
        unavailable=Sentence.from_data(data["unavailable"]),
    )
    exchanges = tuple(map(told_of, data["exchanges"]))
    return Kept(report, exchanges, base64.b64decode(data["logo"]) or None)


def told_of(data: Mapping[str, Any]) -> Told:
    error = {"error": Sentence.from_data(data["error"])} if "error" in data else {}
    return Told(**{**data, **error})


def finding_of(data: Mapping[str, Any]) -> Finding:
    consumers = {Consumer(name): Severity(level) for name, level in data["consumers"].items()}
    edits = tuple(Replacement(*edit) for edit in data["edits"])
    document = Document(data["document"])
    said = {name: Sentence.from_data(data[name]) for name in SENTENCES}
    more = {"document": document, "consumers": consumers, "edits": edits}
    return Finding(**{**data, **said, **more})


def clean(text: str) -> str:
    """Text that every database holds: half a pair of surrogates or NUL becomes something else."""
    text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "\ufffd")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _of_finding(found: Finding) -> dict[str, Any]:
    data = {name: getattr(found, name) for name in Finding.__slots__}
    data |= {name: data[name].as_data() for name in SENTENCES}
    data["consumers"] = {str(name): int(level) for name, level in found.consumers.items()}
    data["edits"] = [(edit.start, edit.end, edit.text) for edit in found.edits]
    return data


def _of_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    room = SCHEMAS
    kept = []
    for tool in tools:
        room -= len(json.dumps(tool.parameters, ensure_ascii=False, default=str))
        short = tool if room >= 0 else replace(tool, parameters={})
        kept.append({name: getattr(short, name) for name in Tool.__slots__})
    return kept


def _strings(holder: Mapping[str, Any] | None, names: Iterable[str]) -> dict[str, str] | None:
    if holder is None:
        return None
    return {name: holder[name] for name in names if isinstance(holder.get(name), str)}
