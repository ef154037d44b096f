"""Rules are functions: `@rule(id, name, document, levels)` over one that yields what it found.

The docstring is the rule's documentation: what it looks for, then a paragraph that begins with
`Why:` and one that begins with `Fix:`. docs/doctor-rules.md is made of them.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plugin.doctor.subject import Subject
from plugin.doctor.types import Consumer, Document, Finding, Replacement, Severity

Levels = Mapping[Consumer, Severity]
#: No value to put in its place.
NOTHING: Any = object()


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule yields: a place, a sentence, and what differs from the rule's own words."""

    pointer: str
    message: str
    levels: Levels | None = None
    fix: str = ""
    value: Any = NOTHING  #: what can safely stand there instead
    document: Document | None = None


Check = Callable[[Subject], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    name: str
    document: Document
    levels: Levels  #: how bad it usually is, for whom
    what: str
    why: str
    fix: str
    check: Check | None = None  #: None where something else finds it: the reader, or a probe

    def finding(
        self,
        subject: Subject,
        pointer: str,
        message: str,
        *,
        levels: Levels | None = None,
        fix: str = "",
        value: Any = NOTHING,
        document: Document | None = None,
        offset: int | None = None,
        edits: tuple[Replacement, ...] = (),
    ) -> Finding:
        """A finding of this rule, with the line and column of its place."""
        document = document or self.document
        reading = subject.reading(document)
        line, column = 0, 0
        if reading is not None:
            line, column = reading.place(pointer) if offset is None else reading.position(offset)
            span = reading.spans.get(pointer)
            if value is not NOTHING and span is not None and reading.language == "json":
                text = json.dumps(value, ensure_ascii=False)
                edits = (*edits, Replacement(span.start, span.end, text))
        return Finding(
            rule=self.id,
            name=self.name,
            document=document,
            pointer=pointer,
            line=line,
            column=column,
            message=message,
            why=self.why,
            fix=fix or self.fix,
            consumers=dict(levels if levels is not None else self.levels),
            edits=edits,
        )


RULES: dict[str, Rule] = {}


def rule(id: str, name: str, document: Document, levels: Levels) -> Callable[[Check], Check]:
    """Register a function as a rule."""

    def register(check: Check) -> Check:
        _add(id, name, document, levels, inspect.getdoc(check) or "", check)
        return check

    return register


def describe(id: str, name: str, document: Document, levels: Levels, text: str) -> Rule:
    """Register a rule that is found elsewhere: while reading, or by a probe."""
    return _add(id, name, document, levels, inspect.cleandoc(text), None)


def _add(
    id: str, name: str, document: Document, levels: Levels, text: str, check: Check | None
) -> Rule:
    if id in RULES or any(known.name == name for known in RULES.values()):
        raise ValueError(f"{id} {name} is registered twice")
    what, why, fix = (
        " ".join(part.split()) for part in re.split(r"\n\s*\n(?:Why|Fix): ", text, maxsplit=2)
    )
    RULES[id] = Rule(id, name, document, levels, what, why, fix, check)
    return RULES[id]
