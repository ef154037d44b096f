"""Drift between the rows and Chroma: found, reported, repaired."""

import numpy as np
import pytest

from retrieval import sync
from retrieval.exceptions import VectorStoreUnavailable
from retrieval.models import Chunk, Embedding, Index
from retrieval.search import search
from retrieval.types import SearchRequest
from retrieval.vector_store import VectorRecord, VectorStore
from tests.isolation import free_port
from tests.retrieval.conftest import live_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def index(add, collection):
    for number in range(6):
        text = f"# Page {number}\n\nThe zebra sleeps {number} times."
        add(f"{number}.md", text, index=number == 5)
    collection.refresh_from_db()
    return Index.objects.select_related("embedding_model", "collection").get(
        pk=collection.live_index_id
    )


def record(id_, digest="x"):
    return VectorRecord(str(id_), digest, np.ones(384, dtype=np.float32))


def test_what_agrees_is_clean(index):
    drift = sync.compare(index)
    assert drift.is_clean
    assert (drift.expected, drift.found) == (6, 6)


def test_every_kind_of_drift_is_named(index, store):
    chunks = list(Chunk.objects.order_by("pk"))
    store.delete(index.physical_name, [chunks[0].vector_id])
    store.replace(index.physical_name, [record(chunks[1].pk, "old"), record(777_777)])
    drift = sync.compare(index)
    assert not drift.is_clean
    assert drift.missing == (chunks[0].vector_id,)
    assert drift.stale == (chunks[1].vector_id,)
    assert drift.orphaned == ("777777",)


def test_comparing_changes_nothing(index, store, collection, in_chroma, embedded):
    store.delete(index.physical_name, [Chunk.objects.earliest("pk").vector_id])
    store.replace(index.physical_name, [record(777_777)])
    before = in_chroma(collection)
    rows = list(Index.objects.values())
    sync.compare(index)
    assert in_chroma(collection) == before
    assert list(Index.objects.values()) == rows
    assert embedded == []


def test_comparing_does_not_make_a_missing_collection(index, store):
    store.drop(index.physical_name)
    drift = sync.compare(index)
    assert len(drift.missing) == 6
    assert store.ensure(index.physical_name, _space(index)) is True


def _space(index):
    from retrieval.vector_store import VectorSpace

    return VectorSpace(index.space, index.ef_construction, index.ef_search, index.max_neighbors)


def test_every_kind_of_drift_is_repaired(index, store, collection, in_chroma, embedded):
    chunks = list(Chunk.objects.order_by("pk"))
    store.delete(index.physical_name, [chunk.vector_id for chunk in chunks[:2]])
    store.replace(index.physical_name, [record(chunks[3].pk, "old"), record(777_777)])
    drift = sync.reconcile(index)
    assert (len(drift.missing), len(drift.stale), len(drift.orphaned)) == (2, 1, 1)
    assert drift.embedded == 0
    assert in_chroma(collection) == live_rows(collection)
    assert sync.compare(index).is_clean
    assert embedded == []


def test_deleting_everything_in_chroma_costs_no_embedding(
    index, store, collection, in_chroma, embedded
):
    """Law 1: Chroma's folder may be thrown away."""
    before = Embedding.objects.count()
    store.drop(index.physical_name)
    drift = sync.reconcile(index)
    assert len(drift.missing) == 6
    assert in_chroma(collection) == live_rows(collection)
    assert Embedding.objects.count() == before
    assert embedded == []
    answer = search(SearchRequest(query="which zebra sleeps 3 times?", collection="docs"))
    assert answer.degraded == ""
    assert answer.hits[0].distance is not None


def test_restored_vectors_are_the_same_vectors(index, store):
    vector = np.ones(384, dtype=np.float32)
    before = {hit.chunk_id: hit.distance for hit in store.query(index.physical_name, vector, 6)}
    store.drop(index.physical_name)
    sync.reconcile(index)
    store.forget(index.physical_name)
    after = {hit.chunk_id: hit.distance for hit in store.query(index.physical_name, vector, 6)}
    assert after == pytest.approx(before, abs=1e-6)


def test_a_lost_embedding_is_computed_again_as_it_was(index, store, embedded):
    chunk = Chunk.objects.select_related("revision").order_by("pk")[2]
    lost = Embedding.objects.get(text_hash=chunk.text_hash)
    vector = Embedding.unpack(lost.vector)
    lost.delete()
    store.delete(index.physical_name, [chunk.vector_id])
    drift = sync.reconcile(index)
    assert drift.embedded == len(embedded) == 1
    again = Embedding.unpack(Embedding.objects.get(text_hash=chunk.text_hash).vector)
    assert float(again @ vector) > 0.97


def test_repairing_twice_repairs_nothing_the_second_time(index, store):
    store.delete(index.physical_name, [Chunk.objects.earliest("pk").vector_id])
    assert not sync.reconcile(index).is_clean
    assert sync.reconcile(index).is_clean


def test_the_time_and_the_result_of_a_repair_are_kept(index):
    assert index.checked_at is None
    sync.reconcile(index)
    index.refresh_from_db()
    assert index.checked_at is not None
    assert index.drift["expected"] == 6


def test_a_disabled_chunk_is_neither_missing_nor_orphaned(index, collection, in_chroma):
    Chunk.objects.filter(pk=Chunk.objects.earliest("pk").pk).update(enabled=False)
    drift = sync.compare(index)
    assert drift.is_clean
    assert drift.expected == 5


def test_a_deleted_document_that_waits_for_cleaning_is_no_orphan(index):
    Chunk.objects.earliest("pk").document.tombstone()
    assert sync.compare(index).orphaned == ()


def test_sending_to_a_collection_that_was_dropped_makes_it_again(
    index, add, store, collection, in_chroma
):
    store.drop(index.physical_name)
    add("new.md", "# New\n\nThe giraffe eats.")
    index.refresh_from_db()
    assert index.checked_at is None
    assert len(in_chroma(collection)) >= 1
    sync.reconcile(index)
    assert in_chroma(collection) == live_rows(collection)


def test_without_chroma_it_says_so(index, monkeypatch):
    away = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr(sync, "vector_store", lambda: away)
    for use in (sync.compare, sync.reconcile):
        with pytest.raises(VectorStoreUnavailable):
            use(index)


def test_more_than_one_batch_is_repaired(index, store, collection, in_chroma, monkeypatch):
    monkeypatch.setattr(sync, "REPAIR_BATCH", 2)
    store.drop(index.physical_name)
    sync.reconcile(index)
    assert in_chroma(collection) == live_rows(collection)


def test_records_under_names_of_strangers_do_not_stop_the_repair(
    index, store, collection, in_chroma
):
    names = ["stranger", "9" * 40, "007", "-1", "١"]
    store.replace(index.physical_name, [record(name) for name in names])
    answer = search(SearchRequest(query="zebra", collection="docs"))
    assert (len(answer.hits), answer.degraded) == (4, "")
    assert len(sync.reconcile(index).orphaned) == 5
    assert in_chroma(collection) == live_rows(collection)


def test_the_index_that_was_not_checked_for_longest_comes_first(index, model):
    from retrieval.collections import create_collection

    sync.reconcile(index)
    other = create_collection(slug="other", title="Other")
    assert [found.pk for found in sync.active_indexes()] == [other.live_index_id, index.pk]
    other.tombstone()
    assert [found.pk for found in sync.active_indexes()] == [index.pk]
