"""Making collections and the models they need."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import transaction

from retrieval import embedding
from retrieval.exceptions import ModelNotReady
from retrieval.models import Collection, EmbeddingModel


def prepare_model(name: str, say: Callable[[str], None]) -> EmbeddingModel:
    """Make a model ready to serve and return its row. Does nothing if both are there.

    Raises ModelUnusable, with a sentence for the person who chose the name.
    """
    bundle = embedding.prepare(name, settings.MODEL_DIR, say)
    model, _ = EmbeddingModel.objects.get_or_create(
        name=bundle.name,
        revision=bundle.revision,
        runtime=bundle.runtime,
        defaults={
            "dimension": bundle.dimension,
            "max_tokens": bundle.max_tokens,
            "languages": list(bundle.languages),
        },
    )
    return model


def default_model() -> EmbeddingModel:
    """The model that new collections use. Raises ModelNotReady before it was prepared."""
    model = EmbeddingModel.objects.newest_named(settings.EMBEDDING_MODEL)
    if model is None:
        raise ModelNotReady(
            f"The embedding model {settings.EMBEDDING_MODEL} is not prepared yet. "
            "Run: manage.py prepare_model"
        )
    return model


@transaction.atomic
def create_collection(
    *, slug: str, title: str, description: str = "", **options: Any
) -> Collection:
    """A new collection with its first index, ready to take documents.

    `options` are further fields of Collection. Raises ModelNotReady before a model was prepared.
    """
    options.setdefault("embedding_model", default_model())
    collection = Collection.objects.create(
        slug=slug, title=title, description=description, **options
    )
    collection.open_first_index()
    return collection
