"""How far each arm is trusted in a collection, learned from questions with known answers.

Both arms are asked once for each question; every weight is then tried on what they said. The
table that the decision was made from is kept with it.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import transaction
from django.utils import timezone
from numpy.typing import NDArray

from retrieval.exceptions import InvalidRequest, SearchUnavailable
from retrieval.fusion import THRESHOLDS, declared_weight, fuse, script_of
from retrieval.lexical import tokenize
from retrieval.models import Chunk, Collection, Document, Judgment
from retrieval.retrieval_settings import parse
from retrieval.search import Arms, Plan, Stopwatch, ask, find_collection, live_index, normalise
from retrieval.types import Mode, RetrievalSettings, Script, Thresholds

#: Weights of the dense arm that are tried.
GRID = tuple(step / 20 for step in range(21))
#: Questions of a script without which nothing is decided about it.
FEWEST = 20
#: Candidates of each arm, and the rank behind which an answer counts as not found.
DEPTH, CUTOFF = 50, 10
#: A question drawn from a text keeps this share of its words, so that finding it again is not
#: a mere look-up of the same sentence.
KEPT_WORDS = 0.6
SHORTEST_QUESTION = 2  #: words
#: high: so many of the answers that score as much are right. none: so many of the right ones
#: score less.
PRECISION, LOST = 0.9, 0.05
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")


@dataclass(frozen=True, slots=True)
class Probe:
    """A question whose answer is known."""

    question: str
    documents: frozenset[int]


@dataclass(frozen=True, slots=True)
class Row:
    """What one weight of the dense arm is worth for one script."""

    weight: float
    mrr: float
    hit_at_1: float
    #: standard error of the difference of its reciprocal ranks to the best weight's
    error: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one script, and from what."""

    script: Script
    questions: int
    declared: float  #: what the model's card would have had
    chosen: float
    rows: tuple[Row, ...]
    thresholds: Mapping[str, Thresholds]  #: by what a score is made of

    def row(self, weight: float) -> Row:
        return min(self.rows, key=lambda row: abs(row.weight - weight))


@dataclass(frozen=True, slots=True)
class Calibration:
    collection: str
    source: str  #: "golden set" or "drawn from the documents"
    decisions: tuple[Decision, ...]
    made_at: datetime

    def as_json(self) -> dict[str, Any]:
        """The table of the decision, for people and for the collection's row."""
        return {
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "source": self.source,
            "scripts": {
                str(decision.script): {
                    "questions": decision.questions,
                    "declared": decision.declared,
                    "chosen": decision.chosen,
                    "table": [
                        {
                            "dense_weight": row.weight,
                            "mrr": round(row.mrr, 4),
                            "hit_at_1": round(row.hit_at_1, 4),
                        }
                        for row in decision.rows
                    ],
                }
                for decision in self.decisions
            },
        }


