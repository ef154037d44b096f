import json
import uuid

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from retrieval import factories
from retrieval import search as module
from retrieval.collections import create_collection
from retrieval.exceptions import (
    CollectionNotFound,
    InvalidFilter,
    InvalidRequest,
    SearchUnavailable,
)
from retrieval.fusion import distances_to
from retrieval.models import Chunk, Document, Embedding, Index, Search
from retrieval.search import MAX_QUERY_LENGTH, MAX_TOP_K, normalise, search
from retrieval.types import SearchRequest

pytestmark = pytest.mark.django_db

PAGES = {
    "tar.md": "# tar\n\nExtract files from an archive into a directory.",
    "docker.md": "# docker ps\n\nList all running containers.",
    "git.md": "# git branch\n\nCreate, list and delete branches of a repository.",
    "chown.md": "# chown\n\nChange the owner and the group of a file.",
    "curl.md": "# curl\n\nDownload a page from a web address.",
    "zh/tar.md": "# tar\n\n解压归档文件到指定目录。",
    "zh/docker.md": "# docker ps\n\n列出所有正在运行的容器。",
}


@pytest.fixture
def tools(add):
    return {name: add(name, text, index=name == list(PAGES)[-1]) for name, text in PAGES.items()}


@pytest.fixture
def many(add, collection):
    """Forty pages that all answer the same question, every tenth in German."""
    for number in range(40):
        lang = "de" if number % 10 == 0 else "en"
        text = f"Backup number {number}: copy the data folder to disk {number}."
        page = f"---\nlang: {lang}\nnumber: {number}\n---\n# Backup {number}\n\n{text}\n"
        add(f"{number:02}.md", page, index=number == 39)
    return collection


def ask(query, **options):
    options.setdefault("collection", "docs")
    return search(SearchRequest(query=query, **options))


def names(answer):
    return [hit.external_id for hit in answer.hits]


def test_it_finds_by_meaning(tools):
    hit = ask("which programs run in isolation right now?").hits[0]
    assert hit.external_id == "docker.md"
    assert hit.distance is not None


def test_it_finds_chinese_words(tools):
    assert names(ask("解压归档"))[0] == "zh/tar.md"
    assert names(ask("有哪些容器正在运行"))[0] == "zh/docker.md"


def test_it_finds_rare_words_exactly(tools):
    hit = ask("chown").hits[0]
    assert (hit.external_id, hit.rank) == ("chown.md", 1)
    assert hit.bm25 is not None
    assert hit.bm25 > 0


def test_a_hit_says_all_that_an_answer_needs(add):
    document = add(
        "manual.md", "---\nlang: en\n---\n# Manual\n\n## Refunds\n\nMoney comes back in 30 days.\n"
    )
    (hit,) = ask("when does the money come back?").hits
    assert (hit.document_id, hit.external_id, hit.title) == (document.pk, "manual.md", "Manual")
    assert "30 days" in hit.text
    assert hit.metadata == {"lang": "en"}
    assert hit.heading_path[0] == "Manual"
    assert Chunk.objects.get(pk=hit.chunk_id).text == hit.text


def test_ranks_count_from_one_and_scores_fall(tools):
    answer = ask("list containers", top_k=5)
    assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4, 5]
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_the_same_question_gets_the_same_answer(tools):
    first, second = ask("list files", top_k=7), ask("list files", top_k=7)
    assert first.hits == second.hits
    assert first.query_id != second.query_id


@pytest.mark.parametrize("top_k", [1, 3, MAX_TOP_K])
def test_top_k_is_how_many_are_returned(many, top_k):
    assert len(ask("backup", top_k=top_k).hits) == min(top_k, 40)


@pytest.mark.parametrize("top_k", [0, -1, MAX_TOP_K + 1])
def test_top_k_has_bounds(tools, top_k):
    with pytest.raises(InvalidRequest, match="top_k"):
        ask("list", top_k=top_k)


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("  many   blanks \n", "many blanks"),
        ("tab\tand\0nul\x07bell", "tab and nul bell"),
        ("half \ud83d pair", "half pair"),
        ("保留　中文", "保留 中文"),
        ("x" * MAX_QUERY_LENGTH, "x" * MAX_QUERY_LENGTH),
    ],
)
def test_a_question_is_cleaned(given, clean):
    assert normalise(given) == clean


@pytest.mark.parametrize("query", ["", "   ", "\0\n\t", "\ud800", "x" * (MAX_QUERY_LENGTH + 1)])
def test_an_unusable_question_is_refused(tools, query):
    with pytest.raises(InvalidRequest):
        ask(query)
    assert not Search.objects.exists()


@pytest.mark.parametrize("query", ["?", "!!!", "🚀", '"', "a" * 4000, "的", "OR AND NOT", "%' --"])
def test_odd_questions_are_answered(tools, query):
    assert ask(query).query_id


def test_an_unknown_collection_is_named(tools):
    with pytest.raises(CollectionNotFound, match="elsewhere"):
        ask("list", collection="elsewhere")


