"""What changed between two versions of a document."""

import json
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Left

from retrieval.history import CONTEXT_LINES, Change, DiffLine, diff
from retrieval.models import Document, Revision

#: Characters and differing lines that are compared: finding the differences of longer texts
#: takes longer than anybody waits for a page.
TEXT_COMPARED = 500_000
LINES_COMPARED = 1000
LINES_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two versions of a comparison."""

    number: int
    state: str
    state_label: str
    text: str
    metadata: dict[str, Any]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    lines: list[DiffLine]
    front_matter: list[DiffLine]
    added: int
    removed: int
    is_cut: bool


def side(document: Document, number: int) -> Side | None:
    row = (
        document.revisions.filter(number=number)
        .annotate(beginning=Left("text", TEXT_COMPARED + 1))
        .values("state", "beginning", "metadata")
        .first()
    )
    if row is None:
        return None
    return Side(
        number=number,
        state=row["state"],
        state_label=str(Revision.State(row["state"]).label),
        text=row["beginning"][:TEXT_COMPARED],
        metadata=row["metadata"] if isinstance(row["metadata"], dict) else {},
        is_cut=len(row["beginning"]) > TEXT_COMPARED,
    )


def compare(old: Side, new: Side) -> Comparison:
    lines, is_cut = bounded_diff(old.text, new.text)
    front_matter, _cut = bounded_diff(fields(old.metadata), fields(new.metadata))
    return Comparison(
        lines=lines[:LINES_SHOWN],
        front_matter=front_matter,
        added=sum(line.change is Change.ADDED for line in lines),
        removed=sum(line.change is Change.REMOVED for line in lines),
        is_cut=is_cut or old.is_cut or new.is_cut or len(lines) > LINES_SHOWN,
    )


def fields(metadata: dict[str, Any]) -> str:
    return "\n".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(metadata.items())
    )


def bounded_diff(old: str, new: str) -> tuple[list[DiffLine], bool]:
    """The differing lines, and whether not all of the texts was compared.

    What both begin and end with is taken away first, so that the bound is one on what lies
    between the first change and the last.
    """
    before, after = old.split("\n"), new.split("\n")
    shorter = min(len(before), len(after))
    head = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    if head == len(before) == len(after):
        return [], False
    tail = next((n for n in range(shorter - head) if before[-1 - n] != after[-1 - n]), None)
    tail = shorter - head if tail is None else tail
    start = max(head - CONTEXT_LINES, 0)
    keep = max(tail - CONTEXT_LINES, 0)
    before, after = before[start : len(before) - keep], after[start : len(after) - keep]
    lines = list(diff("\n".join(before[:LINES_COMPARED]), "\n".join(after[:LINES_COMPARED])))
    if start and lines and lines[0].change is not Change.GAP:
        lines.insert(0, DiffLine(Change.GAP, None, None, ""))
    moved = [
        DiffLine(
            line.change,
            line.old_number and line.old_number + start,
            line.new_number and line.new_number + start,
            line.text,
        )
        for line in lines
    ]
    return moved, max(len(before), len(after)) > LINES_COMPARED
