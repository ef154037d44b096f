"""A collection's page: its index, its reindex, its schema."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from retrieval import reindex, sync
from retrieval.admin import index_state
from retrieval.models import Chunk, Collection, Index
from retrieval.vector_store import VectorStore
from tests.kbadmin.conftest import Add


def url(name: str, collection: Collection) -> str:
    return reverse(f"admin:retrieval_collection_{name}", args=[collection.pk])


def settings_of(index: Index, **changes: Any) -> dict[str, Any]:
    return {f"reindex-{k}": v for k, v in {**index_state.initial(index), **changes}.items()}


@pytest.fixture
def building(collection: Collection) -> Index:
    return reindex.start(collection, chunk_size=120)


@pytest.fixture
def previous(collection: Collection) -> Index:
    """The index that a finished reindex has replaced."""
    new = reindex.start(collection, chunk_size=120)
    old = collection.live_index
    reindex.switch(new)
    collection.refresh_from_db()
    assert old is not None
    return old


def test_without_chroma_the_page_says_so(
    page: Client, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = VectorStore("http://127.0.0.1:9", timeout=0.5)
    monkeypatch.setattr(index_state, "impatient_store", lambda: nowhere)
    html = page.get(url("change", collection)).content.decode()
    assert "Chroma does not answer" in html
    assert "never compared" in html


def test_it_compares_rows_with_the_records_of_a_real_chroma(
    page: Client, chroma: str, add: Add, collection: Collection
) -> None:
    index_state.impatient_store.cache_clear()
    index = collection.live_index
    assert index is not None
    response = page.get(url("change", collection))
    assert response.context["counts"].records == 0  # made with the first document
    add(chunks=3)
    Chunk.objects.update(chunking=index.chunking)
    response = page.get(url("change", collection))
    assert (response.context["counts"].chunks, response.context["counts"].records) == (3, 0)
    assert "differs" in response.context["step_badge"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"state": "damaged"}, "damaged"),
        ({"checked_at": None}, "never compared"),
        ({"drift": {"missing": 2}}, "differed, repaired"),
        ({"drift": {"missing": 0, "expected": 5, "found": 5}}, "in step"),
    ],
)
def test_the_badge_says_what_the_last_comparison_found(
    page: Client, collection: Collection, changes: dict[str, Any], word: str
) -> None:
    Index.objects.update(**{"checked_at": timezone.now(), **changes})
    assert word in page.get(url("change", collection)).context["step_badge"]


def test_a_comparison_is_given_to_the_worker(page: Client, collection: Collection) -> None:
    html = page.post(url("reconcile", collection), follow=True).content.decode()
    assert "The worker compares the index" in html
    assert DBTaskResult.objects.get(task_path="retrieval.tasks.reconcile_index").args_kwargs[
        "args"
    ] == [collection.live_index_id]


def test_a_reindex_begins_with_the_chosen_settings(page: Client, collection: Collection) -> None:
    assert collection.live_index is not None
    data = settings_of(collection.live_index, space="l2", chunk_size=100, ef_search=50)
    page.post(url("reindex", collection), data)
    index = Index.objects.building().get()
    assert (index.space, index.chunk_size, index.ef_search) == ("l2", 100, 50)
    assert index.replaces == collection.live_index
    html = page.get(url("change", collection)).content.decode()
    assert "every 2s" in html
    assert "Start reindex" not in html


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chunk_size": 100, "chunk_overlap": 100}, "The overlap must be smaller"),
        ({"chunk_size": 1}, "Chunk size:"),
        ({"space": "round"}, "Distance space:"),
        ({"embedding_model": 999}, "Embedding model:"),
    ],
)
def test_a_reindex_that_makes_no_sense_is_refused_in_words(
    page: Client, collection: Collection, changes: dict[str, Any], said: str
) -> None:
    assert collection.live_index is not None
    data = settings_of(collection.live_index, **changes)
    assert said in page.post(url("reindex", collection), data, follow=True).content.decode()
    assert not Index.objects.building().exists()


def test_a_second_reindex_is_refused_in_words(
    page: Client, collection: Collection, building: Index
) -> None:
    html = page.post(url("reindex", collection), settings_of(building), follow=True)
    assert "is being reindexed already" in html.content.decode()


def test_progress_is_a_bar_until_the_switch_and_then_the_whole_box(
    page: Client, collection: Collection, building: Index
) -> None:
    Index.objects.filter(pk=building.pk).update(progress_done=3, progress_total=8)
    response = page.get(url("progress", collection))
    html = response.content.decode()
    assert 'max="8" value="3"' in html
    assert "HX-Retarget" not in response
    reindex.switch(building)
    Index.objects.filter(pk=building.pk).update(
        verification={"expected": 7, "found": 7, "sampled": 5, "self_found": 4}
    )
    response = page.get(url("progress", collection))
    assert response["HX-Retarget"] == "#kb-index"
    html = response.content.decode()
    assert "hx-get" not in html
    assert "It held 7 of 7 chunks, and of 5 that were looked up 4 found themselves." in html


def test_progress_asks_for_a_reload_after_logging_out(
    client: Client, collection: Collection
) -> None:
    response = client.get(url("progress", collection))
    assert (response["HX-Refresh"], response.content) == ("true", b"")


def test_a_reindex_is_cancelled(
    page: Client, chroma: str, collection: Collection, building: Index
) -> None:
    page.post(url("reindex_cancel", collection), {"index": building.pk})
    assert list(Index.objects.all()) == [collection.live_index]
    html = page.post(url("reindex_cancel", collection), {"index": building.pk}, follow=True)
    assert "That index is gone." in html.content.decode()


def test_an_earlier_index_is_rolled_back_to(
    page: Client, collection: Collection, previous: Index
) -> None:
    assert url("rollback", collection) in page.get(url("change", collection)).content.decode()
    page.post(url("rollback", collection))
    previous.refresh_from_db()
    assert previous.state == "building"
    html = page.post(url("rollback", collection), follow=True).content.decode()
    assert "cancel that first" in html


def test_only_what_nothing_uses_is_dropped(
    page: Client, chroma: str, collection: Collection, previous: Index
) -> None:
    live = collection.live_index
    assert live is not None
    html = page.post(url("index_drop", collection), {"index": live.pk}, follow=True)
    assert "Only an index that nothing uses" in html.content.decode()
    page.post(url("index_drop", collection), {"index": previous.pk})
    assert list(Index.objects.all()) == [live]


def test_without_chroma_dropping_says_why_not(
    page: Client, collection: Collection, previous: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = VectorStore("http://127.0.0.1:9", timeout=0.5)
    monkeypatch.setattr(sync, "vector_store", lambda: nowhere)
    html = page.post(url("index_drop", collection), {"index": previous.pk}, follow=True)
    assert "Chroma does not answer" in html.content.decode()


def test_an_index_of_another_collection_is_out_of_reach(
    page: Client, collection: Collection, previous: Index
) -> None:
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=collection.embedding_model
    )
    page.post(url("index_drop", other), {"index": previous.pk})
    assert Index.objects.filter(pk=previous.pk).exists()


@pytest.mark.parametrize(
    "name", ["reconcile", "reindex", "reindex_cancel", "rollback", "index_drop"]
)
def test_who_may_only_look_changes_nothing(
    client: Client, collection: Collection, name: str
) -> None:
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_collection"))
    client.force_login(clerk)
    assert client.get(url(name, collection)).status_code == 405
    assert client.post(url(name, collection)).status_code == 403
    html = client.get(url("change", collection)).content.decode()
    assert "kb-index" in html
    assert "Start reindex" not in html


def test_the_page_costs_the_same_with_many_indexes(page: Client, collection: Collection) -> None:
    counts = []
    for extra in (0, 0, 12):
        for _ in range(extra):
            reindex.switch(reindex.start(collection))
            collection.refresh_from_db()
        with CaptureQueriesContext(connection) as queries:
            page.get(url("change", collection))
        counts.append(len(queries))
    assert counts[1] == counts[2]


def test_a_repair_brings_the_index_into_step(
    page: Client, chroma: str, collection: Collection
) -> None:
    index_state.impatient_store.cache_clear()
    assert collection.live_index is not None
    sync.reconcile(collection.live_index)
    assert "in step" in page.get(url("change", collection)).context["step_badge"]
