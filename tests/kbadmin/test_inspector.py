"""The inspector: what Chroma holds beside the rows that it comes from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from kbadmin.pages.inspector import records
from retrieval import inspection, reindex, sync
from retrieval.disk_usage import disk_usage
from retrieval.inspection import Agreement, Position
from retrieval.lexical import lexical_index
from retrieval.models import (
    Attribute,
    Chunk,
    Collection,
    Document,
    Embedding,
    Index,
    IndexReport,
)
from retrieval.types import LexicalEntry
from retrieval.vector_store import VectorRecord, VectorStore
from tests.kbadmin.conftest import make_report

Fill = Callable[..., list[Chunk]]


def url(name: str, index: Index, /, **query: object) -> str:
    page = reverse(f"admin:inspector{name}", args=[index.collection_id])
    return page + "?" + "&".join(f"{key}={value}" for key, value in query.items())


def ids_on(response: Any) -> list[str]:
    return [row.id for row in response.context["rows"]]


# --- Records ----------------------------------------------------------------------------


def test_a_record_is_shown_beside_its_row(page: Client, index: Index, fill: Fill) -> None:
    chunk = fill()[0]
    response = page.get(url("", index))
    html = response.content.decode()
    (row,) = response.context["rows"]
    assert (row.id, row.state) == (chunk.vector_id, Agreement.SAME)
    assert row.norm == pytest.approx(1, abs=1e-4)
    assert "says of apples" in html
    assert "norm 1.0000" in html


def test_each_record_says_how_it_differs(
    page: Client, index: Index, fill: Fill, chroma_store: VectorStore
) -> None:
    same, missing, stale, disabled, replaced = fill(documents=5)
    chroma_store.delete(index.physical_name, [missing.vector_id])
    Chunk.objects.filter(pk=stale.pk).update(text_hash="f" * 32)
    Chunk.objects.filter(pk=disabled.pk).update(enabled=False)
    replaced.document.tombstone()
    states = {row.id: row.state for row in page.get(url("", index)).context["rows"]}
    assert states == {
        same.vector_id: Agreement.SAME,
        missing.vector_id: Agreement.MISSING,
        stale.vector_id: Agreement.STALE,
        disabled.vector_id: Agreement.DISABLED,
        replaced.vector_id: Agreement.REPLACED,
    }


def test_pages_follow_each_other_both_ways_and_miss_nothing(
    page: Client, index: Index, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PAGE", 4)
    expected = [chunk.vector_id for chunk in fill(documents=3, chunks=3)]
    address, forwards, pages = url("", index), [], []
    while address:
        response = page.get(address)
        pages.append(ids_on(response))
        forwards += pages[-1]
        last, address = response, response.context["after_url"]
    assert forwards == expected
    assert [len(ids) for ids in pages] == [4, 4, 1]
    assert ids_on(page.get(last.context["before_url"])) == pages[1]
    first = page.get(last.context["first_url"])
    assert ids_on(first) == pages[0]
    assert not first.context["before_url"]


def test_a_page_in_the_middle_does_not_depend_on_what_lies_before(
    index: Index, fill: Fill, django_assert_max_num_queries: Any
) -> None:
    chunks = fill(documents=4, chunks=3)
    here = Position(chunks[4].document_id, chunks[4].pk)
    with django_assert_max_num_queries(4):
        found = inspection.page(index, 5, after=here)
    assert [chunk.pk for chunk in found.chunks] == [chunk.pk for chunk in chunks[5:10]]


def test_other_collections_and_other_cuts_are_not_among_the_records(
    page: Client, index: Index, fill: Fill
) -> None:
    chunk, other_cut, strange = fill(documents=3)
    Chunk.objects.filter(pk=other_cut.pk).update(chunking="v1-other")
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=index.embedding_model
    )
    Document.objects.filter(pk=strange.document_id).update(collection=other)
    assert ids_on(page.get(url("", index))) == [chunk.vector_id]
    assert page.get(url("_record", index, id=strange.pk)).context["chunk"] is None


def test_words_find_records_best_first(page: Client, index: Index, fill: Fill) -> None:
    one, two = fill(documents=2)
    lexical_index().add(
        index.scope,
        [
            LexicalEntry(one.pk, "", "", "apples grow on trees with much else beside them"),
            LexicalEntry(two.pk, "apples", "", "apples"),
        ],
    )
    assert ids_on(page.get(url("", index, q="apples"))) == [two.vector_id, one.vector_id]
    response = page.get(url("", index, q="pears"))
    assert ids_on(response) == []
    assert "No record matches" in response.content.decode()


def test_the_filter_of_a_search_narrows_the_records(page: Client, index: Index, fill: Fill) -> None:
    one, two = fill(documents=2)
    Attribute.objects.create(document=two.document, key="lang", string="zh")
    assert ids_on(page.get(url("", index, filter='{"lang": "zh"}'))) == [two.vector_id]
    lexical_index().add(
        index.scope, [LexicalEntry(chunk.pk, "", "", "apples") for chunk in (one, two)]
    )
    found = page.get(url("", index, q="apples", filter='{"lang": "zh"}'))
    assert ids_on(found) == [two.vector_id]


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        ("{", "The filter is no JSON"),
        ("[1]", "Write a JSON object"),
        ('{"date": {"near": 1}}', "is not one of"),
        ('{"date": {}}', "give a value"),
    ],
)
def test_a_wrong_filter_is_refused_in_words(
    page: Client, index: Index, filter: str, said: str
) -> None:
    response = page.get(url("", index, filter=filter))
    assert response.status_code == 400
    assert said in response.content.decode()


def test_an_id_leads_to_its_record(page: Client, index: Index, fill: Fill) -> None:
    chunk = fill()[0]
    response = page.get(url("", index, id=chunk.pk), follow=True)
    assert response.context["chunk"] == chunk
    assert page.get(url("", index, id="12-x"), follow=True).status_code == 404


def test_without_chroma_the_rows_are_still_shown(
    page: Client, index: Index, fill: Fill, request: pytest.FixtureRequest
) -> None:
    chunk = fill()[0]
    request.getfixturevalue("without_chroma")
    response = page.get(url("", index))
    assert [(row.id, row.state) for row in response.context["rows"]] == [
        (chunk.vector_id, Agreement.UNKNOWN)
    ]
    assert "Chroma does not answer at" in response.content.decode()
    response = page.get(url("_record", index, id=chunk.pk))
    assert response.status_code == 200
    assert "says of apples" in response.content.decode()


def test_an_empty_index_says_where_records_come_from(
    page: Client, index: Index, chroma_store: VectorStore
) -> None:
    assert "No records yet" in page.get(url("", index)).content.decode()


def test_the_list_costs_the_same_with_many_records(page: Client, index: Index, fill: Fill) -> None:
    counts: list[int] = []
    for documents in (1, 1, 30):
        fill(documents=documents, chunks=2, name=f"n{len(counts)}")
        for path in ("", "_differences", "_quality", "_map"):
            with CaptureQueriesContext(connection) as queries:
                page.get(url(path, index))
            counts.append(len(queries))
    assert counts[4:8] == counts[8:]
    assert max(counts) <= 25


# --- One record -------------------------------------------------------------------------


def test_a_record_shows_its_text_its_vector_and_its_neighbours(
    page: Client, index: Index, fill: Fill
) -> None:
    chunks = fill(documents=3)
    response = page.get(url("_record", index, id=chunks[0].pk))
    html = response.content.decode()
    context = response.context
    assert context["vector"]["dimension"] == 384
    assert context["vector"]["is_own"]
    assert {near.id for near in context["neighbours"]} == {chunk.pk for chunk in chunks[1:]}
    distances = [near.distance for near in context["neighbours"]]
    assert distances == sorted(distances)
    assert reverse("admin:retrieval_document_change", args=[chunks[0].document_id]) in html
    assert reverse("admin:playground") in html


def test_a_vector_that_is_not_the_stored_one_is_noticed(
    page: Client, index: Index, fill: Fill, chroma_store: VectorStore
) -> None:
    chunk = fill()[0]
    vector = np.ones(384, dtype=np.float32)
    chroma_store.replace(
        index.physical_name, [VectorRecord(chunk.vector_id, chunk.text_hash, vector)]
    )
    response = page.get(url("_record", index, id=chunk.pk))
    assert not response.context["vector"]["is_own"]
    assert "differs: cosine" in response.content.decode()


def test_a_record_that_nobody_holds_is_not_found(
    page: Client, index: Index, chroma_store: VectorStore
) -> None:
    response = page.get(url("_record", index, id=987654))
    assert response.status_code == 404
    assert "Neither Chroma nor the database" in response.content.decode()


# --- Differences ------------------------------------------------------------------------


def test_a_comparison_names_every_difference_and_changes_nothing(
    page: Client, index: Index, fill: Fill, chroma_store: VectorStore
) -> None:
    missing, stale, _same = fill(documents=3)
    chroma_store.delete(index.physical_name, [missing.vector_id])
    vector = np.full(384, 0.2, dtype=np.float32)
    Chunk.objects.filter(pk=stale.pk).update(text_hash="f" * 32)
    Embedding.objects.create(
        embedding_model=index.embedding_model, text_hash="f" * 32, vector=Embedding.pack(vector)
    )
    chroma_store.replace(index.physical_name, [VectorRecord("a stranger", "x", vector)])
    page.post(url("_report", index), {"kind": "differences"})
    make_report(index, "differences")
    response = page.get(url("_differences", index))
    assert [id_ for id_, _, _ in response.context["missing"]] == [missing.vector_id]
    assert [id_ for id_, _, _ in response.context["stale"]] == [stale.vector_id]
    (orphan,) = response.context["orphans"]
    assert (orphan.id, orphan.state) == ("a stranger", Agreement.ORPHANED)
    assert orphan.norm == pytest.approx(0.2 * 384**0.5, abs=1e-3)
    assert page.get(orphan.url).status_code == 200
    assert chroma_store.count(index.physical_name) == 3
    change = reverse("admin:retrieval_collection_change", args=[index.collection_id])
    assert "differs" in page.get(change).context["step_badge"]

    sync.reconcile(index)
    html = page.get(url("_differences", index)).content.decode()
    assert "repaired since" in html
    assert "differed, repaired" in page.get(change).context["step_badge"]


# --- Around -----------------------------------------------------------------------------


def test_another_index_of_the_collection_can_be_chosen(
    page: Client, index: Index, fill: Fill
) -> None:
    fill()
    other = reindex.start(index.collection, chunk_size=64)
    response = page.get(url("", index, index=other.pk))
    assert response.context["index"] == other
    assert "not the index that is searched" in response.content.decode()
    assert f"index={other.pk}" in response.context["tabs"][2][2]


@pytest.mark.parametrize("query", [{"index": 999}, {"index": "x"}])
def test_an_index_that_is_not_its_own_is_not_found(
    page: Client, index: Index, query: dict[str, object]
) -> None:
    assert page.get(url("", index, **query)).status_code == 404


PAGES = ("", "_record", "_differences", "_quality", "_map", "_points", "_progress")


@pytest.mark.parametrize("name", PAGES)
def test_who_may_not_look_at_chunks_sees_none(client: Client, index: Index, name: str) -> None:
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_collection"))
    client.force_login(clerk)
    assert client.get(url(name, index)).status_code == 403


def test_who_may_only_look_starts_nothing(client: Client, index: Index) -> None:
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.set(
        Permission.objects.filter(codename__in=["view_collection", "view_chunk"])
    )
    client.force_login(clerk)
    assert client.post(url("_report", index), {"kind": "quality"}).status_code == 403
    assert "Run</button>" not in client.get(url("_quality", index)).content.decode()
    assert not IndexReport.objects.exists()


def test_a_deleted_collection_is_not_inspected(page: Client, index: Index) -> None:
    index.collection.tombstone()
    assert page.get(url("", index)).status_code == 404


# --- Size on disk -----------------------------------------------------------------------


def test_the_size_on_disk_is_what_chromas_files_say(
    index: Index, fill: Fill, settings: Any
) -> None:
    fill(documents=2)
    usage = disk_usage(settings.CHROMA_DIR, index.physical_name)
    assert usage is not None
    assert usage.shared >= (settings.CHROMA_DIR / "chroma.sqlite3").stat().st_size


def test_a_size_that_cannot_be_seen_is_not_made_up(tmp_path: Path, index: Index) -> None:
    assert disk_usage(tmp_path, index.physical_name) is None
    (tmp_path / "chroma.sqlite3").write_bytes(b"no database at all")
    assert disk_usage(tmp_path, index.physical_name) is None


# --- Deleting a collection --------------------------------------------------------------


def test_a_collection_is_deleted_only_by_its_name(page: Client, collection: Collection) -> None:
    address = reverse("admin:retrieval_collection_delete", args=[collection.pk])
    assert "Type “Handbook” to confirm" in page.get(address).content.decode()
    response = page.post(address, {"post": "yes", "typed": "handbook"})
    assert response.status_code == 400
    assert "nothing was deleted" in response.content.decode()
    collection.refresh_from_db()
    assert collection.deleted_at is None
    page.post(address, {"post": "yes", "typed": " Handbook "})
    collection.refresh_from_db()
    assert collection.deleted_at is not None and collection.deleted_at <= timezone.now()


def test_collections_are_not_deleted_by_the_dozen(page: Client, collection: Collection) -> None:
    changelist = reverse("admin:retrieval_collection_changelist")
    data = {"action": "delete_selected", "_selected_action": collection.pk, "post": "yes"}
    page.post(changelist, data)
    collection.refresh_from_db()
    assert collection.deleted_at is None
