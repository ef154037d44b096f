"""How two arms become one ranking, and how far each is trusted. Pure functions.

Scores are combined, not ranks: on Chinese text with an English model, equal-weight rank
fusion is far worse than words alone. Each arm's score is brought to [0, 1] by what it could
have been at most, never by what the best hit happened to get (Bruch et al., "An Analysis of
Fusion Functions for Hybrid Retrieval", 2023), so that scores compare between queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.lexical.tokenizer import has_cjk
from retrieval.types import DenseCandidate, LexicalCandidate

#: Weight of the dense arm where the model understands the script, where its card is silent,
#: and where it does not understand it.
UNDERSTOOD, UNKNOWN, NOT_UNDERSTOOD = 0.5, 0.4, 0.05
#: Scores from which an answer counts as likely right, and as worth showing.
HIGH_SCORE, LOW_SCORE = 0.5, 0.25
CJK_LANGUAGES = ("zh", "ja", "ko")


@dataclass(frozen=True, slots=True)
class Fused:
    chunk_id: int
    score: float  #: in [0, 1]
    dense: DenseCandidate | None
    lexical: LexicalCandidate | None


def similarity(distance: float, space: str) -> float:
    """A distance as a score in [0, 1]; exact cosine for `cosine` and for unit vectors.

    cosine and ip: 1 - distance is the cosine or the inner product. l2 is Chroma's squared
    distance: |a - b|² = 2 - 2·cos for unit vectors. Opposite meaning counts as no meaning.
    """
    cosine = 1 - distance / 2 if space == "l2" else 1 - distance
    return min(max(cosine, 0.0), 1.0)


def distances_to(
    vector: NDArray[np.float32],
    matrix: NDArray[np.float32],
    space: str,
) -> NDArray[np.float32]:
    """Distances as Chroma defines them, of (dimension,) to (n, dimension): shape (n,)."""
    if space == "l2":
        return np.asarray(((matrix - vector) ** 2).sum(axis=1))
    products = matrix @ vector
    if space == "ip":
        return np.asarray(1 - products)
    norms = np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector)
    return np.asarray(1 - products / np.maximum(norms, 1e-12))


def dense_weight(query: str, languages: Sequence[str]) -> float:
    """The share of the dense arm for a query, given the languages of the model's card."""
    if not languages:
        return UNKNOWN
    if "*" in languages:
        return UNDERSTOOD
    if has_cjk(query):
        known = any(language in CJK_LANGUAGES for language in languages)
        return UNDERSTOOD if known else NOT_UNDERSTOOD
    return UNDERSTOOD


def fuse(
    dense: Sequence[DenseCandidate],
    lexical: Sequence[LexicalCandidate],
    *,
    space: str,
    weight: float,
) -> list[Fused]:
    """Both arms' candidates by combined score, best first.

    `weight` in [0, 1] is the dense arm's share. An arm that did not find a chunk adds nothing.
    """
    by_meaning = {candidate.chunk_id: candidate for candidate in dense}
    by_words = {candidate.chunk_id: candidate for candidate in lexical}
    fused = []
    for chunk_id in by_meaning.keys() | by_words.keys():
        near, said = by_meaning.get(chunk_id), by_words.get(chunk_id)
        score = weight * similarity(near.distance, space) if near else 0.0
        score += (1 - weight) * said.score if said else 0.0
        fused.append(Fused(chunk_id=chunk_id, score=score, dense=near, lexical=said))
    # The id breaks ties, so that the same question always gets the same order.
    return sorted(fused, key=lambda item: (-item.score, item.chunk_id))


def confidence(scores: Sequence[float]) -> str:
    """How far an answer can be relied on, from its hits' scores, best first."""
    if not scores or scores[0] < LOW_SCORE:
        return "none"
    return "high" if scores[0] >= HIGH_SCORE else "low"
