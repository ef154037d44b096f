"""Groups that a reviewer merges or splits, because two ask the same or one asks two things.

The worker respects it: a wording that is known stays where it was put, and a new one that asks
the same as a group that was merged goes where that one went. Both wait for the worker's batch and
it for them, so nothing is counted at the old place meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Max, Min, Q, Sum

from retrieval import usage
from retrieval.exceptions import InvalidRequest, ReviewConflict
from retrieval.feedback.grouping import groups_change
from retrieval.feedback.queue import MAX_NOTES
from retrieval.likeness import question_key, terms
from retrieval.models import (
    Acceptance,
    Feedback,
    ReviewItem,
    ReviewQuestion,
    ReviewSighting,
)

COUNTS = (
    "asked",
    "askers",
    "none_count",
    "low_count",
    "up_count",
    "down_count",
    "correction_count",
    "harm",
)
#: Votes that one statement moves.
VOTES = 500


@dataclass(frozen=True, slots=True)
class Split:
    item: ReviewItem  #: the new one
    question: ReviewQuestion
    is_new: bool  #: no if it had been moved out before


def merge(item_ids: Sequence[int]) -> tuple[ReviewItem, list[ReviewItem]]:
    """Put groups into the first of them, with all that is known of them.

    Returns it, and those that were put into it; none where that had been done before.

    Raises:
        InvalidRequest: they are fewer than two, or of several collections.
        ReviewConflict: one was closed meanwhile, or what was accepted for it is being measured.
        ReviewItem.DoesNotExist
    """
    wanted = list(dict.fromkeys(item_ids))
    if len(wanted) < 2:
        raise InvalidRequest("Mark at least two questions to merge them into one.")
    with transaction.atomic():
        items = _locked(wanted)
        target = items[wanted[0]]
        rest = [items[key] for key in wanted[1:] if items[key].merged_into_id != target.pk]
        if len({item.collection_id for item in items.values()}) > 1:
            raise InvalidRequest("Only questions of the same collection can be one.")
        if rest:
            _check([target, *rest])
            _put_into(target, rest)
    return target, rest


def split(item_id: int, question_id: int) -> Split:
    """Move a wording out of a group, with its votes and sightings, into one of its own.

    Raises:
        InvalidRequest: it is the only one.
        ReviewConflict: the group was closed meanwhile, or has no such wording any more.
    """
    with transaction.atomic():
        item = _locked([item_id])[item_id]
        question = (
            ReviewQuestion.objects.select_related("item")
            .filter(pk=question_id, collection=item.collection_id)
            .first()
        )
        if question is None:
            raise ReviewConflict("This wording is not there any more. Load the page again.")
        if question.item_id != item.pk:
            return Split(question.item, question, is_new=False)
        _check([item])
        others = item.questions.exclude(pk=question.pk).order_by("-asked", "pk")
        next_one = others.first()
        if next_one is None:
            raise InvalidRequest("It is the only wording of this question.")
        new = _moved_out(item, question)
        if question_key(item.question) == question.key:
            _name(item, next_one.text)
        _recount(item)
        item.save()
    return Split(new, question, is_new=True)


def _locked(keys: Sequence[int]) -> dict[int, ReviewItem]:
    groups_change()
    rows = ReviewItem.objects.select_for_update(of=("self",)).filter(pk__in=keys).order_by("pk")
    items = {item.pk: item for item in rows}
    if len(items) < len(set(keys)):
        raise ReviewItem.DoesNotExist
    return items


def _check(items: Sequence[ReviewItem]) -> None:
    if any(not item.is_open for item in items):
        raise ReviewConflict("Somebody has closed this question meanwhile. Load it again.")
    if Acceptance.objects.filter(item__in=items, state__in=Acceptance.UNSETTLED).exists():
        raise ReviewConflict("What was accepted for this question is not final yet.")


# --- Merging ----------------------------------------------------------------------------------


def _put_into(target: ReviewItem, rest: Sequence[ReviewItem]) -> None:
    keys = [item.pk for item in rest]
    for model in (ReviewQuestion, Feedback, Acceptance):
        model._default_manager.filter(item__in=keys).update(item=target)
    _put_sightings(target, keys)
    # Those that were put into them before.
    ReviewItem.objects.filter(merged_into__in=keys).update(merged_into=target)
    for item in rest:
        target.asked += item.asked
        target.none_count += item.none_count
        target.low_count += item.low_count
        target.reopened += item.reopened
        target.first_asked_at = min(target.first_asked_at, item.first_asked_at)
        target.last_asked_at = max(target.last_asked_at, item.last_asked_at)
        target.reason = target.reason or item.reason
        target.assignee_id = target.assignee_id or item.assignee_id
    notes = dict.fromkeys(item.notes.strip() for item in (target, *rest))
    target.notes = "\n\n".join(filter(None, notes))[:MAX_NOTES]
    target.state = ReviewItem.State.ASSIGNED if target.assignee_id else ReviewItem.State.OPEN
    _recount(target)
    target.save()
    for item in rest:
        for name in COUNTS:
            setattr(item, name, 0)
        item.state, item.is_open, item.merged_into = ReviewItem.State.MERGED, False, target
        item.save()


def _put_sightings(target: ReviewItem, keys: Sequence[int]) -> None:
    moved = ReviewSighting.objects.filter(item__in=keys)
    moved.filter(question__isnull=False).update(item=target)
    # Of those whose wording is not known, one for each day and person.
    old = ReviewSighting.objects.filter(item__in=[target.pk, *keys], question=None)
    sums = list(
        old.values("day", "asker")
        .annotate(times=Sum("times"))
        .order_by("day", "asker")
        .values_list("day", "asker", "times")
    )
    old.delete()
    ReviewSighting.objects.bulk_create(
        ReviewSighting(item=target, day=day, asker=asker, times=times) for day, asker, times in sums
    )


# --- Splitting --------------------------------------------------------------------------------


def _moved_out(item: ReviewItem, question: ReviewQuestion) -> ReviewItem:
    new = ReviewItem(
        collection_id=item.collection_id,
        state=item.state,
        assignee_id=item.assignee_id,
        asked=question.asked,
        none_count=question.none_count,
        low_count=question.low_count,
        first_asked_at=question.last_asked_at,
        last_asked_at=question.last_asked_at,
    )
    _name(new, question.text)
    new.save()
    question.item = new
    question.save(update_fields=["item"])
    ReviewSighting.objects.filter(question=question).update(item=new)
    votes = [
        pk
        for pk, text in Feedback.objects.filter(item=item).values_list("pk", "question").iterator()
        if question_key(text) == question.key
    ]
    for start in range(0, len(votes), VOTES):
        Feedback.objects.filter(pk__in=votes[start : start + VOTES]).update(item=new)
    # A group that was merged because of this wording leads to where it is now.
    for merged in item.merged.only("pk", "question"):
        if question_key(merged.question) == question.key:
            ReviewItem.objects.filter(pk=merged.pk).update(merged_into=new)
    item.asked = max(item.asked - question.asked, 0)
    item.none_count = max(item.none_count - question.none_count, 0)
    item.low_count = max(item.low_count - question.low_count, 0)
    times = item.questions.aggregate(last=Max("last_asked_at"))
    item.last_asked_at = times["last"] or item.last_asked_at
    first = Feedback.objects.filter(item=new).aggregate(first=Min("created_at"))["first"]
    seen = new.sightings.aggregate(first=Min("day"))["first"]
    if seen is not None:
        began = max(usage.midnight(seen), item.first_asked_at)
        first = min(filter(None, (first, began)))
    if first is not None:
        new.first_asked_at = min(first, new.first_asked_at)
    _recount(new)
    new.save()
    return new


def _name(item: ReviewItem, text: str) -> None:
    """Let a group be known by a wording; the worker embeds it when it next has nothing to do."""
    item.question, item.terms = text, sorted(terms(text))
    item.vector, item.vector_model = None, None


def _recount(item: ReviewItem) -> None:
    """What is counted anew: people and votes, and the harm that follows from all counts."""
    people = item.sightings.exclude(asker="").aggregate(n=Count("asker", distinct=True))["n"]
    votes = Feedback.objects.filter(item=item).aggregate(
        up=Count("pk", filter=Q(rating=Feedback.Rating.UP)),
        down=Count("pk", filter=Q(rating=Feedback.Rating.DOWN)),
        corrections=Count("pk", filter=~Q(correction="")),
    )
    item.askers = max(people, 1)
    item.up_count, item.down_count = votes["up"], votes["down"]
    item.correction_count = votes["corrections"]
    item.harm = item.weight
