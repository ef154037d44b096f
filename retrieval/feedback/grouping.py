"""Votes and badly answered searches → groups of questions that ask the same.

The worker does it a batch at a time. A batch is read and its questions are embedded first; what
it changes is then written in one transaction, together with how far the log has been read. So a
kill loses nothing and counts nothing twice, and of two workers one finds the batch done.

A wording that is known goes to its group at once; a new one is compared with a bounded number of
groups (`candidates`), so what a question costs does not grow with the queue.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import MappingProxyType

import numpy as np
from django.db import transaction
from django.db.models import Count, Model, Q
from django.utils import timezone

from retrieval.asked_before import between_unrelated
from retrieval.exceptions import KnowledgeBaseError
from retrieval.factories import embedder_for
from retrieval.feedback.candidates import Candidates, Memory, Vector, pack
from retrieval.fusion import declared_weight, script_of
from retrieval.likeness import question_key, terms
from retrieval.models import (
    Collection,
    Embedding,
    Feedback,
    ReviewCursor,
    ReviewItem,
    ReviewQuestion,
    ReviewSighting,
    Search,
)
from retrieval.usage import day_of

logger = logging.getLogger(__name__)
_memory = Memory()

#: Searches and votes in one batch: a short one, because it holds the only lock that SQLite has.
BATCH = 100
#: By then a row is committed that says it was written so long ago.
SETTLED = timedelta(seconds=5)
#: Of the log that was written before the first look, so much is put into groups.
LOOK_BACK = timedelta(days=30)
#: Channels whose questions are tries, not somebody's.
NOT_ASKED = ("playground", "evaluation", "review")
#: A question that nobody voted on, worked on or asked again for so long needs no review.
KEPT = timedelta(days=90)
FORGOTTEN = 500
#: Groups whose question is embedded again at once after another model was chosen.
REFRESHED = 200


@dataclass(slots=True)
class Entry:
    """A search or a vote, as far as grouping is concerned."""

    collection_id: int
    text: str
    at: datetime
    asker: str
    key: str
    search: uuid.UUID | None
    confidence: str = ""  #: of a search
    is_weak: bool = False
    vector: Vector | None = None  #: that the search had, of the model `vector_model`
    vector_model: int | None = None
    vote: Feedback | None = None


@dataclass(slots=True)
class Batch:
    """What is written together."""

    entries: list[Entry]
    place: tuple[datetime, uuid.UUID]  #: how far the log is read after it
    is_last: bool
    vectors: dict[tuple[int, str], Vector] = field(default_factory=dict)
    #: by collection the model whose vectors these are, and their dimension
    models: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: by collection the cosine of unrelated questions with that model
    bases: dict[int, float] = field(default_factory=dict)
    #: searches whose vectors are needed no more
    spent: list[uuid.UUID] = field(default_factory=list)


def gather() -> bool:
    """Put what came since the last time into groups; returns whether there is more."""
    cursor, _ = ReviewCursor.objects.get_or_create(
        pk=1, defaults={"asked_at": timezone.now() - LOOK_BACK, "search": uuid.UUID(int=0)}
    )
    before = (cursor.asked_at, cursor.search)
    batch = _read(before)
    if not batch.entries and batch.place == before:
        return _refresh()
    _embed(batch)
    with transaction.atomic():
        locked = ReviewCursor.objects.select_for_update().get(pk=1)
        if (locked.asked_at, locked.search) != before:
            return True  # another worker has done it
        batch.entries = _still_waiting(batch.entries)
        candidates = _memory.take(locked.groups)
        _write(batch, candidates)
        Search.objects.filter(pk__in=batch.spent).update(vector=None, vector_model=None)
        groups = uuid.uuid4()
        ReviewCursor.objects.filter(pk=1).update(
            asked_at=batch.place[0], search=batch.place[1], groups=groups
        )
    _memory.keep(groups, candidates)
    return not batch.is_last


# --- What came --------------------------------------------------------------------------------


def _read(place: tuple[datetime, uuid.UUID]) -> Batch:
    asked_at, last = place
    rows = list(
        Search.objects.filter(
            Q(created_at__gt=asked_at) | Q(created_at=asked_at, pk__gt=last),
            created_at__gte=asked_at,
            created_at__lt=timezone.now() - SETTLED,
        )
        .order_by("created_at", "pk")
        .values_list(
            "pk",
            "collection_id",
            "query",
            "created_at",
            "asker",
            "confidence",
            "result_count",
            "degraded",
            "channel",
            "vector",
            "vector_model",
        )[:BATCH]
    )
    entries = [
        Entry(
            collection_id,
            query,
            at,
            asker,
            question_key(query),
            pk,
            confidence=confidence,
            is_weak=Search.is_weak(confidence, results, degraded),
            vector=None if vector is None else Embedding.unpack(vector),
            vector_model=model,
        )
        for (
            *(pk, collection_id, query, at, asker, confidence, results, degraded),
            channel,
            vector,
            model,
        ) in rows
        if channel not in NOT_ASKED
    ]
    votes = list(
        Feedback.objects.filter(is_grouped=False).select_related("search").order_by("pk")[:BATCH]
    )
    entries += [
        Entry(
            vote.collection_id,
            vote.question,
            vote.updated_at,
            _person(vote),
            question_key(vote.question),
            vote.search_id,
            vote=vote,
        )
        for vote in votes
    ]
    return Batch(
        entries,
        place=(rows[-1][3], rows[-1][0]) if rows else place,
        is_last=len(rows) < BATCH and len(votes) < BATCH,
        spent=[row[0] for row in rows if row[-1] is not None],
    )


def _person(vote: Feedback) -> str:
    """Who asked, as far as that is known: whoever holds a link is another one for each answer."""
    if vote.search is not None and vote.search.asker:
        return vote.search.asker
    if vote.search is None or ":" in vote.voter:
        return vote.voter
    return f"{vote.voter}@{vote.search_id}"


def _still_waiting(entries: Sequence[Entry]) -> list[Entry]:
    """Without votes that another worker has settled, or that were changed since they were read."""
    votes = {entry.vote.pk for entry in entries if entry.vote is not None}
    rows = Feedback.objects.filter(pk__in=votes, is_grouped=False)
    waiting = dict(rows.values_list("pk", "updated_at"))
    return [
        entry
        for entry in entries
        if entry.vote is None or waiting.get(entry.vote.pk) == entry.vote.updated_at
    ]


def _embed(batch: Batch) -> None:
    """Vectors of wordings that no group knows yet, where the collection's model reads them."""
    known = _known(batch.entries)
    wanted: dict[int, dict[str, Entry]] = defaultdict(dict)
    for entry in batch.entries:
        place = (entry.collection_id, entry.key)
        if place not in known and _founds(entry):
            wanted[entry.collection_id].setdefault(entry.key, entry)
    collections = Collection.objects.filter(pk__in=wanted).select_related(
        "live_index__embedding_model"
    )
    for collection in collections:
        batch.models[collection.pk] = _model_of(collection)
        entries = wanted[collection.pk]
        model = batch.models[collection.pk]
        vectors = vectors_of(
            collection,
            {key: entry.text for key, entry in entries.items()},
            {
                key: entry.vector
                for key, entry in entries.items()
                if entry.vector is not None and (entry.vector_model, len(entry.vector)) == model
            },
        )
        if vectors and collection.live_index is not None:
            try:
                base = between_unrelated(collection.live_index.embedding_model)
            except KnowledgeBaseError as error:
                logger.warning("questions are grouped by their words alone: %s", error.message)
                continue
            batch.bases[collection.pk] = base
        batch.vectors |= {(collection.pk, key): vector for key, vector in vectors.items()}


