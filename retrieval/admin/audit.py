"""What people did in the admin, written into Django's own log beside what Django writes there."""

import json
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

#: Rows of a bulk action that an entry names; of the others it tells the number.
NAMED = 20


class Deed(models.TextChoices):
    """What Django has no words for. The values are stored: they stay."""

    RETRY = "retry", gettext_lazy("Queued again")
    CANCEL = "cancel", gettext_lazy("Cancelled")
    KEEP = "keep", gettext_lazy("Kept beside its duplicate")
    INDEX_AGAIN = "index_again", gettext_lazy("Had it indexed again")
    MOVE = "move", gettext_lazy("Moved to another collection")
    DELETE = "delete", gettext_lazy("Deleted")
    RECONCILE = "reconcile", gettext_lazy("Had Chroma compared with the database")
    REINDEX = "reindex", gettext_lazy("Started a reindex")
    REINDEX_CANCEL = "reindex_cancel", gettext_lazy("Cancelled a reindex")
    ROLLBACK = "rollback", gettext_lazy("Went back to the earlier index")
    DROP = "index_drop", gettext_lazy("Dropped an index")
    SETTINGS = "settings", gettext_lazy("Saved settings from the playground")
    RIGHT = "right", gettext_lazy("Noted as a right answer")
    NOT_RIGHT = "not_right", gettext_lazy("No longer noted as a right answer")
    STILL_RIGHT = "still_right", gettext_lazy("Kept in the golden set without its quote")
    GOLDEN_IMPORT = "golden_import", gettext_lazy("Imported into the golden set")
    EVALUATE = "evaluate", gettext_lazy("Started an evaluation")
    TRIAL = "trial", gettext_lazy("Began to compare settings")
    TRIAL_ADOPT = "trial_adopt", gettext_lazy("Switched to the settings that were compared")
    TRIAL_DISCARD = "trial_discard", gettext_lazy("Discarded the settings that were compared")
    ENABLE = "enable", gettext_lazy("Let search return it")
    DISABLE = "disable", gettext_lazy("Kept out of search")
    REJECT = "reject", gettext_lazy("Rejected")
    REOPEN = "reopen", gettext_lazy("Put back into the queue")
    ASSIGN = "assign", gettext_lazy("Assigned")
    RELEASE = "release", gettext_lazy("Given back to everybody")
    NOTE = "note", gettext_lazy("Noted")
    MERGE = "merge", gettext_lazy("Merged other questions into it")
    SPLIT = "split", gettext_lazy("Moved a wording out")
    ACCEPT = "accept", gettext_lazy("Accepted a correction")
    CONFIRM = "confirm", gettext_lazy("Made it final although others got worse")
    TAKE_BACK = "take_back", gettext_lazy("Rolled back what was accepted")
    REVOKE = "revoke", gettext_lazy("Revoked")
    DEFAULTS = "defaults", gettext_lazy("Went back to the defaults")


def some(rows: models.QuerySet[Any]) -> list[models.Model]:
    """The rows of a bulk action that will be named; read before it changes what they are."""
    return list(rows[:NAMED])


def record(
    request: HttpRequest,
    deed: Deed,
    rows: Sequence[models.Model],
    count: int | None = None,
    detail: str = "",
) -> None:
    """Write one entry: of one row with the way to it, of several (`count`) with their names."""
    if not rows:
        return
    total = len(rows) if count is None else count
    said: dict[str, Any] = {"deed": deed.value}
    if detail:
        said["detail"] = detail
    only = rows[0] if len(rows) == 1 else None
    if only is None:
        said["count"] = total
    LogEntry.objects.create(
        user_id=request.user.pk or 0,
        content_type=ContentType.objects.get_for_model(rows[0]),
        object_id=None if only is None else str(only.pk),
        object_repr=", ".join(map(str, rows))[:200],
        action_flag=CHANGE,
        change_message=json.dumps([{"did": said}], ensure_ascii=False),
    )


def sentence(entry: LogEntry) -> str:
    """What an entry tells, in the reader's language."""
    said = _deed(entry.change_message)
    if said is None:
        return entry.get_change_message() or (_("Deleted.") if entry.is_deletion() else "–")
    parts = [_label(str(said.get("deed", "")))]
    count = said.get("count")
    if isinstance(count, int):
        parts.append(ngettext("%(n)d row", "%(n)d rows", count) % {"n": count})
    if said.get("detail"):
        parts.append(str(said["detail"]))
    return pgettext("between the parts of a list", ", ").join(parts)


def _deed(message: str) -> dict[str, Any] | None:
    try:
        said = json.loads(message)[0]["did"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return said if isinstance(said, dict) else None


def _label(value: str) -> str:
    return str(Deed(value).label) if value in Deed.values else value
