"""What the doctor says of an identity: of each field, of the rest, and for whom it breaks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from django.utils.translation import pgettext

from kbadmin.pages import doctor_report
from plugin.doctor import Consumer, Document, Finding, Report, Severity, Verdict, examine
from plugin.doctor.kept import Kept
from plugin.doctor.sources import check_own
from plugin.editing import field_at, ready_text
from plugin.identity import Identity
from plugin.openapi import ACTIONS, AUDIENCES, NEXTCHAT, document

#: Who reads what is below a mount.
READERS = {NEXTCHAT: (Consumer.NEXTCHAT,), ACTIONS: (Consumer.GPT_ACTIONS,)}


@dataclass(frozen=True, slots=True)
class Said:
    """A finding as it stands beside a field, or in the list of the others."""

    found: Finding
    message: str
    whom: str
    ready: str | None  #: what can safely stand there instead
    places: list[str] = field(default_factory=list)

    @property
    def severity(self) -> str:
        return self.found.severity.label


@dataclass(frozen=True)
class Judgement:
    report: Report  #: with what was found for any audience
    placed: tuple[tuple[str, Finding], ...]  #: each finding with its field; "" if it has none

    @cached_property
    def of_fields(self) -> dict[str, list[Said]]:
        fields: dict[str, list[Said]] = {}
        for name, found in self.placed:
            one = said(found, ready_text(found))
            if name and one.message not in {other.message for other in fields.get(name, [])}:
                fields.setdefault(name, []).append(one)
        return fields

    @cached_property
    def elsewhere(self) -> list[Said]:
        """What no field here can mend: most of it is a matter of settings."""
        listed: dict[tuple[str, str], Said] = {}
        for name, found in self.placed:
            if not name:
                one = said(found, None)
                listed.setdefault((found.rule, one.message), one).places.append(found.pointer)
        return list(listed.values())

    def breaks(self, served: "Judgement") -> str:
        """The programs for which it would stop working that work with what is served; ""
        if none."""
        known = {_fault(*one) for one in served.placed}
        whom = {
            name.translated
            for place, found in self.placed
            if found.severity is Severity.ERROR and _fault(place, found) not in known
            for name in found.affected(Severity.ERROR)
        }
        return pgettext("between the parts of a list", ", ").join(sorted(whom))

    def shown(self, logo: str) -> dict[str, Any]:
        """What the panel is made of; `logo` is the address of a picture."""
        card = doctor_report.card(Kept(self.report, (), None))
        verdicts = set(self.report.consumers.values())
        worst = (Verdict.ERROR, Verdict.WARNING, Verdict.OK)
        return {
            "judgement": self,
            "headline": doctor_report.headline(self.report),
            "state": next((verdict for verdict in worst if verdict in verdicts), Verdict.OK),
            "matrix": list(doctor_report.matrix(self.report)),
            "card": replace(card, logo=logo) if card else None,
        }


def said(found: Finding, ready: str | None) -> Said:
    return Said(found, found.message.translated, doctor_report.concerns(found), ready)


def _fault(place: str, found: Finding) -> tuple[str, str, str, str, bool]:
    is_error = found.severity is Severity.ERROR
    return (place, found.rule, str(found.document), found.pointer, is_error)


def judge(identity: Identity) -> Judgement:
    """By the static rules, for every audience: no network."""
    report = check_own(identity=identity)
    placed = [(field_at(found.document, found.pointer), found) for found in report.findings]
    more = list(_below_mounts(identity))
    findings = (*report.findings, *(found for _name, found in more))
    by_severity = sorted(findings, key=lambda found: -found.severity)
    return Judgement(replace(report, findings=tuple(by_severity)), (*placed, *more))


def _below_mounts(identity: Identity) -> Iterator[tuple[str, Finding]]:
    """What is said of operations that one program alone is offered, in another way."""
    for name, audience in AUDIENCES.items():
        if not audience.mount:
            continue
        text = json.dumps(document(name, identity), ensure_ascii=False)
        readers = READERS.get(audience.mount, tuple(Consumer))
        for found in examine(text, expect=Document.OPENAPI, consumers=readers).findings:
            place = field_at(found.document, found.pointer, audience.mount)
            if place.startswith("operation-"):
                yield place, found
