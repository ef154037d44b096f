"""POST /search."""

import json
import uuid

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import search as search_module
from retrieval.collections import create_collection
from retrieval.exceptions import SearchUnavailable
from retrieval.models import ApiKey, Search
from retrieval.vector_store import VectorStore
from tests.isolation import free_port
from tests.plugin.conftest import error_of

pytestmark = pytest.mark.django_db

QUESTION = {"query": "list all running containers"}


def results(response):
    assert response.status_code == 200, response.content[:500]
    return response.json()["results"]


def test_it_answers_a_question(pages, call):
    response = call("/search", QUESTION)
    assert response.status_code == 200
    body = response.json()
    assert body.keys() == {"query_id", "results", "confidence", "degraded", "degraded_reason"}
    assert uuid.UUID(body["query_id"])
    assert (body["confidence"], body["degraded"], body["degraded_reason"]) == ("high", False, "")
    best = body["results"][0]
    assert best.keys() == {
        "text", "title", "score", "meta", "heading_path", "chunk_id", "document_id",
        "external_id", "url",
    }  # fmt: skip
    assert best["external_id"] == "docker.md"
    assert best["title"] == "docker ps"
    assert "List all running containers." in best["text"]
    assert best["meta"] == {"tags": ["containers"]}
    assert best["document_id"] == pages["docker.md"].pk
    assert 0 < best["score"] <= 1


def test_the_search_is_logged_under_its_query_id(pages, call):
    query_id = call("/search", QUESTION).json()["query_id"]
    row = Search.objects.get(pk=query_id)
    assert (row.query, row.channel) == (QUESTION["query"], "plugin")


def test_an_explanation_comes_only_when_it_is_asked_for(pages, call):
    body = call("/search", {**QUESTION, "explain": True}).json()
    assert set(body["timings"]) >= {"embed", "dense", "lexical", "read", "total"}
    best = body["results"][0]
    why = best["explanation"]
    assert why["space"] == "cosine"
    assert (why["dense_rank"], why["lexical_rank"]) == (1, 1)
    assert why["matched_terms"] == ["list", "all", "running", "containers"]
    assert [best["text"][start:end] for start, end in why["matches"]] == [
        "List", "all", "running", "containers",
    ]  # fmt: skip
    nothing = call("/search", {**QUESTION, "explain": True, "min_score": 1}).json()
    assert "total" in nothing["timings"]
    plain = call("/search", QUESTION).json()
    assert "timings" not in plain
    assert "explanation" not in plain["results"][0]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_every_mode_answers(pages, call, mode):
    assert results(call("/search", {**QUESTION, "mode": mode}))[0]["external_id"] == "docker.md"


def test_min_score_and_context_are_passed_on(pages, call):
    answered = results(call("/search", {**QUESTION, "context": 2}))
    assert results(call("/search", {**QUESTION, "min_score": 1})) == []
    best = answered[0]["score"]
    assert len(results(call("/search", {**QUESTION, "min_score": best}))) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"mode": "psychic"}, "mode"),
        ({"min_score": 1.5}, "min_score"),
        ({"min_score": "high"}, "min_score"),
        ({"context": 11}, "context"),
        ({"context": -1}, "context"),
        ({"explain": "perhaps"}, "explain"),
    ],
)
def test_a_wrong_search_option_is_refused_by_name(pages, call, body, field):
    error = error_of(call("/search", {**QUESTION, **body}), 400)
    assert field in json.dumps(error)


def test_chinese_is_answered_in_chinese_letters(pages, call):
    response = call("/search", {"query": "解压归档"})
    assert results(response)[0]["external_id"] == "zh/tar.md"
    assert "解压归档文件" in response.content.decode()


@pytest.mark.parametrize("body", [{"q": "containers"}, {"q": "containers", "topk": 1}])
def test_names_of_older_clients_are_understood(pages, call, body):
    found = results(call("/search", body))
    assert found[0]["external_id"] == "docker.md"
    if "topk" in body:
        assert len(found) == 1


def test_the_proper_name_wins_over_the_alias(pages, call):
    body = {"query": "containers", "q": "解压", "top_k": 1, "topk": 3}
    (only,) = results(call("/search", body))
    assert only["external_id"] == "docker.md"


def test_without_a_collection_the_default_one_is_searched(pages, call, settings):
    create_collection(slug="empty", title="Empty")
    assert results(call("/search", QUESTION))
    assert results(call("/search", {**QUESTION, "collection": "empty"})) == []
    settings.DEFAULT_COLLECTION = "empty"
    assert results(call("/search", QUESTION)) == []
    assert results(call("/search", {**QUESTION, "collection": "docs"}))


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (50, 3), ("2", 2)])
def test_top_k_is_the_number_of_results(pages, call, top_k, count):
    body = {"query": "tar archive containers 解压", "top_k": top_k}
    assert len(results(call("/search", body))) == count