def _model_of(collection: Collection) -> tuple[int, int]:
    index = collection.live_index
    return (index.embedding_model_id, index.embedding_model.dimension) if index else (0, 1)


def vectors_of(
    collection: Collection,
    texts: Mapping[str, str],
    ready: Mapping[str, Vector] = MappingProxyType({}),
) -> dict[str, Vector]:
    """Of the texts that the collection's model understands; none but the ones that are ready while
    it cannot answer."""
    index = collection.live_index
    if index is None:
        return {}
    languages = index.embedding_model.languages
    found = {}
    try:
        for key, text in texts.items():
            if declared_weight(script_of(text), languages) > 0:
                vector = ready.get(key)
                if vector is None:
                    vector = embedder_for(index.embedding_model).embed_query(text)
                found[key] = vector
    except KnowledgeBaseError as error:
        logger.warning("questions are grouped by their words alone: %s", error.message)
    return found


def _known(entries: Sequence[Entry]) -> dict[tuple[int, str], ReviewQuestion]:
    rows = ReviewQuestion.objects.filter(
        collection__in={entry.collection_id for entry in entries},
        key__in={entry.key for entry in entries},
    )
    return {(row.collection_id, row.key): row for row in rows}


def _founds(entry: Entry) -> bool:
    """Whether an entry may begin a group, or only counts where there is one."""
    vote = entry.vote
    if vote is None:
        return entry.is_weak
    return vote.rating == Feedback.Rating.DOWN or bool(vote.correction or vote.comment)


