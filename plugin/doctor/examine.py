"""Documents → a report: every rule over what could be read. Pure: no network, no settings."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from urllib.parse import urljoin

from plugin.doctor import rules  # noqa: F401 - registers them
from plugin.doctor.reading import Reading, read
from plugin.doctor.registry import RULES, Levels
from plugin.doctor.rules.levels import ERROR, LANGCHAIN, NEXTCHAT, WARNING, everybody
from plugin.doctor.subject import Subject, is_absolute
from plugin.doctor.tools import ImportFails, nextchat_tools
from plugin.doctor.types import (
    NOTHING_SAID,
    Consumer,
    Document,
    Finding,
    Report,
    Severity,
    Tool,
)
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

#: Findings of one rule: a document that is generated repeats its faults.
MAX_FINDINGS = 100


def examine(
    data: bytes | str,
    *,
    openapi: bytes | str | None = None,
    address: str = "",
    openapi_address: str = "",
    source: str = "",
    expect: Document | None = None,
    consumers: Iterable[Consumer] = tuple(Consumer),
    more: Iterable[Finding] = (),
    unavailable: Sentence = NOTHING_SAID,
) -> Report:
    """Check a manifest, an OpenAPI document, or one that is both; never raises for its content.

    `openapi` is the document that a manifest names; without it only the manifest is judged.
    `address` is where `data` is served, if that is known. `more` are findings of others, such
    as live probes, to be reported with these.
    """
    subject, main = understand(
        data, openapi=openapi, address=address, openapi_address=openapi_address, expect=expect
    )
    chosen = tuple(dict.fromkeys(consumers))
    found = [*findings(subject, bool(unavailable)), *more]
    kept = [seen for one in found if (seen := one.only_for(frozenset(chosen)))]
    return Report(
        source=source or address,
        findings=tuple(
            sorted(
                kept,
                key=lambda one: (
                    -one.severity,
                    one.document is not main,
                    one.line,
                    one.column,
                    one.rule,
                    one.pointer,
                ),
            )
        ),
        checked=chosen,
        tools=tuple(tools_of(subject)),
        mended={
            document: text
            for document in Document
            if (text := mended(subject, document, found)) is not None
        },
        manifest=subject.fields or None,
        openapi=subject.spec or None,
        main=main,
        documents={
            document: reading.address
            for document in Document
            if (reading := subject.reading(document)) and reading.address
        },
        texts=texts(subject),
        unavailable=unavailable,
    )


def understand(
    data: bytes | str,
    *,
    openapi: bytes | str | None = None,
    address: str = "",
    openapi_address: str = "",
    expect: Document | None = None,
) -> tuple[Subject, Document]:
    """What the documents are, and which of the two `data` is."""
    reading = read(data, address=address, expect=expect or Document.OPENAPI)
    kinds = reading.kinds()
    if expect is None:
        expect = Document.OPENAPI if kinds == {Document.OPENAPI} else Document.MANIFEST
        if expect is Document.MANIFEST:
            reading = read(data, address=address, expect=expect)
    if expect is Document.OPENAPI:
        return Subject(None, reading, address), expect
    second = reading if Document.OPENAPI in kinds else None
    if openapi is not None:
        second = read(openapi, address=openapi_address, expect=Document.OPENAPI)
    return Subject(reading, second, address), expect


def texts(subject: Subject) -> dict[Document, str]:
    """What was read; a document that is both stands there once."""
    found = {
        document: reading.text for document in Document if (reading := subject.reading(document))
    }
    if subject.manifest is not None and subject.openapi is subject.manifest:
        del found[Document.OPENAPI]
    return found


def api_address(subject: Subject) -> str:
    """Where the OpenAPI document is, as the manifest says; "" where it does not."""
    api = subject.fields.get("api")
    url = api.get("url") if isinstance(api, dict) else None
    if not isinstance(url, str) or not url.strip():
        return ""
    whole = urljoin(subject.address, url.strip()) if subject.address else url.strip()
    return whole if is_absolute(whole) else ""


def findings(subject: Subject, is_unavailable: bool = False) -> Iterator[Finding]:
    """What the rules find in both documents; nothing is asked for."""
    for document in Document:
        reading = subject.reading(document)
        if reading is None or (document is Document.OPENAPI and reading is subject.manifest):
            continue
        yield from text_findings(subject, document, reading)
    judged = set()
    if subject.manifest is not None and subject.manifest.is_readable:
        if isinstance(subject.manifest.value, dict):
            judged.add(Document.MANIFEST)
        else:
            yield RULES["KB126"].finding(subject, "", _("The document is no JSON object."))
    if subject.openapi is not None and subject.openapi.is_readable:
        if Document.OPENAPI in subject.openapi.kinds():
            judged.add(Document.OPENAPI)
        else:
            is_manifest = Document.MANIFEST in subject.openapi.kinds()
            said = (
                _("This is a plugin manifest: openapi and paths are missing.")
                if is_manifest
                else _("This is no OpenAPI document: openapi and paths are missing.")
            )
            yield RULES["KB202"].finding(subject, "", said)
    if subject.openapi is None and not is_unavailable:
        yield RULES["KB205"].finding(subject, "", _("Only the manifest was looked at."))
    is_swagger = "swagger" in subject.spec and "openapi" not in subject.spec
    for rule in RULES.values():
        if rule.check is None or rule.document not in judged:
            continue
        if is_swagger and rule.document is Document.OPENAPI and rule.id != "KB203":
            continue  # everything stands elsewhere in it
        for found in islice(rule.check(subject), MAX_FINDINGS):
            yield rule.finding(
                subject,
                found.pointer,
                found.message,
                levels=found.levels,
                fix=found.fix,
                value=found.value,
                document=found.document,
            )


def text_findings(subject: Subject, document: Document, reading: Reading) -> Iterator[Finding]:
    """Faults of the text, those of one rule together: a file in single quotes has hundreds."""
    first: dict[str, list[int]] = {}
    for number, fault in enumerate(reading.faults):
        first.setdefault(fault.rule, []).append(number)
    for rule_id, numbers in first.items():
        faults = [reading.faults[number] for number in numbers]
        said = faults[0].message
        if len(faults) > 1:
            said = _("%(message)s (and %(number)s more)", message=said, number=len(faults) - 1)
        yield RULES[rule_id].finding(
            subject,
            faults[0].pointer,
            said,
            levels=text_levels(rule_id, document, reading),
            document=document,
            offset=faults[0].offset,
            edits=tuple(fault.edit for fault in faults if fault.edit),
        )


def text_levels(rule_id: str, document: Document, reading: Reading) -> Levels:
    """The rules of texts speak of manifests; in an OpenAPI document they mean others."""
    levels = RULES[rule_id].levels
    if document is Document.OPENAPI:
        if rule_id in {"KB105", "KB110"}:
            return dict.fromkeys((Consumer.CHATGPT, Consumer.GPT_ACTIONS, NEXTCHAT), WARNING)
        if RULES[rule_id].document is Document.MANIFEST and ERROR in levels.values():
            return everybody(ERROR)
        return levels
    if rule_id in {"KB119", "KB120", "KB121", "KB123", "KB125"}:
        # Nobody but these reads manifests.
        return dict.fromkeys((Consumer.CHATGPT, LANGCHAIN), Severity.ERROR)
    return levels


def tools_of(subject: Subject) -> Iterator[Tool]:
    """The tools that NextChat's model sees; none where its import fails."""
    reading = subject.openapi
    if reading is None or Document.OPENAPI not in reading.kinds():
        return
    if any(fault.rule == "KB125" for fault in reading.faults):
        return
    with suppress(ImportFails):
        yield from (one.tool for one in nextchat_tools(subject.spec))


def mended(subject: Subject, document: Document, found: list[Finding]) -> str | None:
    """The text with every safe change; None where there is none to make."""
    reading = subject.reading(document)
    edits = tuple(edit for one in found if one.document is document for edit in one.edits)
    starts_badly = reading is not None and any(fault.rule == "KB105" for fault in reading.faults)
    if reading is None or not (edits or starts_badly):
        return None
    return reading.mended(edits)
