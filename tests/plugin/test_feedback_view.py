"""POST /feedback."""

import uuid

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.models import ApiKey, Feedback
from tests.plugin.conftest import error_of
from tests.plugin.test_search_view import anything

pytestmark = pytest.mark.django_db


@pytest.fixture
def answer(pages, call):
    return call("/search", {"query": "list all running containers"}).json()


@pytest.fixture
def vote(answer, call):
    def send(**body):
        return call("/feedback", {"query_id": answer["query_id"], **body})

    return send


@pytest.fixture
def vote_on_nothing(collection, call):
    """A vote on a search that found nothing: quicker to make."""
    query_id = call("/search", {"query": "anything"}).json()["query_id"]
    return lambda **body: call("/feedback", {"query_id": query_id, **body})


def test_a_vote_is_recorded_once_and_then_updated(vote, answer):
    first = vote(rating="up", comment="helped")
    assert first.status_code == 201
    assert first.json()["status"] == "recorded"
    second = vote(rating="down", correction="Use podman.")
    assert second.status_code == 200
    assert second.json() == {"feedback_id": first.json()["feedback_id"], "status": "updated"}
    row = Feedback.objects.get()
    assert (row.rating, row.comment, row.correction) == (-1, "", "Use podman.")
    assert (row.question, row.channel) == ("list all running containers", "plugin")
    assert str(row.search_id) == answer["query_id"]
    assert row.collection.slug == "docs"
    assert row.state == Feedback.State.PENDING


def test_a_decided_vote_is_reopened_by_the_next(vote_on_nothing):
    vote_on_nothing(rating="up")
    Feedback.objects.update(state=Feedback.State.REJECTED)
    vote_on_nothing(rating="down")
    assert Feedback.objects.get().state == Feedback.State.PENDING


@pytest.mark.parametrize(
    ("rating", "stored"), [("up", 1), ("down", -1), (1, 1), (-1, -1), ("1", 1), ("-1", -1)]
)
def test_ratings_have_several_spellings(vote_on_nothing, rating, stored):
    assert vote_on_nothing(rating=rating).status_code == 201
    assert Feedback.objects.get().rating == stored


@pytest.mark.parametrize("body", [{"comment": "why"}, {"correction": "right is …"}])
def test_a_comment_or_a_correction_alone_is_enough(vote_on_nothing, body):
    assert vote_on_nothing(**body).status_code == 201
    assert Feedback.objects.get().rating is None


def test_different_voters_have_a_vote_each(vote_on_nothing):
    assert vote_on_nothing(rating="up", voter="ann").status_code == 201
    assert vote_on_nothing(rating="down", voter="bob").status_code == 201
    assert vote_on_nothing(rating="down", voter="ann").status_code == 200
    assert Feedback.objects.count() == 2


def test_the_same_name_behind_another_key_is_another_voter(vote, answer, call):
    vote(rating="up", voter="ann")
    _, other = ApiKey.issue("other")
    body = {"query_id": answer["query_id"], "rating": "down", "voter": "ann"}
    assert call("/feedback", body, key=other).status_code == 201


def test_the_passage_at_fault_may_be_named(vote, answer):
    chunk_id = answer["results"][0]["chunk_id"]
    assert vote(rating="down", chunk_id=chunk_id).status_code == 201
    assert Feedback.objects.get().chunk_id == chunk_id


def test_a_passage_that_was_not_answered_is_refused(vote_on_nothing):
    error = error_of(vote_on_nothing(rating="down", chunk_id=99_999_999), 400, "invalid_request")
    assert "99999999" in error["message"]
    assert not Feedback.objects.exists()


def test_a_passage_that_is_gone_since_still_counts(vote, answer, pages):
    chunk_id = answer["results"][0]["chunk_id"]
    pages["docker.md"].chunks.all().delete()
    assert vote(rating="down", chunk_id=chunk_id).status_code == 201
    assert Feedback.objects.get().chunk is None


def test_an_unknown_query_is_not_found(answer, call):
    body = {"query_id": str(uuid.uuid4()), "rating": "up"}
    error_of(call("/feedback", body), 404, "query_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rating": ""},
        {"rating": None},
        {"comment": "", "correction": ""},
        {"voter": "ann"},
        {"rating": "sideways"},
        {"rating": 0},
        {"rating": 5},
        {"rating": True},
        {"rating": ["up"]},
        {"rating": {}},
        {"rating": "up", "chunk_id": "x"},
        {"rating": "up", "chunk_id": 0},
        {"rating": "up", "chunk_id": -1},
        {"rating": "up", "chunk_id": 10**30},
        {"rating": "up", "comment": "x" * 4001},
        {"rating": "up", "comment": "a\0b"},
        {"rating": "up", "comment": "\ud800"},
        {"rating": "up", "comment": ["a"]},
        {"rating": "up", "voter": "v" * 101},
        {"rating": "up", "query_id": "no uuid"},
        {"rating": "up", "query_id": None},
        {"rating": "up", "query_id": 5.5},
    ],
    ids=lambda body: str(body)[:40],
)
def test_a_vote_that_says_nothing_usable_is_refused(vote_on_nothing, body):
    error_of(vote_on_nothing(**body), 400, "invalid_request")
    assert not Feedback.objects.exists()


def test_a_missing_query_id_is_refused(answer, call):
    error = error_of(call("/feedback", {"rating": "up"}), 400)
    assert "query_id" in error["message"]


def test_a_question_will_do_where_there_is_no_query_id(collection, call):
    body = {
        "question": "How do I list containers?",
        "answer": "With dir.",
        "correction": "With docker ps.",
        "rating": "down",
    }
    assert call("/feedback", body).status_code == 201
    assert call("/feedback", {**body, "rating": "up"}).status_code == 200
    row = Feedback.objects.get()
    assert (row.search, row.collection) == (None, collection)
    assert (row.question, row.answer) == ("How do I list containers?", "With dir.")
    error_of(call("/feedback", {**body, "collection": "none"}), 404, "collection_not_found")


def test_without_a_key_nothing_is_recorded(answer):
    body = {"query_id": answer["query_id"], "rating": "up"}
    response = Client().post("/feedback", body, content_type="application/json")
    error_of(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert not Feedback.objects.exists()


def test_it_rejects_get(api_key):
    error_of(Client().get("/feedback", headers={"Authorization": f"Bearer {api_key}"}), 405)


@settings(max_examples=120)
@given(
    body=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("rating", "comment", "correction", "chunk_id", "voter", "query_id"), anything
        ),
    )
)
def test_no_body_breaks_it(vote_on_nothing, body):
    response = vote_on_nothing(**body)
    assert response.status_code < 500
    if response.status_code >= 400:
        error_of(response, response.status_code)
