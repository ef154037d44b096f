"""What GPT Actions import and call: the document within their limits, answers that fit."""

import json

import pytest
import yaml
from django.test import Client
from openapi_spec_validator import validate

from plugin import openapi
from plugin.actions import CUT, LONGEST, fitting_passage, fitting_search
from plugin.doctor import Consumer, Verdict
from plugin.doctor.examine import examine
from plugin.identity import effective
from retrieval.models import Feedback, Search
from retrieval.types import Hit, SearchResponse
from tests.plugin.conftest import error_of

pytestmark = pytest.mark.django_db

OPERATIONS = {"/actions/search", "/actions/passage", "/actions/feedback"}
#: Each way, by https://platform.openai.com/docs/actions/production.
LIMIT = 100_000


@pytest.fixture
def public(settings):
    """An installation that GPTs can reach."""
    settings.PUBLIC_URL = "https://kb.acme-notes.com"
    settings.PLUGIN_SERVER_URL = "http://kbadmin:8001"
    return settings.PUBLIC_URL


@pytest.fixture
def document(client):
    return client.get("/openapi.json?for=actions").json()


def operations_of(document):
    return [operation for item in document["paths"].values() for operation in item.values()]


# --- The document ------------------------------------------------------------------------


def test_the_document_keeps_their_limits(public, document):
    validate(document)
    assert document["servers"] == [{"url": public}]
    assert document["paths"].keys() == OPERATIONS
    operations = operations_of(document)
    assert {one["operationId"] for one in operations} == {
        "search", "fetchPassage", "submitFeedback",
    }  # fmt: skip
    for one in operations:
        assert 0 < len(one["description"]) <= 300
        assert len(one["summary"]) <= 300
        fields = one["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert all(len(field.get("description", "")) <= 700 for field in fields.values())
        assert "parameters" not in one  # no custom headers
    assert len(json.dumps(document)) < LIMIT


@pytest.mark.parametrize("auth", ["bearer", "none"])
def test_the_doctor_finds_nothing_that_actions_would_mind(public, settings, auth):
    settings.PLUGIN_AUTH = auth
    report = examine(
        json.dumps(openapi.document("actions")), address=f"{public}/openapi.json?for=actions"
    )
    assert report.consumers[Consumer.GPT_ACTIONS] is Verdict.OK
    assert [one for one in report.findings if Consumer.GPT_ACTIONS in one.consumers] == []


def test_only_what_changes_something_asks_the_user_each_time(document):
    marks = {one["operationId"]: one.get("x-openai-isConsequential") for one in
             operations_of(document)}  # fmt: skip
    assert marks == {"search": False, "fetchPassage": False, "submitFeedback": None}


def test_a_description_of_ones_own_is_cut_where_it_must_be():
    changed = effective({"operations": {"cited-search": "Ask this about all our machines. " * 20}})
    told = openapi.document("actions", changed)["paths"]["/actions/search"]["post"]
    assert len(told["description"]) <= 300
    assert told["description"].endswith("machines.…")
    whole = openapi.document("nextchat", changed)["paths"]["/search"]["post"]["description"]
    assert len(whole) > 300


@pytest.mark.parametrize("address", ["/actions/openapi.json", "/openapi.yaml?for=actions"])
def test_the_same_document_has_other_addresses(client, document, address):
    response = client.get(address)
    assert yaml.safe_load(response.content) == document


def test_without_for_it_is_the_document_of_the_manifest(client):
    assert client.get("/openapi.json").json() == client.get("/openapi.json?for=plugin").json()
    assert client.get("/openapi.json").json()["paths"].keys() == {"/search", "/feedback"}


@pytest.mark.parametrize("address", ["/openapi.json?for=martians", "/openapi.yaml?for=x"])
def test_a_document_for_nobody_is_refused(client, address):
    error = error_of(client.get(address), 400, "invalid_request")
    assert "actions" in error["message"]


# --- The operations ----------------------------------------------------------------------


def test_a_question_is_answered_read_on_and_voted_on(pages, call):
    found = call("/actions/search", {"query": "list all running containers"}).json()
    best = found["results"][0]
    assert best["title"] == "docker ps"
    assert Search.objects.get(pk=found["query_id"]).channel == "actions"
    read = call("/actions/passage", {"chunk_id": best["chunk_id"]}).json()
    assert "List all running containers." in read["text"]
    vote = call("/actions/feedback", {"query_id": found["query_id"], "rating": "up"})
    assert vote.json()["status"] == "recorded"
    assert Feedback.objects.get().channel == "actions"


def test_a_mistake_is_told_to_the_model(collection, call):
    answer = call("/actions/search", {"query": "x", "collection": "nothing"}).json()
    assert answer["error"]["code"] == "collection_not_found"
    assert "docs" in answer["what_to_do"]
    assert call("/actions/passage", {"chunk_id": 1}).json()["error"]["code"] == "passage_gone"


@pytest.mark.parametrize("path", sorted(OPERATIONS))
def test_without_a_key_nobody_may_call(collection, path):
    response = Client().post(path, {}, content_type="application/json")
    error_of(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")


def answer_of(*texts):
    hits = tuple(
        Hit(
            rank=rank, score=0.5, chunk_id=rank, document_id=1, external_id="a.md", title="A",
            heading_path=(), text=text, url="", metadata={}, distance=None, bm25=1.0,
        )
        for rank, text in enumerate(texts, start=1)
    )  # fmt: skip
    query_id = "6f1b1f2e-6f0f-4c3f-9a53-0c6e5a1d3c11"
    return SearchResponse(query_id, "docs", hits, "high", "", {})


@pytest.mark.parametrize("letter", ["a", "容", '"', "\n", "\x01", "😀"], ids=ascii)
def test_a_long_answer_is_cut_to_its_best_passages(letter):
    told = fitting_search("q", answer_of(*([letter * 5000] * 50)))
    assert len(json.dumps(told, ensure_ascii=False)) <= LONGEST < LIMIT
    kept = len(told["results"])
    assert 1 <= kept < 50
    assert [one["number"] for one in told["results"]] == list(range(1, kept + 1))
    assert all(one["text"] == letter * 5000 for one in told["results"])
    assert f"{50 - kept} further results did not fit" in told["instruction"]
    assert f"[{kept}]" in told["footer"]
    assert f"[{kept + 1}]" not in told["footer"]


@pytest.mark.parametrize("letter", ["a", "容", '"', "\x01"], ids=ascii)
def test_of_one_passage_that_is_too_long_the_beginning_is_kept(letter):
    told = fitting_search("q", answer_of(letter * 200_000))
    (result,) = told["results"]
    assert len(json.dumps(told, ensure_ascii=False)) <= LONGEST
    assert result["text"].endswith(CUT)
    assert len(result["text"]) > 10_000


def test_an_answer_that_fits_is_left_alone():
    told = fitting_search("q", answer_of("one", "two"))
    assert [one["text"] for one in told["results"]] == ["one", "two"]
    assert "did not fit" not in told["instruction"]
    assert fitting_search("q", answer_of())["results"] == []


@pytest.mark.parametrize("letter", ["a", '"'])
@pytest.mark.parametrize(
    ("before", "text", "after"),
    [(10, 10, 200_000), (200_000, 10, 200_000), (200_000, 200_000, 200_000), (10, 200_000, 10)],
)
def test_a_long_passage_keeps_what_is_nearest(letter, before, text, after):
    data = {
        "before": "<" * 5 + letter * before, "text": letter * text, "after": letter * after + ">",
        "has_more_before": False, "has_more_after": False,
    }  # fmt: skip
    told = fitting_passage(data)
    assert len(json.dumps(told, ensure_ascii=False)) <= LONGEST
    assert told["text"][:10] == letter * 10
    assert told["has_more_after"] == (told["after"] != data["after"])
    assert told["has_more_before"] == (told["before"] != data["before"])
    if told["before"] != data["before"] and told["before"]:
        assert told["before"].startswith(CUT) and told["before"].endswith(letter)
    if text == 10:
        assert told["text"] == data["text"]
