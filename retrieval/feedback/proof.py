"""What an acceptance changes: asked as if it were searched already, kept, and judged.

What makes no other golden question worse goes live by itself. The worker does it, under a lease on
the acceptance's row. Asking changes nothing, and each step is written only where the row is still
in the state that it was read in, so a kill costs no more than asking again.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from retrieval.exceptions import ReviewConflict
from retrieval.feedback import acceptance as acceptances
from retrieval.feedback import staging
from retrieval.feedback.measuring import Measured, golden_near, measure
from retrieval.leases import free_of_others
from retrieval.models import Acceptance, Alias, ReviewItem, Revision

logger = logging.getLogger(__name__)

Kind, State = Acceptance.Kind, Acceptance.State
#: Acceptances that are looked at in one step: others may wait for their documents.
LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class Line:
    """A question of the group before and after, as pages show it."""

    question: str
    rank_before: int | None
    rank_after: int | None
    score_before: float | None
    score_after: float | None
    confidence_before: str
    confidence_after: str

    @property
    def is_better(self) -> bool:
        return (self.rank_after or 99) < (self.rank_before or 99) or (
            self.rank_after == self.rank_before
            and (self.score_after or 0) > (self.score_before or 0)
        )


def lines(acceptance: Acceptance, after: dict[str, Any] | None = None) -> list[Line]:
    """The proof, question by question: where the right answer stood and stands, with its score.

    For a hidden passage it is where that one stood. `after` may be `acceptance.restored`.
    """
    before = Measured.from_json(acceptance.before)
    later = Measured.from_json(acceptance.after if after is None else after)
    then = {answered.question: answered for answered in later.questions}
    found = []
    for answered in before.questions:
        now = then.get(answered.question)
        rank_before, score_before = _place(acceptance, answered.hits)
        rank_after, score_after = _place(acceptance, now.hits) if now else (None, None)
        found.append(
            Line(
                answered.question,
                rank_before,
                rank_after,
                score_before,
                score_after,
                answered.confidence,
                now.confidence if now else "",
            )
        )
    return found


def _place(acceptance: Acceptance, hits: list[Any]) -> tuple[int | None, float | None]:
    for rank, hit in enumerate(hits, start=1):
        if _is_meant(acceptance, hit):
            return rank, hit.score
    return None, None


def _is_meant(acceptance: Acceptance, hit: Any) -> bool:
    if hit.document_id != acceptance.document_id:
        return False
    if acceptance.kind == Kind.HIDE:
        return bool(acceptance.undo["text"] in hit.text)
    if acceptance.kind == Kind.ALIAS:
        return bool(acceptance.data["quote"] in hit.text)
    return True


# --- What the worker does ---------------------------------------------------------------------


def step(owner: str) -> bool:
    """Prove the next acceptance that is prepared, finish the next that is live, or show the next
    rollback; whether there was one. Raises what stops a search or a write to Chroma."""
    for acceptance in _claim(owner):
        try:
            if _WORK[State(acceptance.state)](acceptance):
                return True
        except ReviewConflict as error:
            _fail(acceptance, error.message)
            return True
        finally:
            Acceptance.objects.filter(pk=acceptance.pk, lease_owner=owner).update(
                lease_owner="", lease_until=None
            )
    return False


def _claim(owner: str) -> list[Acceptance]:
    if not Acceptance.objects.filter(state__in=Acceptance.IN_WORK).exists():
        return []  # nearly always: without a lock
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now) | Q(lease_owner=owner)
    with transaction.atomic():
        rows = list(
            free_of_others(
                Acceptance.objects.filter(free, state__in=Acceptance.IN_WORK)
                .select_related("item__collection", "document", "revision")
                .order_by("pk")
            )[:LOOKED_AT]
        )
        if rows:
            Acceptance.objects.filter(pk__in=[row.pk for row in rows]).update(
                lease_owner=owner, lease_until=now + timedelta(seconds=settings.LEASE_SECONDS)
            )
    return rows


def _prove(acceptance: Acceptance) -> bool:
    """Try it out, and let it go live where that makes no other golden question worse."""
    if not staging.is_ready(acceptance):
        return False
    before = Measured.from_json(acceptance.before)
    questions = [answered.question for answered in before.questions]
    collection = acceptance.item.collection
    now = measure(
        collection,
        questions,
        golden_near(collection, questions),
        trial=lambda: staging.tried_out(acceptance),
        may_be_degraded=bool(before.degraded),
    )
    with transaction.atomic():
        locked = acceptances.locked(acceptance.pk)
        if locked.state != acceptance.state:
            return True  # discarded meanwhile, or done by another worker
        locked.after = now.as_json()
        locked.worse, locked.better = _moved(now)
        locked.proved_at = timezone.now()
        locked.state = State.WAITING if locked.worse else State.PROVING
        locked.save(update_fields=["after", "worse", "better", "proved_at", "state"])
        if not locked.worse:
            acceptances.go_live(locked)
    return True


def _finish(acceptance: Acceptance) -> bool:
    """Make final what the worker has indexed by now."""
    document, revision = acceptance.document, acceptance.revision
    if document is None or document.deleted_at is not None:
        raise ReviewConflict("Its document was deleted.")
    if revision is not None and revision.is_unfinished:
        return False
    if revision is not None and revision.indexed_at is None:
        raise ReviewConflict(revision.failure_message or "Its document was not indexed.")
    with transaction.atomic():
        locked = acceptances.locked(acceptance.pk)
        if locked.state == acceptance.state:
            acceptances.finish(locked)
    return True


def _show_rollback(acceptance: Acceptance) -> bool:
    """Ask again as soon as nothing is left of what was taken back."""
    document = acceptance.document
    named = Alias.objects.filter(pk__in=acceptance.undo.get("aliases", ()))
    if named.awaiting_cleanup().exists():
        return False  # their words still weigh
    if document is not None and acceptance.kind in (Kind.ANSWER, Kind.EDIT):
        if Revision.objects.filter(document=document).awaiting_cleanup().exists():
            return False  # the words of what is gone still weigh
        latest = document.latest_revision
        if latest is not None and document.deleted_at is None:
            if latest.is_unfinished:
                return False
            if latest.pk != document.live_revision_id:
                raise ReviewConflict(latest.failure_message or "Its document was not indexed.")
    before = Measured.from_json(acceptance.before)
    now = measure(
        acceptance.item.collection,
        [answered.question for answered in before.questions],
        may_be_degraded=bool(before.degraded),
    )
    Acceptance.objects.filter(pk=acceptance.pk, state=acceptance.state).update(
        restored=now.as_json(), state=State.UNDONE, undone_at=timezone.now()
    )
    return True


_WORK = {State.PROVING: _prove, State.GOING_LIVE: _finish, State.UNDOING: _show_rollback}


def _fail(acceptance: Acceptance, reason: str) -> None:
    """It can never be searched, or not be taken back: the group is open again, and says why."""
    logger.warning("acceptance %s failed: %s", acceptance.pk, reason)
    with transaction.atomic():
        locked = acceptances.locked(acceptance.pk)
        if locked.state != acceptance.state:
            return
        if locked.state != State.UNDOING and not acceptances.is_live(locked):
            staging.discard(locked)
        locked.state, locked.failure_message = State.FAILED, reason
        locked.save(update_fields=["state", "failure_message"])
        item = ReviewItem.objects.select_for_update(of=("self",)).get(pk=locked.item_id)
        acceptances.put_back(item)


def _moved(tried: Measured) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Golden questions whose document is found later by the change, or not any more; and earlier.

    Both ranks are of the same moment: what others have changed since counts for nothing.
    """
    worse, better = [], []
    for golden in tried.golden:
        row = {"question": golden.question, "before": golden.without, "after": golden.rank}
        if _order(golden.rank) > _order(golden.without):
            worse.append(row)
        elif _order(golden.rank) < _order(golden.without):
            better.append(row)
    return worse, better


def _order(rank: int | None) -> float:
    return float("inf") if rank is None else rank