# --- What it changes --------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What a batch adds to a group."""

    asked: int = 0
    none: int = 0
    low: int = 0
    last: datetime | None = None
    reopens: datetime | None = None  #: the newest vote that does
    weak_at: datetime | None = None  #: the newest bad answer
    #: by day, key of the question, and who asked
    sightings: dict[tuple[date, str, str], int] = field(default_factory=dict)


def _write(batch: Batch, candidates: dict[int, Candidates]) -> None:
    alive = set(
        Collection.objects.filter(
            pk__in={entry.collection_id for entry in batch.entries}
        ).values_list("pk", flat=True)
    )
    entries = [entry for entry in batch.entries if entry.collection_id in alive]
    questions = _known(entries)
    place_of = _Places(batch, candidates)
    fresh: dict[tuple[int, str], ReviewQuestion] = {}
    tallies: dict[int, Tally] = defaultdict(Tally)
    for entry in entries:
        key = (entry.collection_id, entry.key)
        question = questions.get(key)
        was_known = question is not None and key not in fresh
        if question is None and _founds(entry):
            question = ReviewQuestion(
                item_id=place_of(entry),
                collection_id=entry.collection_id,
                key=entry.key,
                text=entry.text,
                last_asked_at=entry.at,
            )
            questions[key] = fresh[key] = question
        if question is not None:
            _count(entry, question, tallies[question.item_id], was_known, batch.place[0])
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


@dataclass(slots=True)
class _New:
    """A group that is not written yet, and where it stands among the candidates."""

    item: ReviewItem
    terms: frozenset[str]
    vector: Vector | None
    place: int = 0


