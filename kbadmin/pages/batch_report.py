"""Where the files of one upload stand, and what became of them in one sentence."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from kbadmin.pages.batch import Item
from retrieval.admin import states
from retrieval.models import Document, Revision

#: How far a file in this state has come, in percent.
PROGRESS = {
    "queued": 0,
    "fetching": 5,
    "parsing": 10,
    "chunking": 30,
    "embedding": 50,
    "syncing": 85,
}
#: Rows drawn at once: a page that asks again every second must stay small.
ROWS_SHOWN = 100
REASONS_SHOWN = 3


@dataclass(frozen=True)
class Members:
    """The documents that came out of an archive."""

    total: int = 0
    unfinished: int = 0
    failed: int = 0
    url: str = ""


@dataclass(frozen=True)
class Row:
    name: str
    state: str
    label: str
    reason: str = ""
    document: int = 0
    members: Members | None = None
    is_duplicate: bool = False
    is_same: bool = False  #: a page that was fetched and had not changed
    key: int = 0  #: the same while the row is watched

    @property
    def is_unfinished(self) -> bool:
        return self.state in PROGRESS or bool(self.members and self.members.unfinished)

    @property
    def is_failed(self) -> bool:
        return self.state == Revision.State.FAILED

    @property
    def progress(self) -> int:
        if self.members and self.members.unfinished:
            return 50 + 50 * (self.members.total - self.members.unfinished) // self.members.total
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


def describe(
    item: Item, revision: dict[str, Any] | None, members: Members | None, alive: set[int]
) -> Row:
    if item.refusal:
        return Row(item.name, "failed", _("refused"), item.refusal)
    if revision is None and item.document in alive:
        # The page was fetched, and was the same as before.
        unchanged = Revision.State.INDEXED
        return Row(item.name, unchanged, _("unchanged"), document=item.document, is_same=True)
    if revision is None:
        return Row(item.name, "gone", _("deleted"))
    state, code = str(revision["state"]), str(revision["failure_code"])
    label = states.label(state, code)
    if state == Revision.State.INDEXED and item.outcome == "unchanged":
        label = _("unchanged")
    return Row(
        item.name,
        state,
        label,
        states.reason(state, code, revision["failure_message"]),
        revision["document_id"],
        members,
        is_duplicate=state == Revision.State.SKIPPED and code == "duplicate",
        key=item.revision,
    )


def members_of(revisions: Iterable[dict[str, Any]]) -> dict[int, Members]:
    """Document of an unpacked archive → what came out of it, in one query for all of them."""
    archives = {
        Document(pk=row["document_id"]).member_source: row["document_id"]
        for row in revisions
        if row["failure_code"] == "unpacked"
    }
    if not archives:
        return {}
    counted = (
        Document.objects.alive()
        .filter(source__in=archives)
        .order_by()
        .values("source")
        .annotate(
            total=Count("pk"),
            unfinished=Count("pk", Q(latest_revision__state__in=Revision.UNFINISHED)),
            failed=Count("pk", Q(latest_revision__state=Revision.State.FAILED)),
        )
    )
    documents = reverse("admin:retrieval_document_changelist")
    return {
        archives[row["source"]]: Members(
            row["total"],
            row["unfinished"],
            row["failed"],
            f"{documents}?{urlencode({'source': row['source']})}",
        )
        for row in counted
    }


def report(items: list[Item], seen: int = 0, everything: bool = False) -> Report:
    """Where a batch stands.

    `seen` is the percentage that was last shown: a file that has to start again must not
    move the bar backwards.
    """
    keys = [item.revision for item in items if item.revision]
    fields = ("state", "failure_code", "failure_message", "document_id")
    revisions = {
        row["pk"]: row for row in Revision.objects.filter(pk__in=keys).values("pk", *fields)
    }
    members = members_of(revisions.values())
    missing = [item.document for item in items if item.document and item.revision not in revisions]
    alive = set(Document.objects.alive().filter(pk__in=missing).values_list("pk", flat=True))
    pairs = [
        (item, describe(item, row, members.get(row["document_id"]) if row else None, alive))
        for item in items
        for row in [revisions.get(item.revision)]
    ]
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


def outcome_of(item: Item, row: Row) -> str:
    """What was left out as a duplicate may have been kept since; a page is known to be
    unchanged, or to be another's duplicate, only when it was fetched."""
    if row.is_same:
        return "unchanged"
    if row.is_duplicate:
        return "duplicate"
    return "added" if item.outcome == "duplicate" and not row.is_duplicate else item.outcome


def summarise(pairs: list[tuple[Item, Row]]) -> str:
    """“23 added, 2 unchanged, 1 failed: …”, with each distinct reason once."""
    outcomes = [outcome_of(item, row) for item, row in pairs if not row.is_failed]
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
    unpacked = sum(row.members.total for _item, row in pairs if row.members)
    taken_out = ngettext(
        "%(n)d document taken out of archives", "%(n)d documents taken out of archives", unpacked
    )
    counted.insert(-1, (unpacked, taken_out))
    parts = [text % {"n": number} for number, text in counted if number]
    sentence = pgettext("between the parts of a list", ", ").join(parts)
    shown = [reason for reason in reasons if reason][:REASONS_SHOWN]
    if not shown:
        return _("%(parts)s.") % {"parts": sentence}
    more = " …" if len(reasons) > REASONS_SHOWN else ""
    return _("%(parts)s: %(reasons)s") % {"parts": sentence, "reasons": " ".join(shown) + more}
