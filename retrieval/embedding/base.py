"""What every embedder and every reranker can do, whatever runs it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Texts → vectors, of one model."""

    dimension: int
    max_tokens: int
    tokenizer: Tokenizer

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Documents → vectors, float32 of shape (len(texts), dimension), in the same order."""

    def embed_query(self, text: str) -> Vectors:
        """A question → one vector, float32 of shape (dimension,)."""


class Reranker(Protocol):
    def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        """How well each passage answers the query, in [0, 1], higher is better; same order.

        Raises EmbeddingError if the model fails.
        """
