"""Where settings and rows meet the adapters, which know neither. One of each per process.

chromadb and onnxruntime are imported on first use, so that a command that needs neither
starts in a fraction of a second.
"""

import logging
import threading
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error

from retrieval.exceptions import ModelNotReady, ModelUnusable
from retrieval.lexical import statistics
from retrieval.models import Collection, EmbeddingModel, Index

if TYPE_CHECKING:
    from retrieval.chunking import Chunker
    from retrieval.embedding import Bundle, Embedder, Reranker
    from retrieval.vector_store import VectorStore

logger = logging.getLogger(__name__)

_embedders: dict[int, "Embedder"] = {}
_rerankers: dict[str, "Reranker"] = {}
_loading = threading.Lock()


@cache
def vector_store() -> "VectorStore":
    """For writes and checks, which wait for Chroma to persist."""
    from retrieval.vector_store import VectorStore

    return VectorStore(
        settings.CHROMA_URL, timeout=settings.CHROMA_WRITE_TIMEOUT, token=settings.CHROMA_TOKEN
    )


@cache
def query_store() -> "VectorStore":
    """For searches, which rather answer from words alone than wait."""
    from retrieval.vector_store import VectorStore

    return VectorStore(
        settings.CHROMA_URL, timeout=settings.CHROMA_QUERY_TIMEOUT, token=settings.CHROMA_TOKEN
    )


def bundle_of(model: EmbeddingModel) -> "Bundle | None":
    """What was prepared on this machine of a model row, in its revision and runtime."""
    from retrieval import embedding

    bundle = embedding.find(settings.MODEL_DIR, model.name)
    same = bundle and (bundle.revision, bundle.runtime) == (model.revision, model.runtime)
    return bundle if same else None


def embedder_for(model: EmbeddingModel) -> "Embedder":
    """The embedder of a model row.

    Raises ModelNotReady if it was not prepared on this machine or in another revision.
    """
    embedder = _embedders.get(model.pk)
    if embedder is not None:
        return embedder
    from retrieval import embedding

    with _loading:
        if model.pk not in _embedders:
            bundle = bundle_of(model)
            if bundle is None:
                raise ModelNotReady(
                    f"The embedding model {model.name} is not prepared in {settings.MODEL_DIR}. "
                    f"Run: manage.py prepare_model --model {model.name}"
                )
            _embedders[model.pk] = embedding.load(bundle, settings.EMBEDDING_THREADS)
        return _embedders[model.pk]


def load_before_fork() -> None:
    """Load what every search uses into a process that then forks: its children share it.

    What cannot be loaded yet, or begins threads of its own as torch does, is left to the first
    search that needs it.
    """
    used = Collection.objects.alive().values("live_index__embedding_model")
    try:
        query_store()
        for model in EmbeddingModel.objects.filter(pk__in=used).exclude(
            runtime=EmbeddingModel.Runtime.TORCH
        ):
            with suppress(ModelNotReady, ModelUnusable):
                embedder_for(model)
    except (Error, ImportError) as error:
        logger.warning("no model is loaded before it is needed: %s", error)


def reranker() -> "Reranker":
    """The cross-encoder that KBADMIN_RERANKER names. Raises ModelNotReady."""
    from retrieval import embedding

    with _loading:
        if settings.RERANKER not in _rerankers:
            _rerankers[settings.RERANKER] = embedding.load_reranker(
                settings.MODEL_DIR, settings.RERANKER, settings.EMBEDDING_THREADS
            )
        return _rerankers[settings.RERANKER]


def chunker_for(index: Index) -> "Chunker":
    """The chunker with the settings and the tokens of an index. Raises ModelNotReady."""
    return _chunker(index.embedding_model_id, index.chunk_size, index.chunk_overlap)


@lru_cache(maxsize=4)
def trial_chunker(model_id: int, size: int, overlap: int) -> "Chunker":
    """A chunker with settings that no index has: only the last few are kept."""
    return _new_chunker(model_id, size, overlap)


@cache
def _chunker(model_id: int, size: int, overlap: int) -> "Chunker":
    return _new_chunker(model_id, size, overlap)


def _new_chunker(model_id: int, size: int, overlap: int) -> "Chunker":
    from retrieval.chunking import Chunker

    embedder = embedder_for(EmbeddingModel.objects.get(pk=model_id))
    return Chunker(embedder.tokenizer, size=size, overlap=overlap, max_tokens=embedder.max_tokens)


def reset() -> None:
    """Forget everything that was built; tests change settings."""
    vector_store.cache_clear()
    query_store.cache_clear()
    _chunker.cache_clear()
    trial_chunker.cache_clear()
    _embedders.clear()
    _rerankers.clear()
    statistics.reset()
