"""Whether the parts work, found out by using them."""

import numpy as np

from retrieval.exceptions import ModelNotReady, VectorCollectionMissing
from retrieval.factories import embedder_for, query_store
from retrieval.models import Chunk, EmbeddingModel, Index


def check_embedding() -> None:
    """Every model that a live index uses is loaded. Raises EmbeddingError."""
    models = EmbeddingModel.objects.filter(index__state=Index.State.LIVE).distinct()
    if not models:
        raise ModelNotReady("No collection exists yet. Run: manage.py setup")
    for model in models:
        embedder_for(model)


def check_vectors() -> None:
    """Chroma counts and queries every live index. Raises VectorStoreError.

    The server's own heartbeat stays green over a damaged collection, so it proves nothing.
    """
    store = query_store()
    store.heartbeat()
    for index in (
        Index.objects.filter(state=Index.State.LIVE, collection__deleted_at=None)
        .select_related("embedding_model")
        .order_by("pk")[:20]
    ):
        try:
            if store.count(index.physical_name):
                probe = np.full(index.embedding_model.dimension, 0.1, dtype=np.float32)
                store.query(index.physical_name, probe, 1)
        except VectorCollectionMissing:
            # Made with its first document: only with documents is its absence a fault.
            if Chunk.objects.live().filter(document__collection=index.collection_id).exists():
                raise
