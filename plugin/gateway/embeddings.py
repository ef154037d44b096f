"""Vectors of texts, by the model of a collection."""

import base64
from typing import Any

from django.conf import settings

from plugin.gateway.errors import ModelNotFound
from retrieval.exceptions import InvalidRequest
from retrieval.factories import embedder_for
from retrieval.lookup import find_collection, live_index
from retrieval.models import Collection, EmbeddingModel

#: Texts and characters of one request.
MAX_TEXTS, MAX_CHARACTERS = 2048, 1_000_000


def find_model(name: str) -> EmbeddingModel | None:
    """The model that a name means: a collection's, whose name it is, or one in use by its own."""
    collections = Collection.objects.alive().select_related("live_index__embedding_model")
    if found := collections.filter(slug=name).first():
        return live_index(found).embedding_model
    in_use = [row.live_index.embedding_model for row in collections if row.live_index]
    default = find_default()
    for model in ([default] if default else []) + in_use:
        if name in {model.name, model.name.rsplit("/", 1)[-1]}:
            return model
    return None


def find_default() -> EmbeddingModel | None:
    if not Collection.objects.alive().filter(slug=settings.DEFAULT_COLLECTION).exists():
        return None
    return live_index(find_collection(settings.DEFAULT_COLLECTION)).embedding_model


def unknown(name: str) -> ModelNotFound:
    default = find_default()
    known = f" The knowledge base embeds with {default.name}." if default else ""
    return ModelNotFound(f"There is no embedding model {name[:200]!r}.{known}", param="model")


def embed(model: EmbeddingModel, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to POST /v1/embeddings. Raises InvalidRequest or EmbeddingError."""
    texts = _texts(body.get("input"))
    wanted = body.get("dimensions")
    if wanted is not None and wanted != model.dimension:
        raise InvalidRequest(
            f"{model.name} has {model.dimension} dimensions, which cannot be changed.",
            param="dimensions",
        )
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise InvalidRequest("`encoding_format` must be float or base64.", param="encoding_format")
    embedder = embedder_for(model)
    vectors = embedder.embed(texts)
    tokens = sum(len(item.ids) for item in embedder.tokenizer.encode_batch(texts))
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": place,
                "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()
                if encoding == "base64"
                else vector.tolist(),
            }
            for place, vector in enumerate(vectors)
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _texts(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise InvalidRequest("`input` must be a text or a list of texts.", param="input")
    if any(not isinstance(text, str) for text in texts):
        raise InvalidRequest(
            "`input` must be text: numbers of tokens mean something else to each model. In "
            "LangChain, set check_embedding_ctx_length=False.",
            param="input",
        )
    if len(texts) > MAX_TEXTS or sum(map(len, texts)) > MAX_CHARACTERS:
        raise InvalidRequest(
            f"`input` may hold {MAX_TEXTS} texts and {MAX_CHARACTERS:,} characters at most.",
            param="input",
        )
    if not all(text.strip() for text in texts):
        raise InvalidRequest("`input` holds an empty text.", param="input")
    return texts
