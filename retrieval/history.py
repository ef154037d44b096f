"""The versions of a document: what changed between two, and the way back to any."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.db import transaction
from django.utils import timezone

from retrieval.exceptions import InvalidRequest
from retrieval.models import Document, Revision
from retrieval.models.revision import unstaged
from retrieval.tasks import notify

#: Unchanged lines that are shown around a change.
CONTEXT_LINES = 3


class Change(StrEnum):
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"
    GAP = "gap"  #: unchanged lines are left out here


@dataclass(frozen=True, slots=True)
class DiffLine:
    change: Change
    old_number: int | None  #: line in the older text, from 1
    new_number: int | None
    text: str


def diff(old: str, new: str) -> Iterator[DiffLine]:
    """The lines that differ between two texts, with a little context around them."""
    before, after = old.split("\n"), new.split("\n")
    # Blank lines all match each other, which made long texts take minutes.
    matcher = difflib.SequenceMatcher(_is_blank, before, after, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(CONTEXT_LINES)):
        if number or group[0][1] > 0:
            yield DiffLine(Change.GAP, None, None, "")
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                for offset in range(i2 - i1):
                    yield DiffLine(
                        Change.SAME, i1 + offset + 1, j1 + offset + 1, before[i1 + offset]
                    )
                continue
            for line in range(i1, i2):
                yield DiffLine(Change.REMOVED, line + 1, None, before[line])
            for line in range(j1, j2):
                yield DiffLine(Change.ADDED, None, line + 1, after[line])


def _is_blank(line: str) -> bool:
    return not line.strip()


def restore(document: Document, number: int) -> Revision:
    """Go back to an earlier version: its bytes become the newest one, and history is kept.

    Nothing is embedded again, since every vector is kept with the hash of its text.

    Raises InvalidRequest if the document has no such version, or it is the newest already.
    """
    with transaction.atomic():
        locked = Document.objects.select_for_update(of=("self",)).get(pk=document.pk)
        wanted = Revision.objects.filter(document=locked, number=number).first()
        if wanted is None:
            raise InvalidRequest(f"{document.external_id} has no version {number}.")
        latest = locked.latest_revision
        if latest is not None and latest.pk == wanted.pk:
            raise InvalidRequest(f"Version {number} is the newest one already.")
        Revision.objects.filter(document=locked).unfinished().supersede(timezone.now())
        revision = Revision.objects.create(
            document=locked,
            number=locked.next_number(),
            filename=wanted.filename,
            original=wanted.original.name,
            size=wanted.size,
            content_hash=wanted.content_hash,
            # Asked for by name, so it is not kept out of search for being like another.
            options={**unstaged(wanted.options), "keep_duplicate": True},
        )
        locked.latest_revision = revision
        locked.save(update_fields=["latest_revision", "updated_at"])
        notify()
    return revision