def calibrate(
    slug: str,
    *,
    most: int = 400,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Find weights and thresholds for a collection; changes nothing (see `adopt`).

    At most `most` questions are asked: the golden set's, or where it is too small, questions
    drawn from titles, headings and sentences of the documents.

    Raises:
        CollectionNotFound: there is no such collection.
        InvalidRequest: it has too few documents to ask about.
        SearchUnavailable, VectorStoreError: an arm does not answer, so that nothing could be
            compared.
    """
    collection = find_collection(slug)
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    probes, source = golden(collection), "golden set"
    if len(probes) < FEWEST:
        probes, source = list(drawn(collection, most, rng)), "drawn from the documents"
    if len(probes) < FEWEST:
        raise InvalidRequest(
            f"{slug} has too few documents to calibrate with: {len(probes)} questions could be "
            f"drawn from them, {FEWEST} are needed."
        )
    if len(probes) > most:
        probes = rng.sample(probes, most)
    heard = list(_listen(collection, probes, progress))
    by_script: dict[Script, list[_Heard]] = defaultdict(list)
    for item in heard:
        by_script[script_of(item.probe.question)].append(item)
    languages = live_index(collection).embedding_model.languages
    return Calibration(
        collection=slug,
        source=source,
        decisions=tuple(
            _decide(script, items, declared_weight(script, languages))
            for script, items in sorted(by_script.items())
            if len(items) >= FEWEST
        ),
        made_at=timezone.now(),
    )


@transaction.atomic
def adopt(calibration: Calibration) -> RetrievalSettings:
    """Write what was decided into the collection's settings; everything else in them stays."""
    collection = Collection.objects.alive().select_for_update().get(slug=calibration.collection)
    stored = dict(collection.retrieval_settings)
    weights = dict(stored.get("dense_weight", {}))
    thresholds = {name: dict(pairs) for name, pairs in stored.get("thresholds", {}).items()}
    for decision in calibration.decisions:
        weights[str(decision.script)] = decision.chosen
        for made_of, pair in decision.thresholds.items():
            thresholds.setdefault(made_of, {})[str(decision.script)] = {
                "low": round(pair.low, 4),
                "high": round(pair.high, 4),
            }
    stored |= {
        "dense_weight": weights,
        "thresholds": thresholds,
        "calibration": calibration.as_json(),
    }
    wanted = parse(stored)
    collection.retrieval_settings = stored
    collection.save(update_fields=["retrieval_settings", "updated_at"])
    return wanted


# --- Questions ----------------------------------------------------------------------------


def golden(collection: Collection) -> list[Probe]:
    """The golden set: each question with all documents that answer it."""
    answers: dict[str, set[int]] = defaultdict(set)
    rows = Judgment.objects.filter(collection=collection, document__deleted_at=None)
    for question, document in rows.values_list("question", "document"):
        answers[question.strip()].add(document)
    return [Probe(question, frozenset(ids)) for question, ids in answers.items() if question]


def drawn(collection: Collection, most: int, rng: random.Random) -> Iterator[Probe]:
    """Questions from the collection itself: a title or a heading, and part of a sentence."""
    documents = list(
        Document.objects.searchable().filter(collection=collection).values_list("pk", flat=True)
    )
    for document in rng.sample(documents, min(len(documents), most)):
        chunks = list(
            Chunk.objects.live()
            .filter(document=document, chunking=live_index(collection).chunking)
            .select_related("revision")
            .only("text", "heading_path", "revision__title")
            .order_by("order")[:20]
        )
        if not chunks:
            continue
        chunk = rng.choice(chunks)
        heading = chunk.heading_path[-1] if chunk.heading_path else chunk.revision.title
        sentences = [line for line in SENTENCE_END.split(chunk.text) if len(tokenize(line)) >= 4]
        candidates = [heading]
        if sentences:
            candidates.append(_thinned(rng.choice(sentences), rng))
        question = rng.choice(candidates)
        if len(tokenize(question)) >= SHORTEST_QUESTION:
            yield Probe(normalise(question), frozenset([document]))


def _thinned(sentence: str, rng: random.Random) -> str:
    """Part of a sentence: some of its words, or of its CJK characters a connected part."""
    words = sentence.split()
    if len(words) >= 4:
        kept = [word for word in words if rng.random() < KEPT_WORDS]
        return " ".join(kept or words)
    length = max(int(len(sentence) * KEPT_WORDS), 4)
    begin = rng.randrange(max(len(sentence) - length, 0) + 1)
    return sentence[begin : begin + length]


# --- Listening and deciding ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heard:
    """What both arms said to a question, and which document each chunk belongs to."""

    probe: Probe
    arms: Arms
    documents: Mapping[int, int]
    space: str

    def scores(self, weight: float) -> list[tuple[int, float]]:
        """(document, score) by a weight, best first, each document once."""
        best: dict[int, float] = {}
        for item in fuse(self.arms.dense, self.arms.lexical, space=self.space, weight=weight):
            document = self.documents.get(item.chunk_id)
            if document is not None:
                best.setdefault(document, item.score)
        return list(best.items())

    def reciprocal_rank(self, weight: float) -> float:
        for rank, (document, _) in enumerate(self.scores(weight)[:CUTOFF], start=1):
            if document in self.probe.documents:
                return 1 / rank
        return 0.0


def _listen(
    collection: Collection, probes: Sequence[Probe], progress: Callable[[int, int], None]
) -> Iterator[_Heard]:
    index = live_index(collection)
    for done, probe in enumerate(probes, start=1):
        plan = Plan(
            query=normalise(probe.question),
            collection=collection,
            index=index,
            settings=RetrievalSettings(mode=Mode.HYBRID),
            top_k=CUTOFF,
            within=None,
        )
        arms = ask(plan, DEPTH, Stopwatch())
        if arms.dense_failure is not None:
            raise arms.dense_failure
        if arms.lexical_failure is not None:
            raise SearchUnavailable("Word search does not answer.") from arms.lexical_failure
        found = {item.chunk_id for item in arms.dense} | {item.chunk_id for item in arms.lexical}
        live = Chunk.objects.live().filter(pk__in=found, chunking=index.chunking)
        yield _Heard(probe, arms, dict(live.values_list("pk", "document")), index.space)
        progress(done, len(probes))


def _decide(script: Script, heard: Sequence[_Heard], declared: float) -> Decision:
    """The weight nearest to the declared one among those that are not worse than the best.

    Not worse: by less than one standard error of the difference, so that noise in few
    questions moves nothing; and never worse than the better arm alone by more than that.
    """
    ranks = np.array([[item.reciprocal_rank(weight) for item in heard] for weight in GRID])
    means = ranks.mean(axis=1)
    best = int(means.argmax())
    errors = (ranks - ranks[best]).std(axis=1) / np.sqrt(len(heard))
    good = [place for place in range(len(GRID)) if means[place] + errors[place] >= means[best]]
    chosen = GRID[min(good, key=lambda place: (abs(GRID[place] - declared), -means[place]))]
    return Decision(
        script=script,
        questions=len(heard),
        declared=declared,
        chosen=chosen,
        rows=tuple(
            Row(weight, float(mean), float((row == 1).mean()), float(error))
            for weight, mean, row, error in zip(GRID, means, ranks, errors, strict=True)
        ),
        thresholds={
            made_of: _thresholds(heard, weight, THRESHOLDS[made_of])
            for made_of, weight in (("hybrid", chosen), ("dense", 1.0), ("lexical", 0.0))
        },
    )


def _thresholds(heard: Sequence[_Heard], weight: float, otherwise: Thresholds) -> Thresholds:
    """Scores that tell right answers from wrong ones, if every second question had none.

    A question without an answer is one whose right documents are left out: what then comes
    first scores as wrong answers do.
    """
    right: list[float] = []
    wrong: list[float] = []
    for item in heard:
        scores = item.scores(weight)
        if scores:
            document, score = scores[0]
            (right if document in item.probe.documents else wrong).append(score)
        others = [score for document, score in scores if document not in item.probe.documents]
        wrong.append(others[0] if others else 0.0)
    if len(right) < FEWEST:
        return otherwise
    good, bad = np.sort(right), np.sort(wrong)
    low = float(np.quantile(good, LOST))
    high = _precise_from(good, bad)
    return Thresholds(low=min(low, high), high=high)


def _precise_from(good: NDArray[np.float64], bad: NDArray[np.float64]) -> float:
    """The least score from which PRECISION of the answers are right; both arrays sorted."""
    right = len(good) - np.arange(len(good))
    wrong = len(bad) - np.searchsorted(bad, good)
    precise = right / (right + wrong) >= PRECISION
    # From the first score on that keeps its promise for all above it.
    broken = np.flatnonzero(~precise)
    begin = int(broken[-1]) + 1 if len(broken) else 0
    return float(good[min(begin, len(good) - 1)])
