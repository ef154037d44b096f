"""Votes and badly answered searches → groups of questions that ask the same.

The worker does it a batch at a time. A batch is read and its questions are embedded first; what
it changes is then written in one transaction, together with how far the log has been read. So a
kill loses nothing and counts nothing twice, and of two workers one finds the batch done.

`batch` reads what came, `places` finds the group of a wording that is new, `tallies` counts. A
wording that is known goes to its group at once; a new one is compared with a bounded number of
groups (`candidates`), so what a question costs does not grow with the queue.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Count, Model, Q
from django.utils import timezone

from retrieval.feedback.batch import (
    Batch,
    Entry,
    embed,
    founds,
    known_wordings,
    model_of,
    read,
    still_waiting,
    vectors_of,
)
from retrieval.feedback.candidates import Candidates, Memory, pack
from retrieval.feedback.places import Places
from retrieval.feedback.tallies import Tally, add, count
from retrieval.models import (
    Collection,
    Feedback,
    ReviewCursor,
    ReviewItem,
    ReviewQuestion,
    ReviewSighting,
    Search,
)

_memory = Memory()

#: Of the log that was written before the first look, so much is put into groups.
LOOK_BACK = timedelta(days=30)
#: A question that nobody voted on, worked on or asked again for so long needs no review.
KEPT = timedelta(days=90)
FORGOTTEN = 500
#: Groups whose question is embedded again at once after another model was chosen.
REFRESHED = 200


def gather() -> bool:
    """Put what came since the last time into groups; returns whether there is more."""
    cursor, _ = ReviewCursor.objects.get_or_create(
        pk=1, defaults={"asked_at": timezone.now() - LOOK_BACK, "search": uuid.UUID(int=0)}
    )
    before = (cursor.asked_at, cursor.search)
    batch = read(before)
    if not batch.entries and batch.place == before:
        return _refresh()
    embed(batch)
    with transaction.atomic():
        locked = ReviewCursor.objects.select_for_update().get(pk=1)
        if (locked.asked_at, locked.search) != before:
            return True  # another worker has done it
        batch.entries = still_waiting(batch.entries)
        candidates = _memory.take(locked.groups)
        _write(batch, candidates)
        Search.objects.filter(pk__in=batch.spent).update(vector=None, vector_model=None)
        groups = uuid.uuid4()
        ReviewCursor.objects.filter(pk=1).update(
            asked_at=batch.place[0], search=batch.place[1], groups=groups
        )
    _memory.keep(groups, candidates)
    return not batch.is_last


# --- What it changes --------------------------------------------------------------------------


def _write(batch: Batch, candidates: dict[int, Candidates]) -> None:
    alive = set(
        Collection.objects.filter(
            pk__in={entry.collection_id for entry in batch.entries}
        ).values_list("pk", flat=True)
    )
    entries = [entry for entry in batch.entries if entry.collection_id in alive]
    questions = known_wordings(entries)
    place_of = Places(batch, candidates)
    fresh: dict[tuple[int, str], ReviewQuestion] = {}
    tallies: dict[int, Tally] = defaultdict(Tally)
    for entry in entries:
        key = (entry.collection_id, entry.key)
        question = questions.get(key)
        was_known = question is not None and key not in fresh
        if question is None and founds(entry):
            question = ReviewQuestion(
                item_id=place_of(entry),
                collection_id=entry.collection_id,
                key=entry.key,
                text=entry.text,
                last_asked_at=entry.at,
            )
            questions[key] = fresh[key] = question
        if question is not None:
            count(entry, question, tallies[question.item_id], was_known, batch.place[0])
    voted = {
        questions[entry.collection_id, entry.key].item_id
        for entry in entries
        if entry.vote is not None and (entry.collection_id, entry.key) in questions
    }
    # Of a new group that nobody voted on, everything is written at once.
    unvoted = {item: tally for item, tally in tallies.items() if item not in voted}
    made = place_of.save(unvoted)
    tallies = {made.get(item, item): tally for item, tally in tallies.items()}
    for question in fresh.values():
        question.item_id = made.get(question.item_id, question.item_id)
    ReviewQuestion.objects.bulk_create(fresh.values())
    changed = {id(row): row for key, row in questions.items() if key not in fresh}
    _rewrite(
        [row for row in changed.values() if row.item_id in tallies],
        ["asked", "none_count", "low_count", "last_asked_at", "last_search"],
    )
    _settle_votes(entries, questions)
    _add_sightings(tallies, {(row.item_id, row.key): row.pk for row in questions.values()})
    done = {made[item] for item in unvoted if item in made}
    _update_items({item: tally for item, tally in tallies.items() if item not in done})


def _settle_votes(
    entries: Iterable[Entry], questions: dict[tuple[int, str], ReviewQuestion]
) -> None:
    for entry in entries:
        vote = entry.vote
        if vote is None:
            continue
        question = questions.get((entry.collection_id, entry.key))
        # One that was changed since it was read is looked at again.
        Feedback.objects.filter(pk=vote.pk, updated_at=vote.updated_at).update(
            is_grouped=True, item_id=question.item_id if question else None
        )


def _add_sightings(tallies: dict[int, Tally], questions: dict[tuple[int, str], int]) -> None:
    """`questions`: item and key of each → its primary key."""
    wanted = {
        (item, questions[item, key], day, asker): times
        for item, tally in tallies.items()
        for (day, key, asker), times in tally.sightings.items()
    }
    known = ReviewSighting.objects.filter(
        question__in={question for _, question, _, _ in wanted},
        day__in={day for _, _, day, _ in wanted},
    )
    rows = []
    for row in known:
        times = wanted.pop((row.item_id, row.question_id or 0, row.day, row.asker), 0)
        if times:
            row.times += times
            rows.append(row)
    _rewrite(rows, ["times"])
    ReviewSighting.objects.bulk_create(
        ReviewSighting(item_id=item, question_id=question, day=day, asker=asker, times=times)
        for (item, question, day, asker), times in wanted.items()
    )


def _rewrite(rows: Sequence[Model], fields: list[str]) -> None:
    """Write fields of rows that are there: bulk_update's choice of a value for each row and column
    takes several times as long. Call it where nothing else can delete them."""
    if rows:
        type(rows[0])._default_manager.bulk_create(
            rows, update_conflicts=True, unique_fields=["pk"], update_fields=fields, batch_size=200
        )


def _update_items(tallies: dict[int, Tally]) -> None:
    askers = dict(
        ReviewSighting.objects.filter(item__in=tallies)
        .exclude(asker="")
        .values_list("item")
        .annotate(Count("asker", distinct=True))
    )
    votes = {
        item: (up, down, corrections)
        for item, up, down, corrections in Feedback.objects.filter(item__in=tallies)
        .values_list("item")
        .annotate(
            up=Count("pk", filter=Q(rating=Feedback.Rating.UP)),
            down=Count("pk", filter=Q(rating=Feedback.Rating.DOWN)),
            corrections=Count("pk", filter=~Q(correction="")),
        )
    }
    items = list(ReviewItem.objects.select_for_update().filter(pk__in=tallies).order_by("pk"))
    for item in items:
        tally = tallies[item.pk]
        add(item, tally)
        item.askers = max(askers.get(item.pk, 0), 1)
        item.up_count, item.down_count, item.correction_count = votes.get(item.pk, (0, 0, 0))
        item.harm = item.weight
        if _reopens(item, tally):
            item.reopen()
    _rewrite(
        items,
        [
            "asked",
            "askers",
            "none_count",
            "low_count",
            "up_count",
            "down_count",
            "correction_count",
            "harm",
            "last_asked_at",
            "state",
            "is_open",
            "closed_at",
            "closed_by",
            "reopened",
        ],
    )


def _reopens(item: ReviewItem, tally: Tally) -> bool:
    """Whether what came since a group was closed says that it is not done with.

    A vote down or a correction always does; a bad answer does where one was made good, but not
    where the question was rejected: it will be asked again and stay unanswered.
    """
    if item.is_open or item.closed_at is None:
        return False
    if tally.reopens is not None and tally.reopens > item.closed_at:
        return True
    is_accepted = item.state == ReviewItem.State.ACCEPTED
    return is_accepted and tally.weak_at is not None and tally.weak_at > item.closed_at


def forget_old() -> int:
    """Delete open groups that were only asked, long ago; returns how many, at most FORGOTTEN."""
    old = ReviewItem.objects.open().filter(
        last_asked_at__lt=timezone.now() - KEPT,
        assignee=None,
        notes="",
        reason="",
        votes=None,
        acceptances=None,
    )
    keys = list(old.order_by().values_list("pk", flat=True)[:FORGOTTEN])
    with transaction.atomic():
        groups_change()
        # Not those that were voted on meanwhile.
        ReviewItem.objects.filter(pk__in=keys, votes=None, acceptances=None).delete()
    return len(keys)


def groups_change() -> None:
    """Have workers forget what they remember of groups, and wait while one writes a batch. Call it
    in the transaction that changes which groups there are, what they ask or where they lead."""
    ReviewCursor.objects.filter(pk=1).update(groups=uuid.uuid4())


# --- After another model was chosen -----------------------------------------------------------


def _refresh() -> bool:
    """Embed the questions of groups again whose vector is another model's; whether any was."""
    for collection in Collection.objects.alive().select_related("live_index__embedding_model"):
        model_id, _dimension = model_of(collection)
        if not model_id:
            continue
        rows = _embedded_otherwise(collection, model_id)
        if not rows:
            continue
        vectors = vectors_of(collection, {str(pk): text for pk, text in rows})
        with transaction.atomic():
            groups_change()
            for pk, _text in rows:
                vector = vectors.get(str(pk))
                ReviewItem.objects.filter(pk=pk).update(
                    vector=None if vector is None else pack(vector), vector_model=model_id
                )
        return True
    return False


def _embedded_otherwise(collection: Collection, model_id: int) -> list[tuple[int, str]]:
    """Groups whose vector is not of this model: primary key and question."""
    groups = ReviewItem.objects.filter(collection=collection).values_list("pk", "question")
    # One after the other, each by the index: "not this one" would be looked for in all of them.
    for otherwise in (
        Q(vector_model=None),
        Q(vector_model__lt=model_id),
        Q(vector_model__gt=model_id),
    ):
        if rows := list(groups.filter(otherwise).order_by("vector_model")[:REFRESHED]):
            return rows
    return []