def test_an_empty_collection_answers_nothing_and_is_not_degraded(collection):
    answer = ask("anything")
    assert (answer.hits, answer.confidence, answer.degraded) == ((), "none", "")


def test_other_collections_are_not_searched(tools, model):
    create_collection(slug="other", title="Other")
    assert ask("list containers", collection="other").hits == ()


# --- Confidence --------------------------------------------------------------------------


def test_a_clear_answer_is_confident_and_nonsense_is_not(tools):
    assert ask("list all running containers").confidence == "high"
    assert ask("xyzzy plugh qwrtz").confidence == "none"


# --- Filters -----------------------------------------------------------------------------


def test_a_selective_filter_still_gives_top_k(many):
    answer = ask("backup of the data folder", top_k=4, filter={"lang": "de"})
    assert sorted(names(answer)) == ["00.md", "10.md", "20.md", "30.md"]


def test_a_filter_that_leaves_nothing_answers_nothing(many):
    answer = ask("backup", filter={"lang": "xx"})
    assert (answer.hits, answer.degraded) == ((), "")


def test_a_wrong_filter_is_refused(many):
    with pytest.raises(InvalidFilter):
        ask("backup", filter={"lang": {"like": "d"}})


def test_the_exact_path_agrees_with_chroma(many):
    everything = {"number": {"gte": 0}}
    by_chroma = ask("copy data to disk seven", top_k=20)
    exactly = ask("copy data to disk seven", top_k=20, filter=everything)
    assert names(by_chroma) == names(exactly)
    for left, right in zip(by_chroma.hits, exactly.hits, strict=True):
        assert left.score == pytest.approx(right.score, abs=1e-3)
        if left.distance is not None and right.distance is not None:
            assert left.distance == pytest.approx(right.distance, abs=1e-4)


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
def test_distances_are_those_of_chroma(store, space):
    from retrieval.vector_store import VectorRecord, VectorSpace

    name = f"test-{uuid.uuid4().hex}"
    matrix = np.random.default_rng(7).normal(size=(30, 16)).astype(np.float32)
    vector = np.random.default_rng(8).normal(size=16).astype(np.float32)
    store.ensure(name, VectorSpace(space, 200, 100, 16))
    store.replace(name, [VectorRecord(str(n), "h", row) for n, row in enumerate(matrix)])
    theirs = {hit.chunk_id: hit.distance for hit in store.query(name, vector, 30)}
    ours = distances_to(vector, matrix, space)
    assert theirs == {n: pytest.approx(float(ours[n]), abs=1e-4) for n in range(30)}
    store.drop(name)


def test_a_filter_over_many_documents_is_asked_of_chroma(many, monkeypatch):
    monkeypatch.setattr(module, "EXACT_LIMIT", 10)
    answer = ask("backup of the data folder", top_k=4, filter={"number": {"gte": 4}})
    assert len(answer.hits) == 4
    assert min(names(answer)) >= "04.md"


def test_candidates_that_the_filter_drops_are_made_up_for(many, monkeypatch, no_words):
    """Chroma does not know the filter: the search must look deeper until top_k are left."""
    monkeypatch.setattr(module, "DEPTH", 4)
    monkeypatch.setattr(module, "DEPTH_PER_HIT", 1)
    monkeypatch.setattr(module, "EXACT_LIMIT", 30)
    answer = ask("disk 0 backup 0", top_k=4, filter={"number": {"gte": 5}})
    assert len(answer.hits) == 4
    assert min(names(answer)) >= "05.md"


# --- Gone is gone (law 2) ----------------------------------------------------------------


def test_a_disabled_chunk_is_not_returned(tools):
    Chunk.objects.filter(document=tools["docker.md"]).update(enabled=False)
    assert "docker.md" not in names(ask("list all running containers", top_k=7))


def test_a_deleted_document_is_not_returned_although_chroma_holds_it(tools, collection, in_chroma):
    document = tools["docker.md"]
    document.refresh_from_db()
    held = {str(pk) for pk in document.chunks.values_list("pk", flat=True)}
    document.tombstone()
    assert held <= in_chroma(collection).keys()
    for filter in ({}, {"external_id": "docker.md"}):
        assert "docker.md" not in names(ask("running containers", top_k=7, filter=filter))


def test_a_deleted_collection_is_not_found(tools, collection):
    collection.tombstone()
    with pytest.raises(CollectionNotFound):
        ask("containers")


def test_many_gone_candidates_do_not_push_out_those_that_are_left(many, monkeypatch):
    monkeypatch.setattr(module, "DEPTH", 4)
    monkeypatch.setattr(module, "DEPTH_PER_HIT", 1)
    gone = Document.objects.exclude(external_id__in=["07.md", "23.md"])
    Chunk.objects.filter(document__in=gone).update(enabled=False)
    assert sorted(names(ask("backup", top_k=2))) == ["07.md", "23.md"]


