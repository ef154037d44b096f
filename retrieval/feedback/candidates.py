"""The groups that a question may belong to, in memory: those of a collection that were asked last.

They are bounded, so what one question costs does not grow with the queue. Between batches a worker
remembers them: to read thousands of groups again would take longer than all the rest of a batch.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.likeness import (
    LIKE_MEANING,
    SAME_MEANING,
    SAME_WORDS,
    numbers_of,
    shared,
)
from retrieval.models import ReviewItem

#: Groups that a new question is compared with: the newest ones.
CANDIDATES = 8192
#: So many more may be added before they are read anew, and all that are remembered are no more than
#: this many times as many: with 384 dimensions 2 kB each.
ADDED, REMEMBERED = 1024, 4
#: Of the nearest by meaning, those that are looked at closely.
NEAREST = 8
#: Of the groups that share a term, and of those that share any, so many are looked at.
COMMON = 256

Vector = NDArray[np.float32]


class Candidates:
    """Groups by meaning and by words; grows by those that are made meanwhile."""

    def __init__(self, collection_id: int, model_id: int, dimension: int) -> None:
        rows = (
            ReviewItem.objects.filter(collection=collection_id)
            .order_by("-last_asked_at", "-pk")
            .values_list("pk", "vector", "vector_model", "terms", "merged_into")[:CANDIDATES]
        )
        known = list(rows)
        self.model_id = model_id
        self._keys: list[int] = []
        self._terms: list[frozenset[str]] = []
        self._numbers: list[frozenset[str]] = []
        self._holding: dict[str, list[int]] = defaultdict(list)
        self._holding_unread: dict[str, list[int]] = defaultdict(list)  #: of those without a vector
        self._matrix = np.zeros((len(known) + ADDED, dimension), dtype=np.float32)
        # From the oldest on, so that of equally like ones the first that was made wins.
        for pk, packed, made_by, terms, into in sorted(known, key=lambda row: row[0]):
            vector = unpack(packed) if packed is not None and made_by == model_id else None
            # What asks the same as a group that was merged belongs to the one it was put into.
            self.add(into or pk, frozenset(terms), vector)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def is_full(self) -> bool:
        return len(self._keys) >= len(self._matrix)

    def add(self, pk: int, terms: frozenset[str], vector: Vector | None) -> int:
        """Returns the place among them. Call it only while they are not full."""
        place = len(self._keys)
        self._keys.append(pk)
        self._terms.append(terms)
        self._numbers.append(numbers_of(terms))
        has_vector = vector is not None and vector.shape == self._matrix[place].shape
        if has_vector:
            self._matrix[place] = vector
        for term in terms:
            self._holding[term].append(place)
            if not has_vector:
                self._holding_unread[term].append(place)
        return place

    def rename(self, place: int, pk: int) -> None:
        """Give the one at a place its primary key, where it was added before it had one."""
        self._keys[place] = pk

    def cosines(self, vectors: Vector) -> Vector:
        """Of vectors of shape (n, dimension) to the groups that are there, of shape (n, groups).

        For many questions at once it takes a fifth of the time that it takes for one by one: the
        groups are read from memory once.
        """
        return np.asarray(vectors @ self._matrix[: len(self._keys)].T, dtype=np.float32)

    def find(
        self,
        terms: frozenset[str],
        vector: Vector | None,
        base: float = 0.0,
        cosines: Vector | None = None,
    ) -> int | None:
        """The primary key of the group that asks the same, if one does.

        `base` is the cosine that the model's vectors of unrelated questions have. `cosines` are
        those of the vector, as far as they are known: to the groups that were there by then.
        """
        wanted = numbers_of(terms)
        if vector is not None:
            known = cosines if cosines is not None else np.empty(0, dtype=np.float32)
            rest = self._matrix[len(known) : len(self._keys)] @ vector
            likeness = (np.concatenate([known, rest]) - base) / max(1 - base, 0.01)
            # Sorting thousands would take longer than comparing them.
            like = np.flatnonzero(likeness >= LIKE_MEANING)
            for place in map(int, like[np.argsort(-likeness[like], kind="stable")[:NEAREST]]):
                is_same = likeness[place] >= SAME_MEANING or (
                    shared(terms, self._terms[place]) >= SAME_WORDS
                )
                if is_same and self._numbers[place] == wanted:
                    return self._keys[place]
        found: tuple[float, int] | None = None
        # Where both have a vector, it has said what there is to say.
        for place in self._sharing(
            terms, self._holding if vector is None else self._holding_unread
        ):
            if self._numbers[place] != wanted:
                continue
            share = shared(terms, self._terms[place])
            if share >= SAME_WORDS and (found is None or share > found[0]):
                found = share, place
        return None if found is None else self._keys[found[1]]

    @staticmethod
    def _sharing(terms: frozenset[str], holding: Mapping[str, Sequence[int]]) -> list[int]:
        """Places of groups that share terms, those that share most first; of bounded number.

        `holding`: places by term."""
        counts: Counter[int] = Counter()
        for term in sorted(terms):
            counts.update(holding.get(term, ())[-COMMON:])
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return [place for place, _count in ranked[:COMMON]]


class Memory:
    """The candidates of collections, as long as nobody else changes groups.

    `groups` is what `ReviewCursor.groups` says, which every change of groups changes.
    """

    def __init__(self) -> None:
        self._kept: tuple[uuid.UUID | None, dict[int, Candidates]] = (None, {})

    def take(self, groups: uuid.UUID) -> dict[int, Candidates]:
        """What is remembered, by collection. Until it is kept again nothing is: a transaction that
        fails leaves candidates here that are not in the database."""
        (state, candidates), self._kept = self._kept, (None, {})
        return candidates if state == groups else {}

    def keep(self, groups: uuid.UUID, candidates: dict[int, Candidates]) -> None:
        kept: dict[int, Candidates] = {}
        room = REMEMBERED * CANDIDATES
        for collection, of_collection in reversed(candidates.items()):
            room -= len(of_collection)
            if room >= 0:
                kept[collection] = of_collection
        self._kept = groups, kept


def pack(vector: Vector) -> bytes:
    return np.asarray(vector, dtype="<f2").tobytes()


def unpack(packed: bytes | memoryview) -> Vector:
    """A unit vector of shape (dimension,)."""
    vector = np.frombuffer(bytes(packed), dtype="<f2").astype(np.float32)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), dtype=np.float32)
