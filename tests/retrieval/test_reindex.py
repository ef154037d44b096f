"""Law 7: the old index serves until the new one is complete, verified and switched."""

import threading
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from retrieval import factories, indexing, maintenance, reindex, sync
from retrieval.collections import prepare_model
from retrieval.exceptions import ReindexRefused
from retrieval.ingest import accept
from retrieval.models import Chunk, Collection, Document, Embedding, Index, Worker
from retrieval.search import search
from retrieval.types import SearchRequest

LONG = "\n\n".join(f"Paragraph {number} says how to move file {number}." for number in range(40))


@pytest.fixture
def filled(add, collection: Collection) -> Collection:
    for number in range(8):
        add(f"{number}.md", f"# Note {number}\n\nThe cat number {number} runs.\n\n{LONG}")
    return collection


def build(owner: str = "builder") -> None:
    while index := reindex.claim(owner):
        while reindex.step(index):
            pass


def ask(question: str = "cat number 3", **options):
    return search(SearchRequest(question, "docs", **options))


def live(collection: Collection) -> Index:
    collection.refresh_from_db()
    assert collection.live_index is not None
    return collection.live_index


@pytest.mark.django_db
class TestReindex:
    def test_another_space_embeds_nothing_again(self, filled, embedded):
        reindex.start(filled, space="l2")
        build()
        assert live(filled).space == "l2"
        assert filled.space == "l2"
        assert embedded == []
        assert ask().hits[0].external_id == "3.md"

    def test_another_chunk_size_cuts_anew_and_leaves_the_old_chunks_for_a_rollback(self, filled):
        before = live(filled)
        count = Chunk.objects.count()
        reindex.start(filled, chunk_size=64)
        build()
        after = live(filled)
        assert after.chunk_size == 64
        assert Chunk.objects.filter(chunking=before.chunking).count() == count
        assert Chunk.objects.filter(chunking=after.chunking).count() > count
        hits = ask(top_k=10).hits
        assert {Chunk.objects.get(pk=hit.chunk_id).chunking for hit in hits} == {after.chunking}

    def test_the_verification_is_kept(self, filled):
        reindex.start(filled, space="ip")
        build()
        verification = live(filled).verification
        assert verification["expected"] == verification["found"] > 0
        assert verification["self_found"] == verification["sampled"] > 0

    def test_changes_during_the_build_reach_both_indexes(self, filled, add):
        reindex.start(filled, chunk_size=64)
        index = reindex.claim("builder")
        assert index is not None
        assert reindex.step(index)
        add("late.md", "# Late\n\nThe zebra arrived while the index was built.")
        Document.objects.get(external_id="0.md").tombstone()
        assert ask("zebra").hits[0].external_id == "late.md"
        build()
        assert ask("zebra").hits[0].external_id == "late.md"
        assert sync.compare(live(filled)).is_clean

    def test_a_batch_cut_before_the_build_began_is_cut_again(self, filled, monkeypatch):
        """Otherwise it would go live in the old index only."""
        accept(
            filled,
            external_id="early.md",
            filename="early.md",
            data=b"# Early\n\nA walrus waits.",
            origin=Document.Origin.UPLOAD,
        )
        revisions = indexing.claim("worker")
        really = indexing._write

        def begin_then_write(*args):
            really(*args)
            reindex.start(filled, chunk_size=64)
            build()

        monkeypatch.setattr(indexing, "_write", begin_then_write)
        indexing.process("worker", revisions)
        monkeypatch.undo()
        while again := indexing.claim("worker"):
            indexing.process("worker", again)
        assert live(filled).chunk_size == 64
        assert ask("walrus").hits[0].external_id == "early.md"
        assert sync.compare(live(filled)).is_clean

    def test_an_interrupted_build_goes_on_where_it_stopped(self, filled, embedded, monkeypatch):
        monkeypatch.setattr(reindex, "FILL_BATCH", 2)
        reindex.start(filled, chunk_size=64)
        index = reindex.claim("first")
        assert index is not None
        reindex.step(index)
        assert reindex.claim("second") is None
        Index.objects.filter(pk=index.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        done = len(embedded)
        build("second")
        assert live(filled).pk == index.pk
        assert len(embedded) == len(set(embedded)) > done

    def test_a_second_one_is_refused(self, filled):
        reindex.start(filled, chunk_size=64)
        with pytest.raises(ReindexRefused):
            reindex.start(filled, chunk_size=32)

    def test_cancelling_leaves_no_trace(self, filled):
        chunks, before = Chunk.objects.count(), live(filled)
        index = reindex.start(filled, chunk_size=64)
        claimed = reindex.claim("builder")
        assert claimed is not None
        reindex.step(claimed)
        reindex.cancel(index)
        assert not Index.objects.filter(pk=index.pk).exists()
        assert Chunk.objects.count() == chunks
        assert live(filled) == before


@pytest.mark.django_db
class TestRollback:
    def test_it_goes_back_with_what_has_changed_since(self, filled, add, embedded):
        first = live(filled)
        reindex.start(filled, chunk_size=64)
        build()
        add("new.md", "# New\n\nA pelican.")
        Document.objects.get(external_id="0.md").tombstone()
        embedded.clear()
        reindex.rollback(filled)
        build()
        assert live(filled) == first
        assert filled.chunk_size == first.chunk_size
        assert ask("pelican").hits[0].external_id == "new.md"
        assert sync.compare(first).is_clean
        assert len(embedded) <= 1  # only what this cut had never seen

    def test_a_second_rollback_undoes_the_first(self, filled):
        reindex.start(filled, space="l2")
        build()
        for space in ("cosine", "l2"):
            reindex.rollback(filled)
            build()
            assert live(filled).space == space

    def test_without_an_earlier_index_it_is_refused(self, filled):
        with pytest.raises(ReindexRefused):
            reindex.rollback(filled)

    def test_old_indexes_are_dropped_with_their_chunks(self, filled, settings, store):
        old = live(filled)
        reindex.start(filled, chunk_size=64)
        build()
        settings.ROLLBACK_DAYS = 0
        assert maintenance.drop_old_indexes() == 1
        assert not Chunk.objects.filter(chunking=old.chunking).exists()
        assert sync.compare(live(filled)).is_clean
        assert ask().hits


@pytest.mark.django_db
class TestDamage:
    def test_an_index_of_another_dimension_is_recognised_and_built_again(
        self, filled, store, embedded
    ):
        damaged = live(filled)
        store.drop(damaged.physical_name)
        sync.ensure_index(store, damaged)
        import numpy as np

        from retrieval.vector_store import VectorRecord

        store.replace(damaged.physical_name, [VectorRecord("1", "x", np.ones(7, np.float32))])
        factories.reset()
        assert sync.is_damaged(damaged)
        reindex.rebuild_damaged(damaged)
        answer = ask()
        assert answer.degraded
        assert answer.hits[0].external_id == "3.md"
        build()
        answer = ask()
        assert not answer.degraded
        assert answer.hits[0].external_id == "3.md"
        assert embedded == []
        assert maintenance.drop_old_indexes() == 1


@pytest.mark.django_db(transaction=True)
def test_another_model_takes_over_while_searches_go_on(filled, tiny_model):
    """No failed and no empty answer; then the new dimension; then the rollback."""
    Worker.objects.all().delete()
    before = Embedding.objects.count()
    answers: list[tuple[int, str]] = []
    errors: list[Exception] = []
    done = threading.Event()

    def keep_asking() -> None:
        try:
            while not done.is_set():
                answer = ask()
                answers.append((len(answer.hits), answer.degraded))
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    client = threading.Thread(target=keep_asking)
    client.start()
    try:
        call_command("reindex", "docs", model=str(tiny_model), chunk_size=48)
        assert live(filled).embedding_model.dimension == 32
        assert ask().hits
        call_command("reindex", "docs", rollback=True)
        assert live(filled).embedding_model.dimension == 384
    finally:
        done.set()
        client.join()
    assert errors == []
    assert len(answers) > 5
    assert all(hits and not degraded for hits, degraded in answers)
    assert Embedding.objects.count() > before


def test_a_model_is_prepared_once(model, tiny_model):
    rows = [prepare_model(str(tiny_model), lambda line: None) for _ in range(2)]
    assert rows[0] == rows[1]
