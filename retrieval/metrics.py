"""How good rankings are, by the field's definitions, and how sure that is. Pure functions.

Relevance is binary. Definitions are those of trec_eval (recall, success, recip_rank, ndcg_cut);
tests hold every one against it.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Bootstrap resamples; the ends of an interval vary by a tenth of its width or less.
RESAMPLES = 2000
#: Of the bootstrap distribution: a 95 % interval by percentiles.
PERCENTILES = (2.5, 97.5)
#: Numbers drawn at once: 32 MB, however many questions there are.
DRAWN_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and the 95 % interval that the true one is thought to lie in."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Of a difference: whether it is more than chance."""
        return self.low > 0 or self.high < 0


# --- One question ---------------------------------------------------------------------------
# `ranked` holds distinct document ids, best first; `relevant` at least one.


def recall_at_k(ranked: Sequence[str], relevant: AbstractSet[str], k: int) -> float:
    """The share of the relevant documents that are among the first k, in [0, 1]."""
    return _found(ranked, relevant, k) / len(relevant)


def hit_at_k(ranked: Sequence[str], relevant: AbstractSet[str], k: int) -> float:
    """1 if a relevant document is among the first k, else 0."""
    return float(_found(ranked, relevant, k) > 0)


def reciprocal_rank(ranked: Sequence[str], relevant: AbstractSet[str], k: int = 10) -> float:
    """One by the rank of the first relevant document; 0 if none is among the first k.

    The mean over questions is MRR@k.
    """
    _check(ranked, relevant, k)
    for rank, document in enumerate(ranked[:k], start=1):
        if document in relevant:
            return 1 / rank
    return 0.0


def ndcg_at_k(ranked: Sequence[str], relevant: AbstractSet[str], k: int = 10) -> float:
    """Discounted cumulative gain by that of the best possible ranking, in [0, 1].

    Gains are 0 or 1, discounts log2(rank + 1) (Järvelin and Kekäläinen, 2002).
    """
    _check(ranked, relevant, k)
    gain = sum(
        1 / math.log2(rank + 1)
        for rank, document in enumerate(ranked[:k], start=1)
        if document in relevant
    )
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    return gain / ideal


def measure(ranked: Sequence[str], relevant: AbstractSet[str]) -> dict[str, float]:
    """Every metric of one question, by its name."""
    return {
        "recall@1": recall_at_k(ranked, relevant, 1),
        "recall@5": recall_at_k(ranked, relevant, 5),
        "recall@10": recall_at_k(ranked, relevant, 10),
        "hit@1": hit_at_k(ranked, relevant, 1),
        "hit@5": hit_at_k(ranked, relevant, 5),
        "MRR@10": reciprocal_rank(ranked, relevant, 10),
        "nDCG@10": ndcg_at_k(ranked, relevant, 10),
    }


def _found(ranked: Sequence[str], relevant: AbstractSet[str], k: int) -> int:
    _check(ranked, relevant, k)
    return sum(document in relevant for document in ranked[:k])


def _check(ranked: Sequence[str], relevant: AbstractSet[str], k: int) -> None:
    if not relevant:
        raise ValueError("a question without a relevant document has no metrics")
    if k < 1:
        raise ValueError("k begins at 1")
    if len(set(ranked)) != len(ranked):
        raise ValueError("a document stands in the ranking twice")


# --- Many questions -------------------------------------------------------------------------


def mean_with_interval(
    values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean of one value for each question, with its bootstrap interval.

    The questions are drawn anew, with replacement, `resamples` times; the interval is where the
    middle 95 % of the means lie (Efron's percentile method). The same seed gives the same.

    Raises ValueError without values.
    """
    return summarise({"": values}, resamples=resamples, seed=seed)[""]


def summarise(
    values: Mapping[str, Sequence[float]], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """`mean_with_interval` of several metrics of the same questions, drawn together."""
    matrix = np.array(list(values.values()), dtype=np.float64)
    if matrix.size == 0:
        raise ValueError("there is nothing to take the mean of")
    means = _bootstrap_means(matrix, resamples, seed)
    low, high = np.percentile(means, PERCENTILES, axis=1)
    return {
        name: Interval(float(row.mean()), float(low[line]), float(high[line]))
        for line, (name, row) in enumerate(zip(values, matrix, strict=True))
    }


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """How much higher `after` is than `before` on the same questions in the same order.

    Questions are drawn, not values: what both find hard does not widen the interval.
    """
    if len(before) != len(after):
        raise ValueError("both need a value for each question")
    differences = np.subtract(after, before)
    return mean_with_interval(differences.tolist(), resamples=resamples, seed=seed)


def _bootstrap_means(matrix: Floats, resamples: int, seed: int) -> Floats:
    """Means of (metrics, questions) over drawn questions: shape (metrics, resamples)."""
    rng = np.random.default_rng(seed)
    count = matrix.shape[1]
    means = np.empty((matrix.shape[0], resamples))
    step = max(1, DRAWN_AT_ONCE // count)
    for start in range(0, resamples, step):
        end = min(start + step, resamples)
        drawn = rng.integers(0, count, size=(end - start, count))
        for line, row in enumerate(matrix):
            means[line, start:end] = row[drawn].mean(axis=1)
    return means
