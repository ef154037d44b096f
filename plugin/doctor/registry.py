"""Rules are functions: `@rule(…)` over one that yields what it found.

What a rule says of itself, in `what`, `why` and `fix`, is its documentation: docs/doctor-rules.md
is made of it. All that is said is a `Sentence`, English to programs and in people's own language
on the page.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plugin.doctor.subject import Subject
from plugin.doctor.types import Consumer, Document, Finding, Replacement, Severity
from retrieval.sentences import Sentence

Levels = Mapping[Consumer, Severity]
#: No value to put in its place.
NOTHING: Any = object()


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule yields: a place, a sentence, and what differs from the rule's own words."""

    pointer: str
    message: Sentence
    levels: Levels | None = None
    fix: Sentence | None = None
    value: Any = NOTHING  #: what can safely stand there instead
    document: Document | None = None


Check = Callable[[Subject], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that can be wrong with a plugin, and what to say of it."""

    id: str
    name: str
    document: Document
    levels: Levels  #: how bad it usually is, for whom
    what: Sentence
    why: Sentence
    fix: Sentence
    check: Check | None = None  #: None where something else finds it: the reader, or a probe

    def finding(
        self,
        subject: Subject,
        pointer: str,
        message: Sentence,
        *,
        levels: Levels | None = None,
        fix: Sentence | None = None,
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


def rule(
    id: str,
    name: str,
    document: Document,
    levels: Levels,
    *,
    what: Sentence,
    why: Sentence,
    fix: Sentence,
) -> Callable[[Check], Check]:
    """Register a function as a rule: what it finds, why that matters, how to mend it."""

    def register(check: Check) -> Check:
        _add(Rule(id, name, document, levels, what, why, fix, check))
        return check

    return register


def describe(
    id: str,
    name: str,
    document: Document,
    levels: Levels,
    *,
    what: Sentence,
    why: Sentence,
    fix: Sentence,
) -> Rule:
    """Register a rule that is found elsewhere: while reading, or by a probe."""
    return _add(Rule(id, name, document, levels, what, why, fix))


def _add(added: Rule) -> Rule:
    if added.id in RULES or any(known.name == added.name for known in RULES.values()):
        raise ValueError(f"{added.id} {added.name} is registered twice")
    RULES[added.id] = added
    return added
