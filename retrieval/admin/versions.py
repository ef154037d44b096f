"""The versions of one document: who brought them, and how long each stage took."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from django.utils.translation import pgettext_lazy

from retrieval.admin.states import state_badge
from retrieval.models import Document, Revision

#: Entries of the admin's log that are looked at.
ENTRIES_READ = 200

#: What happens from one moment to the next: (field of its begin, its name).
STAGES = (
    ("created_at", pgettext_lazy("stage", "waiting")),
    ("parsing_at", pgettext_lazy("stage", "parsing")),
    ("chunking_at", pgettext_lazy("stage", "chunking")),
    ("embedding_at", pgettext_lazy("stage", "embedding")),
    ("syncing_at", pgettext_lazy("stage", "syncing")),
)


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    began: datetime
    seconds: float
    running: bool
    percent: int  #: of the whole time

    @property
    def duration(self) -> str:
        if self.seconds < 60:
            return f"{self.seconds:.1f} s" if self.seconds >= 0.1 else "< 0.1 s"
        return str(timedelta(seconds=round(self.seconds)))


def timeline(revision: Revision) -> list[Stage]:
    """The stages of the last attempt. A stage that an earlier attempt reached is left out."""
    begins: list[tuple[str, datetime]] = []
    for field, name in STAGES:
        began = getattr(revision, field)
        if began is not None and (not begins or began >= begins[-1][1]):
            begins.append((str(name), began))
    if revision.state == Revision.State.QUEUED:
        # Whatever an attempt before it reached counts no more.
        begins = [(str(STAGES[0][1]), revision.state_at)]
    end = revision.finished_at or timezone.now()
    if not begins or (revision.finished_at and revision.finished_at < begins[-1][1]):
        return []
    ends = [began for _name, began in begins[1:]] + [end]
    whole = max((end - begins[0][1]).total_seconds(), 0.001)
    return [
        Stage(
            name=name,
            began=began,
            seconds=(until - began).total_seconds(),
            running=revision.is_unfinished and began == begins[-1][1],
            percent=round(100 * (until - began).total_seconds() / whole),
        )
        for (name, began), until in zip(begins, ends, strict=True)
    ]


# --- Who ------------------------------------------------------------------------------------


def record(user_id: int, revisions: list[Revision]) -> None:
    """Write into the admin's log that somebody brought these versions."""
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=user_id,
            content_type=ContentType.objects.get_for_model(Document),
            object_id=str(revision.document_id),
            object_repr=str(revision.document)[:200],
            action_flag=ADDITION if revision.number == 1 else CHANGE,
            change_message=json.dumps(
                [{"added": {"name": "revision", "object": f"#{revision.number}"}}]
            ),
        )
        for revision in revisions
    )


def authors(document: Document) -> dict[int, str]:
    """Number of a version → who brought it, where a person did."""
    entries = (
        LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(Document), object_id=str(document.pk)
        )
        .select_related("user")
        .order_by("-action_time")[:ENTRIES_READ]
    )
    found: dict[int, str] = {}
    for entry in entries:
        number = version_in(entry.change_message)
        if number is not None:
            found.setdefault(number, str(entry.user))
    return found


def version_in(message: str) -> int | None:
    try:
        number = json.loads(message)[0]["added"]["object"].removeprefix("#")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
    return int(number) if number.isdecimal() else None


def same_bytes(revisions: list[Revision]) -> dict[int, int]:
    """Number of a version → the newest earlier one that has the same bytes."""
    seen: dict[str, int] = {}
    same: dict[int, int] = {}
    for revision in sorted(revisions, key=lambda revision: revision.number):
        if revision.content_hash in seen:
            same[revision.number] = seen[revision.content_hash]
        seen[revision.content_hash] = revision.number
    return same


@dataclass(frozen=True, slots=True)
class Listed:
    """A version as the list shows it."""

    row: Revision
    badge: str
    author: str
    same: int | None  #: number of an earlier version with the same bytes
    previous: int | None  #: number of the version before it


def listed(document: Document, revisions: list[Revision]) -> list[Listed]:
    """`revisions` come newest first."""
    who, same = authors(document), same_bytes(revisions)
    numbers = [revision.number for revision in revisions]
    return [
        Listed(
            row=revision,
            badge=state_badge(revision),
            author=who.get(revision.number, ""),
            same=same.get(revision.number),
            previous=previous,
        )
        for revision, previous in zip(revisions, [*numbers[1:], None], strict=False)
    ]