def test_a_filter_narrows_the_answer(pages, call):
    found = results(call("/search", {"query": "files", "filter": {"tags": ["archive"]}}))
    assert [result["external_id"] for result in found] == ["tar.md"]
    assert call("/search", {**QUESTION, "filter": {}}).status_code == 200


@pytest.mark.parametrize("empty", [None, ""])
def test_a_field_that_a_model_left_empty_counts_as_left_out(pages, call, empty):
    body = {**QUESTION, "top_k": empty, "collection": empty, "filter": empty}
    assert results(call("/search", body))


def test_unknown_fields_are_ignored(pages, call):
    assert results(call("/search", {**QUESTION, "temperature": 1, "user": {"a": []}}))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "query"),
        ({"query": ""}, "query"),
        ({"query": "   "}, "query"),
        ({"query": None}, "query"),
        ({"query": ["a"]}, "query"),
        ({"query": {"a": 1}}, "query"),
        ({"query": True}, "query"),
        ({"query": "x" * 10_000}, "query"),
        ({"query": "a\0b"}, "query"),
        ({"query": "half \ud83d pair"}, "query"),
        ({"query": "x", "top_k": 0}, "top_k"),
        ({"query": "x", "top_k": 51}, "top_k"),
        ({"query": "x", "top_k": -3}, "top_k"),
        ({"query": "x", "top_k": 1.5}, "top_k"),
        ({"query": "x", "top_k": "many"}, "top_k"),
        ({"query": "x", "top_k": [4]}, "top_k"),
        ({"query": "x", "top_k": 10**30}, "top_k"),
        ({"query": "x", "topk": "many"}, "top_k"),
        ({"query": "x", "collection": 5 * ["a"]}, "collection"),
        ({"query": "x", "collection": "a\0"}, "collection"),
        ({"query": "x", "collection": "c" * 101}, "collection"),
        ({"query": "x", "filter": "lang=zh"}, "filter"),
        ({"query": "x", "filter": ["lang"]}, "filter"),
        ({"query": "x", "filter": {"lang": None}}, "filter"),
        ({"query": "x", "filter": {"lang": {"like": "z"}}}, "filter"),
        ({"query": "x", "filter": {"lang": {"a": {"b": {"c": 1}}}}}, "filter"),
        ({"query": "x", "filter": {"n": 10**400}}, "filter"),
        ({"query": "x", "filter": {"s": "\ud800"}}, "filter"),
        ({"query": "x", "filter": {"\0": 1}}, "filter"),
        ({"query": "x", "filter": {f"f{n}": 1 for n in range(11)}}, "filter"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(collection, call, body, field):
    error = error_of(call("/search", body), 400)
    assert field in error["message"] or field in error["details"]
    assert error["code"] in {"invalid_request", "invalid_filter"}


def test_the_longest_question_is_answered(pages, call):
    assert call("/search", {"query": "docker " * 571}).status_code == 200


@pytest.mark.parametrize("body", [b"[]", b'["query"]', b'"query"', b"5", b"null", b"true"])
def test_a_body_that_is_no_object_is_refused(collection, call, body):
    error_of(call("/search", body), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"{'query': 'x'}", b'{"query": "x",}', b'{"query": NaN}', b"\xff\xfe",
        b'{"query": "x", "filter": {"n": NaN}}', b'{"query": "x", "filter": {"n": Infinity}}',
        b'{"query": "x"} trailing', b"<html>", b'{"query": "\xff"}', b'{"n": ' + b"9" * 5000 + b"}",
        b"[" * 100_000, b'{"a":' * 50_000, b"[" * 50_000 + b"]" * 50_000,
        b'{"query": "x", "filter": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_body_that_is_no_json_is_refused(collection, call, body):
    error_of(call("/search", body), 400)


def test_a_byte_order_mark_does_no_harm(collection, call):
    response = call("/search", b"\xef\xbb\xbf" + json.dumps(QUESTION).encode())
    assert response.status_code in {200, 400}


def test_a_number_beyond_floats_is_refused(collection, call):
    error_of(call("/search", b'{"query": "x", "filter": {"n": 1e999}}'), 400, "invalid_filter")


def test_a_body_of_more_than_two_megabytes_is_too_large(collection, call):
    error_of(call("/search", {"query": "x", "pad": "y" * (2 * 1024 * 1024)}), 413)
    assert call("/search", {"query": "x", "pad": "y" * (1024 * 1024)}).status_code == 200


def test_an_unknown_collection_is_not_found(collection, call):
    error = error_of(call("/search", {**QUESTION, "collection": "x"}), 404, "collection_not_found")
    assert "'x'" in error["message"]


def test_a_deleted_collection_is_not_found(pages, call, collection):
    collection.tombstone()
    error_of(call("/search", QUESTION), 404, "collection_not_found")


# --- Keys --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic dXNlcjpwYXNz", "kb_abc",
        "Bearer a b", "Bearer \xff\xfe", "Token x",
    ],
)  # fmt: skip
def test_without_a_valid_key_nothing_is_answered(collection, header):
    headers = {} if header is None else {"HTTP_AUTHORIZATION": header}
    response = Client().post("/search", QUESTION, content_type="application/json", **headers)
    error_of(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert not Search.objects.exists()


def test_the_key_is_asked_before_the_body_is_read(collection):
    response = Client().post("/search", b"{broken", content_type="application/json")
    error_of(response, 401)


def test_a_revoked_key_is_refused(collection, call, api_key):
    from django.utils import timezone

    ApiKey.objects.update(revoked_at=timezone.now())
    error_of(call("/search", QUESTION), 401)


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer  {} "])
def test_the_word_bearer_is_read_in_any_case(collection, call, api_key, form):
    response = call("/search", QUESTION, headers={"Authorization": form.format(api_key)})
    assert response.status_code == 200


def test_the_use_of_a_key_is_remembered(collection, call):
    assert ApiKey.objects.get().last_used_at is None
    call("/search", QUESTION)
    assert ApiKey.objects.get().last_used_at is not None


def test_a_session_of_the_admin_is_no_key(collection, admin_client):
    response = admin_client.post("/search", QUESTION, content_type="application/json")
    error_of(response, 401)


@pytest.mark.parametrize("key", [None, "anything", "kb_wrong"])
def test_without_authentication_any_key_or_none_will_do(collection, call, settings, key):
    settings.PLUGIN_AUTH = "none"
    assert call("/search", QUESTION, key=key).status_code == 200


# --- Methods and content types -----------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_it_rejects_other_methods(collection, api_key, method):
    headers = {"Authorization": f"Bearer {api_key}"}
    response = getattr(Client(), method)("/search", headers=headers)
    error_of(response, 405)
    assert "POST" in response["Allow"]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/xml", "nonsense"],
)  # fmt: skip
def test_it_rejects_other_content_types(collection, call, content_type):
    error_of(call("/search", QUESTION, content_type=content_type), 415)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_it_reads_json_however_it_is_announced(collection, call, content_type):
    assert call("/search", QUESTION, content_type=content_type).status_code == 200