class _Places:
    """The group of a wording that is new: one that asks the same, else one of its own.

    Those of their own are written together, by `save`; until then a negative number stands for
    their primary key.
    """

    def __init__(self, batch: Batch, candidates: dict[int, Candidates]) -> None:
        """`candidates`: by collection, those that are read already; others are added to them."""
        self._batch = batch
        self._candidates = candidates
        #: by collection: of the batch's questions to the groups that were there before
        self._cosines: dict[int, dict[str, Vector]] = {}
        self._new: dict[int, _New] = {}

    def __call__(self, entry: Entry) -> int:
        candidates = self._candidates_of(entry.collection_id)
        if entry.collection_id not in self._cosines:
            self._cosines[entry.collection_id] = self._compare(entry.collection_id, candidates)
        vector = self._batch.vectors.get((entry.collection_id, entry.key))
        base = self._batch.bases.get(entry.collection_id, 0.0)
        about = terms(entry.text)
        cosines = self._cosines[entry.collection_id].get(entry.key)
        found = candidates.find(about, vector, base, cosines)
        if found is not None:
            return found
        model_id, _dimension = self._model_of(entry.collection_id)
        item = ReviewItem(
            collection_id=entry.collection_id,
            question=entry.text,
            first_asked_at=entry.at,
            last_asked_at=entry.at,
            vector=None if vector is None else pack(vector),
            vector_model=model_id or None,
            terms=sorted(about),
        )
        stand_in = -1 - len(self._new)
        place = candidates.add(stand_in, about, vector)
        self._new[stand_in] = _New(item, about, vector, place)
        return stand_in

    def save(self, tallies: Mapping[int, "Tally"]) -> dict[int, int]:
        """Write the new groups, those with a tally counted; returns the primary key of each by the
        number that stood for it."""
        for stand_in, new in self._new.items():
            tally = tallies.get(stand_in)
            if tally is None:
                continue
            _add(new.item, tally)
            known = {asker for _day, _key, asker in tally.sightings if asker}
            new.item.askers = max(len(known), 1)
            new.item.harm = new.item.weight
        ReviewItem.objects.bulk_create([new.item for new in self._new.values()])
        for new in self._new.values():
            self._candidates[new.item.collection_id].rename(new.place, new.item.pk)
        return {stand_in: new.item.pk for stand_in, new in self._new.items()}

    def _model_of(self, collection_id: int) -> tuple[int, int]:
        return self._batch.models.get(collection_id, (0, 1))

    def _candidates_of(self, collection_id: int) -> Candidates:
        model_id, dimension = self._model_of(collection_id)
        candidates = self._candidates.get(collection_id)
        if candidates is None or candidates.is_full or candidates.model_id != model_id:
            candidates = Candidates(collection_id, model_id, dimension)
            self._candidates[collection_id] = candidates
            self._cosines.pop(collection_id, None)
            # Those of this batch are not in the database yet.
            for stand_in, new in self._new.items():
                if new.item.collection_id == collection_id:
                    new.place = candidates.add(stand_in, new.terms, new.vector)
        return candidates

    def _compare(self, collection_id: int, candidates: Candidates) -> dict[str, Vector]:
        """By key of the question."""
        of_collection = {
            key: vector
            for (collection, key), vector in self._batch.vectors.items()
            if collection == collection_id
        }
        if not of_collection:
            return {}
        cosines = candidates.cosines(np.stack(list(of_collection.values())))
        return dict(zip(of_collection, cosines, strict=True))


def _count(
    entry: Entry, question: ReviewQuestion, tally: Tally, was_known: bool, until: datetime
) -> None:
    vote = entry.vote
    times = 1
    if vote is not None:
        times = 0 if vote.item_id is not None else _unseen(vote, was_known, until)
        if vote.rating == Feedback.Rating.DOWN or vote.correction:
            tally.reopens = max(filter(None, (tally.reopens, entry.at)))
    elif entry.is_weak:
        if entry.confidence == Search.Confidence.LOW:
            tally.low += 1
            question.low_count += 1
        else:
            tally.none += 1
            question.none_count += 1
        tally.weak_at = max(filter(None, (tally.weak_at, entry.at)))
    question.asked += times
    tally.asked += times
    if vote is None or vote.item_id is None:
        question.last_asked_at = max(question.last_asked_at, entry.at)
        tally.last = max(filter(None, (tally.last, entry.at)))
        seen = (day_of(entry.at), entry.key, entry.asker)
        tally.sightings[seen] = tally.sightings.get(seen, 0) + times
    if entry.search is not None:
        question.last_search = entry.search


def _unseen(vote: Feedback, was_known: bool, until: datetime) -> int:
    """1 if what was voted on is no search that is counted itself."""
    search = vote.search
    if search is None:
        return 1
    is_weak = search.confidence != Search.Confidence.HIGH or not search.result_count
    is_counted = was_known or (is_weak and not search.degraded and search.channel not in NOT_ASKED)
    return 0 if is_counted or search.created_at > until else 1


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
        _add(item, tally)
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


def _add(item: ReviewItem, tally: Tally) -> None:
    item.asked += tally.asked
    item.none_count += tally.none
    item.low_count += tally.low
    if tally.last is not None:
        item.last_asked_at = max(item.last_asked_at, tally.last)


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
        model_id, _dimension = _model_of(collection)
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
