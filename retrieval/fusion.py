"""How two arms become one ranking, and how far each is trusted. Pure functions.

Scores are combined, not ranks: on Chinese text with an English model, equal-weight rank
fusion is far worse than words alone. Each arm's score is brought to [0, 1] by what it could
have been at most, never by what the best hit happened to get (Bruch et al., "An Analysis of
Fusion Functions for Hybrid Retrieval", 2023), so that scores compare between queries.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.lexical.tokenizer import CJK_RUN
from retrieval.types import DenseCandidate, LexicalCandidate, Script, Thresholds

#: Weight of the dense arm where the model understands the script, where its card is silent,
#: and where it does not understand it: then its order only breaks the lexical arm's ties.
UNDERSTOOD, UNKNOWN, NOT_UNDERSTOOD = 0.5, 0.4, 0.0
#: Until a collection is calibrated: by what the score was made of, and by script. Chinese
#: questions are cut into many overlapping terms of which an answer holds fewer.
THRESHOLDS = {
    "hybrid": {Script.ALPHABETIC: Thresholds(0.27, 0.48), Script.CJK: Thresholds(0.15, 0.35)},
    "dense": {Script.ALPHABETIC: Thresholds(0.4, 0.6), Script.CJK: Thresholds(0.55, 0.75)},
    "lexical": {Script.ALPHABETIC: Thresholds(0.2, 0.4), Script.CJK: Thresholds(0.12, 0.3)},
    "reranked": {Script.ALPHABETIC: Thresholds(0.2, 0.6), Script.CJK: Thresholds(0.2, 0.6)},
}
CJK_LANGUAGES = ("zh", "ja", "ko")
ALPHABETIC_WORD = re.compile(r"[^\W\d_]+")


class Fused(NamedTuple):
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


def cjk_share(query: str) -> float:
    """How much of a query is Chinese, Japanese or Korean: its characters against words."""
    characters = sum(len(run.group()) for run in CJK_RUN.finditer(query))
    words = len(ALPHABETIC_WORD.findall(CJK_RUN.sub(" ", query)))
    # Two characters carry about what a word does.
    return characters / 2 / (characters / 2 + words) if characters else 0.0


def script_of(query: str) -> Script:
    return Script.CJK if cjk_share(query) >= 0.5 else Script.ALPHABETIC


def declared_weight(script: Script, languages: Sequence[str]) -> float:
    """The share of the dense arm that follows from the languages of the model's card."""
    if not languages:
        return UNKNOWN
    if "*" in languages or script is Script.ALPHABETIC:
        return UNDERSTOOD
    known = any(language in CJK_LANGUAGES for language in languages)
    return UNDERSTOOD if known else NOT_UNDERSTOOD


def dense_weight(
    query: str, languages: Sequence[str], learned: Mapping[Script, float] | None = None
) -> float:
    """The share of the dense arm for a query: what was learned, else what the model declares.

    A query in two scripts gets a weight between theirs, by how much of it is in each.
    """
    weights = {script: declared_weight(script, languages) for script in Script} | dict(
        learned or {}
    )
    share = cjk_share(query)
    return share * weights[Script.CJK] + (1 - share) * weights[Script.ALPHABETIC]


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
    by_words = {candidate.chunk_id: candidate for candidate in lexical}
    fused = []
    for near in dense:
        said = by_words.pop(near.chunk_id, None)
        score = weight * similarity(near.distance, space)
        if said is not None:
            score += (1 - weight) * said.score
        fused.append(Fused(near.chunk_id, score, near, said))
    fused += [
        Fused(said.chunk_id, (1 - weight) * said.score, None, said) for said in by_words.values()
    ]
    return sorted(fused, key=_place)


def _place(item: Fused) -> tuple[float, float, float, int]:
    """The best score first. An arm without weight breaks ties; then the id, so that the order is
    always the same."""
    near, said = item.dense, item.lexical
    return (
        -item.score,
        near.distance if near else math.inf,
        -said.score if said else 0.0,
        item.chunk_id,
    )


def thresholds_for(
    made_of: str, script: Script, calibrated: Mapping[str, Mapping[Script, Thresholds]]
) -> Thresholds:
    """By which scores a query's answer is judged: the collection's own, else the defaults."""
    return calibrated.get(made_of, {}).get(script) or THRESHOLDS[made_of][script]


def confidence(scores: Sequence[float], thresholds: Thresholds) -> str:
    """How far an answer can be relied on, from its hits' scores, best first.

    high: of questions that the collection cannot answer, at most one in twenty scores as much.
    none: half of them score as much. low: between the two. The thresholds are measured for
    each collection by `manage.py calibrate`, or else THRESHOLDS.
    """
    if not scores or scores[0] < thresholds.low or scores[0] <= 0:
        return "none"
    return "high" if scores[0] >= thresholds.high else "low"
