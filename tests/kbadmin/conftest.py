from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from retrieval import reports, sync
from retrieval.admin import index_state
from retrieval.ingest import accept
from retrieval.models import (
    Chunk,
    Collection,
    Document,
    Embedding,
    EmbeddingModel,
    Index,
    IndexReport,
    Revision,
)
from retrieval.vector_store import VectorStore

Add = Callable[..., Document]


def twin_of(document: Document, name: str = "copy.md") -> Document:
    """Another document with the same bytes."""
    return accept(
        document.collection,
        external_id=name,
        filename=name,
        data=document.latest_revision.original.read(),  # type: ignore[union-attr]
        origin=Document.Origin.UPLOAD,
    ).document


def make_report(index: Index, kind: str) -> IndexReport:
    """A report as a worker makes it."""
    report = reports.request(index, kind)
    maker = reports.ReportMaker("test")
    while maker.step():
        pass
    report.refresh_from_db()
    return report


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def model(db: None, settings: Any) -> EmbeddingModel:
    return EmbeddingModel.objects.create(
        name=settings.EMBEDDING_MODEL,
        revision="1",
        runtime=EmbeddingModel.Runtime.ONNX_INT8,
        dimension=384,
        max_tokens=256,
    )


@pytest.fixture
def collection(model: EmbeddingModel) -> Collection:
    collection = Collection.objects.create(slug="docs", title="Handbook", embedding_model=model)
    collection.open_first_index()
    return collection


@pytest.fixture
def add(collection: Collection) -> Add:
    """Makes documents as the worker would leave them."""

    def add(
        name: str = "refunds.md", state: str = "indexed", failure: str = "", chunks: int = 1
    ) -> Document:
        accepted = accept(
            collection,
            external_id=name,
            filename=name,
            data=f"# {name}".encode(),
            origin=Document.Origin.UPLOAD,
        )
        document, revision = accepted.document, accepted.revision
        Revision.objects.filter(pk=revision.pk).update(
            state=state,
            text=f"The text of {name}.",
            metadata={"tags": ["a", "b"], "public": True},
            failure_message=failure,
            failure_code="no_text" if failure else "",
        )
        if state == "indexed":
            Document.objects.filter(pk=document.pk).update(live_revision=revision)
            Chunk.objects.bulk_create(
                Chunk(
                    document=document,
                    revision=revision,
                    chunking=collection.live_index.chunking,  # type: ignore[union-attr]
                    order=order,
                    start=order * 10,
                    end=order * 10 + 9,
                    heading_path=["Refunds"],
                    text=f"passage {order} of {name}",
                    token_count=4,
                    text_hash="0",
                )
                for order in range(chunks)
            )
        document.refresh_from_db()
        return document

    return add


@pytest.fixture
def index(collection: Collection) -> Index:
    return Index.objects.select_related("embedding_model", "collection").get(
        collection=collection, state=Index.State.LIVE
    )


@pytest.fixture
def chroma_store(chroma: str, monkeypatch: pytest.MonkeyPatch) -> VectorStore:
    """The running Chroma, as pages and workers see it."""
    store = VectorStore(chroma, timeout=30)
    monkeypatch.setattr(index_state, "impatient_store", lambda: store)
    return store


@pytest.fixture
def fill(add: Add, index: Index, chroma_store: VectorStore) -> Callable[..., list[Chunk]]:
    """Makes documents whose chunks are in the live index, in both stores."""

    def fill(documents: int = 1, chunks: int = 1, name: str = "note") -> list[Chunk]:
        made = []
        for number in range(documents):
            document = add(f"{name}-{number}.md", chunks=chunks)
            for chunk in document.chunks.order_by("order"):
                chunk.chunking = index.chunking
                chunk.text_hash = f"{chunk.pk:016x}" * 2
                chunk.text = f"What the {name} {number} says of apples, part {chunk.order}."
                chunk.save()
                made.append(chunk)
        vectors = {}
        for chunk in made:
            vector = np.random.default_rng(chunk.pk).normal(size=384).astype(np.float32)
            vectors[chunk.text_hash] = vector / np.linalg.norm(vector)
        Embedding.objects.bulk_create(
            Embedding(
                embedding_model=index.embedding_model,
                text_hash=digest,
                vector=Embedding.pack(vector),
            )
            for digest, vector in vectors.items()
        )
        sync.send_chunks(chroma_store, index, made, vectors)
        return made

    return fill


@pytest.fixture
def without_chroma(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens where pages ask Chroma."""
    nowhere = VectorStore("http://127.0.0.1:9", timeout=0.5)
    monkeypatch.setattr(index_state, "impatient_store", lambda: nowhere)


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss", password="a long password")


@pytest.fixture
def page(boss: User, client: Client) -> Client:
    """A browser in which an administrator is logged in."""
    client.force_login(boss)
    return client


@pytest.fixture
def set_state() -> Callable[..., None]:
    def set_state(document: Document, state: str, failure: str = "") -> None:
        Revision.objects.filter(document=document).update(
            state=state, failure_message=failure, state_at=timezone.now()
        )

    return set_state