def test_what_chroma_holds_of_strangers_is_not_returned(tools, collection, store):
    """A record without a row, right where the question points."""
    from retrieval.vector_store import VectorRecord

    collection.refresh_from_db()
    index = collection.live_index
    vector = factories.embedder_for(index.embedding_model).embed_query("list containers")
    store.replace(index.physical_name, [VectorRecord("99999999", "x", vector)])
    answer = ask("list containers")
    assert answer.hits
    assert 99999999 not in {hit.chunk_id for hit in answer.hits}
    store.delete(index.physical_name, ["99999999"])


# --- Degrade, say so (law 8) -------------------------------------------------------------


def test_without_chroma_words_still_answer(tools, no_chroma):
    answer = ask("list running containers")
    assert names(answer)[0] == "docker.md"
    assert answer.degraded == "vector_store_unavailable"
    assert answer.hits[0].distance is None
    assert 0 < answer.hits[0].score <= 1
    assert Search.objects.get().degraded == "vector_store_unavailable"


def test_without_chroma_a_filter_is_answered_in_full(many, no_chroma):
    answer = ask("backup of the data", top_k=4, filter={"lang": "de"})
    assert len(answer.hits) == 4
    assert answer.degraded == ""
    assert all(hit.distance is not None for hit in answer.hits)


def test_a_collection_that_chroma_lost_is_degraded_not_empty(tools, collection, store):
    collection.refresh_from_db()
    store.drop(collection.live_index.physical_name)
    answer = ask("list running containers")
    assert names(answer)[0] == "docker.md"
    assert answer.degraded == "vector_collection_missing"


def test_a_model_that_is_not_prepared_is_degraded(tools, settings, tmp_path):
    factories.reset()
    settings.MODEL_DIR = tmp_path
    answer = ask("list running containers")
    assert names(answer)[0] == "docker.md"
    assert answer.degraded == "model_not_ready"


def test_without_the_word_index_meaning_still_answers(tools, no_words):
    answer = ask("which programs run in isolation right now?")
    assert names(answer)[0] == "docker.md"
    assert answer.degraded == "lexical_index_failed"
    assert answer.hits[0].bm25 is None


def test_without_both_it_is_unavailable(tools, no_chroma, no_words):
    with pytest.raises(SearchUnavailable) as caught:
        ask("list")
    assert (caught.value.status, caught.value.retryable) == (503, True)


def test_a_collection_without_an_index_is_unavailable(collection):
    collection.live_index = None
    collection.save()
    with pytest.raises(SearchUnavailable):
        ask("list")


def test_missing_embeddings_do_not_stop_the_exact_path(many):
    Embedding.objects.all().delete()
    answer = ask("backup", top_k=4, filter={"lang": "de"})
    assert len(answer.hits) == 4


# --- The log -----------------------------------------------------------------------------


def test_every_search_is_logged_as_it_was_answered(tools):
    answer = ask("  list   containers ", top_k=3, filter={"origin": "upload"}, channel="test")
    row = Search.objects.get(pk=answer.query_id)
    assert (row.query, row.channel, row.top_k) == ("list containers", "test", 3)
    assert row.filter == {"origin": "upload"}
    assert row.collection.slug == "docs"
    assert [result["chunk_id"] for result in row.results] == [hit.chunk_id for hit in answer.hits]
    assert row.results[0].keys() == {"rank", "score", "chunk_id", "document_id"}
    assert (row.result_count, row.top_score) == (3, answer.hits[0].score)
    assert (row.confidence, row.degraded) == (answer.confidence, "")
    assert row.timings.keys() >= {"total", "embed", "dense", "lexical", "read"}
    assert row.total_ms >= row.timings["lexical"] > 0
    json.dumps(row.results)


def test_a_search_without_hits_is_logged_too(collection):
    row = Search.objects.get(pk=ask("anything").query_id)
    assert (row.result_count, row.top_score, row.results) == (0, None, [])


def test_a_refused_search_is_not_logged(tools):
    with pytest.raises(CollectionNotFound):
        ask("x", collection="none")
    assert not Search.objects.exists()


# --- Flat (law 10) -----------------------------------------------------------------------


def queries_of(**options):
    with CaptureQueriesContext(
        connection,
    ) as queries:
        ask("backup of the data folder", **options)
    return len(queries)


def test_the_number_of_queries_does_not_depend_on_the_hits(many):
    ask("warm up")
    plain = {queries_of(top_k=top_k) for top_k in (1, 4, 20)}
    assert len(plain) == 1
    filtered = {queries_of(top_k=top_k, filter={"number": {"gte": 0}}) for top_k in (1, 4, 20)}
    assert len(filtered) == 1
    assert max(plain) <= 8
    assert max(filtered) <= 11


def test_the_index_of_an_answer_is_the_live_one(tools, collection):
    """Rows of other cuts of the same documents are not mixed in."""
    collection.refresh_from_db()
    Index.objects.filter(pk=collection.live_index_id).update(chunk_size=100)
    assert ask("containers").hits == ()
