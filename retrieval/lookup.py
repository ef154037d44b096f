"""Collections and their indexes as a search needs them, by one query."""

import json

from retrieval.exceptions import CollectionNotFound, InvalidRequest, SearchUnavailable
from retrieval.models import Collection, EmbeddingModel, Index
from retrieval.prepared import Prepared, instance

#: What a search needs of its collection, its live index and that index's model.
COLLECTION = ("id", "slug", "default_top_k", "retrieval_settings", "has_aliases", "live_index_id")
INDEX = (
    "id",
    "collection_id",
    "physical_name",
    "embedding_model_id",
    "space",
    "chunk_size",
    "chunk_overlap",
    "chunker_version",
)
MODEL = ("id", "name", "revision", "runtime", "dimension", "languages")
_collection = Prepared(
    lambda values: (
        Collection.objects.alive()
        .filter(slug=values[0])
        .order_by()
        .values_list(
            *COLLECTION,
            *(f"live_index__{name}" for name in INDEX),
            *(f"live_index__embedding_model__{name}" for name in MODEL),
        )
    )
)


def find_collection(slug: str) -> Collection:
    """A collection with its live index and that one's model. Raises CollectionNotFound."""
    rows = _collection.rows([slug])
    if not rows:
        raise CollectionNotFound(f"There is no collection {slug!r}.")
    of_index = len(COLLECTION)
    of_model = of_index + len(INDEX)
    row = list(rows[0])
    settings_at = COLLECTION.index("retrieval_settings")
    row[settings_at] = json.loads(row[settings_at])
    collection = instance(Collection, COLLECTION, row[:of_index])
    if collection.live_index_id is not None:
        row[-1] = json.loads(row[-1])
        index = instance(Index, INDEX, row[of_index:of_model])
        index.embedding_model = instance(EmbeddingModel, MODEL, row[of_model:])
        collection.live_index = index
    return collection


def live_index(collection: Collection) -> Index:
    """Raises SearchUnavailable if the collection was given none yet."""
    if collection.live_index is None:
        raise SearchUnavailable(f"The collection {collection.slug} has no index yet.")
    return collection.live_index


def index_of(collection: Collection, index_id: int | None) -> Index:
    """The live index, or another one that is complete.

    Raises InvalidRequest if that is not one, or SearchUnavailable if there is none yet.
    """
    if index_id is None:
        return live_index(collection)
    index = (
        Index.objects.complete()
        .filter(collection=collection, pk=index_id)
        .select_related("embedding_model")
        .first()
    )
    if index is None:
        raise InvalidRequest(
            f"{collection.slug} has no index {index_id}, or it is no complete index."
        )
    return index
