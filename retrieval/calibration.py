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

from retrieval.chunking import without_markup
from retrieval.exceptions import InvalidRequest, SearchUnavailable
from retrieval.fusion import declared_weight, fuse, script_of
from retrieval.lexical import tokenize
from retrieval.lookup import find_collection, live_index
from retrieval.models import Chunk, Collection, Document, Judgment
from retrieval.retrieval_settings import parse
from retrieval.search import Arms, Plan, Stopwatch, ask, normalise
from retrieval.types import Mode, RetrievalSettings, Script, Thresholds

#: Weights of the dense arm that are tried.
GRID = tuple(step / 20 for step in range(21))
#: Questions of a script without which nothing is decided about it.
FEWEST = 20
#: Candidates of each arm, and the rank behind which an answer counts as not found.
DEPTH, CUTOFF = 50, 10
#: A drawn question is this share of a sentence, and this share of one from another document:
#: real questions use words of their own, and half of what they say is said elsewhere, too.
OWN_WORDS, FOREIGN_WORDS = 0.5, 0.3
SHORTEST_SENTENCE = 6  #: index terms
#: Drawn questions still share more words with their answer than real ones, so the declared
#: weight stays where it costs no more MRR than this. Real questions decide by noise alone.
BIAS = 0.03
#: Of questions without an answer, so many score less than what counts as high confidence, and
#: as low instead of none.
HIGH_QUANTILE, LOW_QUANTILE = 0.95, 0.5
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")


@dataclass(frozen=True, slots=True)
class Probe:
    """A question whose answer is known."""

    question: str
    documents: frozenset[int]
    #: documents that lent it words; they are neither right nor wrong
    lenders: frozenset[int] = frozenset()


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
    """The weights chosen for a collection, by script, and what they were chosen by."""

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
    probes, source, bias = golden(collection), "golden set", 0.0
    if len(probes) < FEWEST:
        probes, source, bias = drawn(collection, most, rng), "drawn from the documents", BIAS
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
            _decide(script, items, declared_weight(script, languages), bias)
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


def drawn(collection: Collection, most: int, rng: random.Random) -> list[Probe]:
    """Questions from the collection itself, two for each document.

    One is part of a title, heading or sentence of the document and a smaller part of another
    document's: it tells weights apart. One is such a part alone: what other documents score
    for it is what a question scores that has no answer.
    """
    documents = list(
        Document.objects.searchable().filter(collection=collection).values_list("pk", flat=True)
    )
    sentences: dict[int, list[str]] = {}
    for document in rng.sample(documents, min(len(documents), most // 2)):
        if found := _sentences(collection, document, rng):
            sentences[document] = found
    probes = []
    for document, own in sentences.items():
        lender = rng.choice(list(sentences))
        if lender == document:
            continue
        alone = _part(rng.choice(own), OWN_WORDS, rng)
        mixed = f"{alone} {_part(rng.choice(sentences[lender]), FOREIGN_WORDS, rng)}"
        probes.append(Probe(normalise(mixed), frozenset([document]), frozenset([lender])))
        probes.append(Probe(normalise(alone), frozenset([document])))
    return probes


def _sentences(collection: Collection, document: int, rng: random.Random) -> list[str]:
    """Title, headings and the sentences of one chunk, as far as they say enough."""
    chunks = list(
        Chunk.objects.live()
        .filter(document=document, chunking=live_index(collection).chunking)
        .select_related("revision")
        .only("text", "heading_path", "revision__title")
        .order_by("order")[:20]
    )
    if not chunks:
        return []
    chunk = rng.choice(chunks)
    headings = " ".join([chunk.revision.title, *chunk.heading_path])
    lines = [headings, *SENTENCE_END.split(without_markup(chunk.text))]
    return [line.strip() for line in lines if len(tokenize(line)) >= SHORTEST_SENTENCE]


def _part(sentence: str, share: float, rng: random.Random) -> str:
    """Some of a sentence's words, in order; where there are no blanks, a connected part."""
    words = sentence.split()
    if len(words) >= 4:
        count = max(int(len(words) * share), 2)
        return " ".join(words[place] for place in sorted(rng.sample(range(len(words)), count)))
    length = max(int(len(sentence) * share), 3)
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
            if document is not None and document not in self.probe.lenders:
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


def _decide(script: Script, heard: Sequence[_Heard], declared: float, bias: float) -> Decision:
    """The weight nearest to the declared one among those that are not worse than the best.

    Not worse: by less than one standard error of the difference, or by less than `bias`, so
    that noise in few questions moves nothing.
    """
    mixed = [item for item in heard if item.probe.lenders] or heard
    alone = [item for item in heard if not item.probe.lenders] or heard
    ranks = np.array([[item.reciprocal_rank(weight) for item in mixed] for weight in GRID])
    means = ranks.mean(axis=1)
    best = int(means.argmax())
    errors = (ranks - ranks[best]).std(axis=1) / np.sqrt(len(mixed))
    margin = np.maximum(errors, bias)
    good = [place for place in range(len(GRID)) if means[place] + margin[place] >= means[best]]
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
            made_of: _thresholds(alone, weight)
            for made_of, weight in (("hybrid", chosen), ("dense", 1.0), ("lexical", 0.0))
        },
    )


def _thresholds(heard: Sequence[_Heard], weight: float) -> Thresholds:
    """What questions score that have no answer: those whose right documents are left out."""
    scores = [
        next(
            (
                score
                for document, score in item.scores(weight)
                if document not in item.probe.documents
            ),
            0.0,
        )
        for item in heard
    ]
    low, high = np.quantile(scores, [LOW_QUANTILE, HIGH_QUANTILE])
    return Thresholds(low=float(low), high=float(high))
