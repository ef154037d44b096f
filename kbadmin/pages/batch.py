"""What one upload sent, kept so that its page can be left and come back to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.sessions.backends.db import SessionStore
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from retrieval.models import Revision

#: How far a file in this state has come, in percent.
PROGRESS = {"queued": 0, "parsing": 10, "chunking": 30, "embedding": 50, "syncing": 85}
#: Rows drawn at once: a page that asks again every second must stay small.
ROWS_SHOWN = 100
REASONS_SHOWN = 3


@dataclass(frozen=True)
class Item:
    """One file as it was answered: accepted with an outcome, or refused with a reason."""

    name: str
    outcome: str = ""
    revision: int = 0
    refusal: str = ""


class Batch:
    """A row of the session table of its own, apart from the user's session.

    Uploads in two tabs would overwrite each other's list in a shared session, and a list of a
    thousand files is too long for an address. The key gives nobody a login: the row carries
    no authentication, and is shown only to the user who made it.
    """

    def __init__(self, store: SessionStore) -> None:
        self.store = store

    @classmethod
    def open(cls, key: str, user_id: int) -> "Batch | None":
        store = SessionStore(session_key=key or None)
        return cls(store) if store.get("uploader") == user_id else None

    @classmethod
    def create(cls, user_id: int) -> "Batch":
        store = SessionStore()
        store["uploader"] = user_id
        store["items"] = []
        store.create()
        return cls(store)

    @property
    def key(self) -> str:
        return self.store.session_key or ""

    @property
    def items(self) -> list[Item]:
        return [Item(*values) for values in self.store.get("items", [])]

    def add(self, items: Iterable[Item]) -> None:
        self.store["items"] = [
            *self.store.get("items", []),
            *([i.name, i.outcome, i.revision, i.refusal] for i in items),
        ]
        self.store.save()

    def retry(self) -> int:
        keys = [item.revision for item in self.items if item.revision]
        return Revision.objects.filter(pk__in=keys).retry()


@dataclass(frozen=True)
class Row:
    name: str
    state: str
    label: str
    reason: str = ""
    document: int = 0

    @property
    def is_unfinished(self) -> bool:
        return self.state in PROGRESS

    @property
    def is_failed(self) -> bool:
        return self.state == Revision.State.FAILED

    @property
    def progress(self) -> int:
        return PROGRESS.get(self.state, 100)


@dataclass(frozen=True)
class Report:
    rows: list[Row]
    total: int
    percent: int
    finished: int
    failed: int
    retryable: int
    done: bool
    sentence: str

    @property
    def hidden(self) -> int:
        return self.total - len(self.rows)


def describe(item: Item, revision: dict[str, Any] | None) -> Row:
    if item.refusal:
        return Row(item.name, "failed", _("refused"), item.refusal)
    if revision is None:
        return Row(item.name, "gone", _("deleted"))
    state = str(revision["state"])
    label = str(Revision.State(state).label)
    if state == Revision.State.INDEXED and item.outcome == "unchanged":
        label = _("unchanged")
    return Row(item.name, state, label, revision["failure_message"], revision["document_id"])


def report(items: list[Item], seen: int = 0, everything: bool = False) -> Report:
    """Where a batch stands.

    `seen` is the percentage that was last shown: a file that has to start again must not
    move the bar backwards.
    """
    keys = [item.revision for item in items if item.revision]
    fields = ("state", "failure_message", "document_id")
    revisions = {
        row["pk"]: row for row in Revision.objects.filter(pk__in=keys).values("pk", *fields)
    }
    pairs = [(item, describe(item, revisions.get(item.revision))) for item in items]
    rows = [row for _item, row in pairs]
    failed = [row for row in rows if row.is_failed]
    unfinished = [row for row in rows if row.is_unfinished]
    percent = sum(row.progress for row in rows) // max(len(rows), 1)
    done = not unfinished
    if done:
        sentence = summarise(pairs)
    else:
        sentence = _("%(finished)d of %(total)d files are done.") % {
            "finished": len(rows) - len(unfinished),
            "total": len(rows),
        }
    # What needs somebody comes first, then what moves; the rest is done.
    rows.sort(key=lambda row: (not row.is_failed, not row.is_unfinished, -row.progress))
    return Report(
        rows=rows if everything else rows[:ROWS_SHOWN],
        total=len(rows),
        percent=100 if done else min(max(percent, seen), 99),
        finished=len(rows) - len(unfinished),
        failed=len(failed),
        retryable=sum(1 for row in failed if row.document),
        done=done,
        sentence=sentence,
    )


def summarise(pairs: list[tuple[Item, Row]]) -> str:
    """“23 added, 2 unchanged, 1 failed: …”, with each distinct reason once."""
    outcomes = [item.outcome for item, row in pairs if not row.is_failed]
    reasons = list(dict.fromkeys(row.reason for _item, row in pairs if row.is_failed))
    failed = sum(1 for _item, row in pairs if row.is_failed)
    added, updated, unchanged, retried, duplicate = (
        outcomes.count(outcome)
        for outcome in ("added", "updated", "unchanged", "retried", "duplicate")
    )
    counted = [
        (added, ngettext("%(n)d added", "%(n)d added", added)),
        (updated, ngettext("%(n)d updated", "%(n)d updated", updated)),
        (unchanged, ngettext("%(n)d unchanged", "%(n)d unchanged", unchanged)),
        (retried, ngettext("%(n)d tried again", "%(n)d tried again", retried)),
        (
            duplicate,
            ngettext("%(n)d left out as duplicate", "%(n)d left out as duplicates", duplicate),
        ),
        (failed, ngettext("%(n)d failed", "%(n)d failed", failed)),
    ]
    parts = [text % {"n": number} for number, text in counted if number]
    sentence = pgettext("between the parts of a list", ", ").join(parts)
    shown = [reason for reason in reasons if reason][:REASONS_SHOWN]
    if not shown:
        return _("%(parts)s.") % {"parts": sentence}
    more = " …" if len(reasons) > REASONS_SHOWN else ""
    return _("%(parts)s: %(reasons)s") % {"parts": sentence, "reasons": " ".join(shown) + more}
