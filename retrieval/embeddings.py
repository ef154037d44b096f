"""Stored embeddings: (model, text hash) → vector, computed once and kept for good."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from retrieval.factories import embedder_for
from retrieval.models import Embedding, EmbeddingModel

#: Texts that are embedded before their vectors are committed: a kill loses no more than these.
EMBED_BATCH = 256
#: Hashes in one query: SQLite takes a limited number of parameters.
LOOKUP_BATCH = 900

#: Vectors of shape (dimension,) by the hash of their text.
Vectors = dict[str, NDArray[np.float32]]


def embeddings_of(model: EmbeddingModel, texts: dict[str, str]) -> Vectors:
    """Vectors of texts by their hash: stored ones where they exist, new ones computed and
    stored, so that no text is ever embedded twice by the same model."""
    vectors = stored_embeddings(model.pk, texts)
    missing = [digest for digest in texts if digest not in vectors]
    # Sorted by length across documents, so that little of a batch is padding.
    missing.sort(key=lambda digest: len(texts[digest]))
    for begin in range(0, len(missing), EMBED_BATCH):
        part = missing[begin : begin + EMBED_BATCH]
        rows = embedder_for(model).embed([texts[digest] for digest in part])
        vectors.update(zip(part, rows, strict=True))
        Embedding.objects.bulk_create(
            [
                Embedding(embedding_model=model, text_hash=digest, vector=Embedding.pack(row))
                for digest, row in zip(part, rows, strict=True)
            ],
            ignore_conflicts=True,
        )
    return vectors


def stored_embeddings(model_id: int, digests: Iterable[str]) -> Vectors:
    """Vectors by text hash, of those that this model has read already."""
    wanted = list(digests)
    found: Vectors = {}
    for begin in range(0, len(wanted), LOOKUP_BATCH):
        found.update(
            (digest, Embedding.unpack(vector))
            for digest, vector in Embedding.objects.filter(
                embedding_model=model_id, text_hash__in=wanted[begin : begin + LOOKUP_BATCH]
            ).values_list("text_hash", "vector")
        )
    return found
