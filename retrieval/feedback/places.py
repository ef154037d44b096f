"""Which group a wording that is new belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retrieval.feedback.batch import Batch, Entry
from retrieval.feedback.candidates import Candidates, Vector, pack
from retrieval.feedback.tallies import Tally, add
from retrieval.likeness import terms
from retrieval.models import ReviewItem


@dataclass(slots=True)
class _New:
    """A group that is not written yet, and where it stands among the candidates."""

    item: ReviewItem
    terms: frozenset[str]
    vector: Vector | None
    place: int = 0


class Places:
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

    def save(self, tallies: Mapping[int, Tally]) -> dict[int, int]:
        """Write the new groups, those with a tally counted; returns the primary key of each by the
        number that stood for it."""
        for stand_in, new in self._new.items():
            tally = tallies.get(stand_in)
            if tally is None:
                continue
            add(new.item, tally)
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