@pytest.mark.parametrize("accept", ["*/*", "application/json, text/plain, */*", "text/html"])
def test_the_answer_is_json_whatever_is_accepted(collection, call, accept):
    response = call("/search", QUESTION, headers={"Accept": accept})
    assert response["Content-Type"] == "application/json"
    assert response.status_code in {200, 406}
    if accept != "text/html":
        assert response.status_code == 200


# --- Parts away --------------------------------------------------------------------------


def test_without_chroma_it_answers_and_says_that_it_is_degraded(pages, call, monkeypatch):
    store = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr(search_module, "query_store", lambda: store)
    body = call("/search", QUESTION).json()
    assert body["results"][0]["external_id"] == "docker.md"
    assert (body["degraded"], body["degraded_reason"]) == (True, "vector_store_unavailable")


def test_when_nothing_can_answer_it_says_when_to_come_back(pages, call, collection):
    collection.refresh_from_db()
    collection.live_index = None
    collection.save()
    response = call("/search", QUESTION)
    error_of(response, SearchUnavailable.status, "search_unavailable")
    assert response["Retry-After"]


def test_a_bug_is_an_error_of_the_same_shape(collection, call, monkeypatch):
    def broken(request):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("plugin.views.search", broken)
    response = call("/search", QUESTION)
    error_of(response, 500, "internal_error")
    assert b"secret" not in response.content


# --- Anything at all ---------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=20)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(anything, st.just("containers"))
        for name in ("query", "q", "top_k", "topk", "collection", "filter")
    },
)


@settings(max_examples=250)
@given(body=st.one_of(bodies, bodies, anything))
def test_no_body_breaks_it(pages, call, body):
    response = call("/search", body)
    assert response.status_code < 500
    if response.status_code != 200:
        error_of(response, response.status_code)


@settings(max_examples=100)
@given(filter=st.dictionaries(st.sampled_from(["tags", "lang", "n", "", "x" * 200]), anything))
def test_no_filter_breaks_it(pages, call, filter):
    response = call("/search", {"query": "containers", "filter": filter})
    assert response.status_code in {200, 400}


@settings(max_examples=80)
@given(body=st.binary(max_size=60))
def test_no_bytes_break_it(collection, call, body):
    error_of(call("/search", body), 400)
