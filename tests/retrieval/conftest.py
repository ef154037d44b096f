"""What the tests of retrieval/ share: leftovers removed, Hypothesis calm and without a folder."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache

import pytest
from django.db import DatabaseError
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from retrieval import chunking, embedding, indexing
from retrieval.embedding.onnx_runtime import OnnxEmbedder
from retrieval.models import Chunk, Collection, EmbeddingModel, Revision
from retrieval.vector_store import VectorStore
from tests.isolation import CHROMA_PORT, DATA_DIR, free_port

set_hypothesis_home_dir(DATA_DIR / "hypothesis")
settings.register_profile(
    "kbadmin",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("kbadmin")


@pytest.fixture(scope="session", autouse=True)
def loaded_once() -> Iterator[None]:
    """The same model and the same chunker are made once for all tests; they hold no state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "load", cache(embedding.load))
        patch.setattr(chunking, "Chunker", cache(chunking.Chunker))
        yield


@pytest.fixture
def shelf(db: None) -> Collection:
    """A collection without an index, for what needs no more than its row."""
    model = EmbeddingModel.objects.create(
        name="none", revision="1", runtime="onnx", dimension=2, max_tokens=8
    )
    return Collection.objects.create(slug="docs", title="Docs", embedding_model=model)


@pytest.fixture
def store(chroma: str) -> VectorStore:
    """The running Chroma, seen through a connection of the test's own."""
    return VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=30)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that the model reads as a document from now on."""
    texts: list[str] = []
    really = OnnxEmbedder.embed

    def embed(self, batch):
        texts.extend(batch)
        return really(self, batch)

    monkeypatch.setattr(OnnxEmbedder, "embed", embed)
    return texts


@pytest.fixture
def in_chroma(store: VectorStore) -> Callable[[Collection], dict[str, str]]:
    """What Chroma holds of a collection's live index: id → hash."""

    def read(collection: Collection) -> dict[str, str]:
        collection.refresh_from_db()
        assert collection.live_index is not None
        store.forget(collection.live_index.physical_name)
        return dict(store.hashes(collection.live_index.physical_name))

    return read


def live_rows(collection: Collection) -> dict[str, str]:
    """What Chroma should hold: id → hash of every live chunk."""
    rows = Chunk.objects.live().filter(document__collection=collection)
    return {str(pk): digest for pk, digest in rows.values_list("pk", "text_hash")}


def work(owner: str = "test") -> None:
    """What a worker does until nothing is due."""
    while revisions := indexing.claim(owner):
        indexing.process(owner, revisions)


def make_due() -> None:
    """Let the time pass that postponed revisions wait."""
    Revision.objects.filter(not_before__isnull=False).update(
        not_before=timezone.now() - timedelta(seconds=1)
    )


@pytest.fixture
def no_chroma(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chroma is away: nobody listens where searches ask it."""
    store = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr("retrieval.search.query_store", lambda: store)


@pytest.fixture
def no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word index of searches is broken."""

    class Broken:
        def search(self, *args: object, **kwargs: object) -> None:
            raise DatabaseError("malformed index")

    monkeypatch.setattr("retrieval.search.lexical_index", Broken)
