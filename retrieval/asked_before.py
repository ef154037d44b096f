"""Whether two questions ask the same by their vectors, whatever model made these."""

import logging
from weakref import WeakKeyDictionary

import numpy as np

from retrieval.embedding.base import Embedder
from retrieval.exceptions import KnowledgeBaseError
from retrieval.factories import embedder_for
from retrieval.models import EmbeddingModel

logger = logging.getLogger(__name__)

#: From this likeness on. Of questions from the same articles that ask something else, one in
#: twenty comes as near to one of three hundred (XQuAD, all-MiniLM-L6-v2).
SAME_QUESTION = 0.66
#: Nobody takes one of these for another.
UNRELATED = (
    "How do I reset my password?",
    "When does the canteen open on Fridays?",
    "Who wrote the oldest letter in the museum?",
    "Which river runs through the capital?",
    "What is the boiling point of water?",
    "Why was the train to the airport late?",
)


def likeness(cosine: float, model: EmbeddingModel) -> float:
    """How far two questions ask the same, in [0, 1], by the cosine of their vectors.

    0 is what unrelated questions have.
    """
    try:
        base = between_unrelated(model)
    except KnowledgeBaseError as error:
        logger.warning("questions are not compared by meaning: %s", error.message)
        return 0.0
    return min(max((cosine - base) / max(1 - base, 0.01), 0.0), 1.0)


_known: WeakKeyDictionary[Embedder, float] = WeakKeyDictionary()


def between_unrelated(model: EmbeddingModel) -> float:
    """The cosine of two questions that have nothing in common: with some models 0.1, with others
    0.8. Raises KnowledgeBaseError if the model does not answer."""
    embedder = embedder_for(model)
    if embedder not in _known:
        _known[embedder] = _measure(embedder)
    return _known[embedder]


def _measure(embedder: Embedder) -> float:
    vectors = np.stack([embedder.embed_query(question) for question in UNRELATED])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    above = np.triu_indices(len(UNRELATED), 1)
    return max(float(np.median((vectors @ vectors.T)[above])), 0.0)
