"""Votes by those who mean harm: on what others were answered, again and again, with scripts."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client

from plugin.links import vote_token
from retrieval.models import ApiKey, Collection, Feedback, Search
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.plugin.conftest import error_of

pytestmark = pytest.mark.django_db

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def answer(pages: Any) -> Any:
    return search(SearchRequest(query="list running containers", collection="docs"))


@pytest.fixture
def other(answer: Any) -> Any:
    return search(SearchRequest(query="extract an archive", collection="docs"))


@pytest.fixture
def strange_key(db: None) -> str:
    return ApiKey.issue("another program")[1]


def by_script(**fields: Any) -> Any:
    return Client().post("/f", json.dumps(fields), content_type="application/json")


def by_mcp(key: str, **arguments: Any) -> dict[str, Any]:
    params = {"name": "submit_feedback", "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answered = Client().post(
        "/mcp",
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answered.status_code == 200
    result: dict[str, Any] = json.loads(answered.content)["result"]
    return result


# --- What others were answered -----------------------------------------------------------------


def test_a_guessed_id_is_nobodys(answer: Any, call: Any, api_key: str) -> None:
    near = uuid.UUID(int=uuid.UUID(answer.query_id).int + 1)
    for guess in (str(near), str(uuid.UUID(int=0)), str(uuid.uuid4())):
        error_of(call("/feedback", {"query_id": guess, "rating": "up"}), 404, "query_not_found")
        error_of(by_script(query_id=guess, rating="up"), 404, "query_not_found")
        assert by_mcp(api_key, query_id=guess, rating="up")["isError"]
    assert not Feedback.objects.exists()


def test_a_link_of_one_answer_votes_on_no_other(answer: Any, other: Any) -> None:
    token = vote_token(answer.query_id, "up")
    by_script(token=token, query_id=other.query_id, rating="up")
    assert str(Feedback.objects.get().search_id) == answer.query_id
    page = Client()
    page.post(f"/f/{token}", {"rating": "down", "query_id": other.query_id})
    assert str(Feedback.objects.get().search_id) == answer.query_id


def test_parts_of_two_links_make_no_third(answer: Any, other: Any) -> None:
    mine, theirs = vote_token(answer.query_id, "up"), vote_token(other.query_id, "up")
    forged = ".".join([theirs.partition(".")[0], mine.partition(".")[2]])
    error_of(by_script(token=forged, rating="up"), 404, "link_invalid")
    assert Client().post(f"/f/{forged}", {"rating": "up"}).status_code == 404
    assert not Feedback.objects.exists()


@pytest.mark.parametrize("channel", ["http", "mcp", "script"])
def test_nobody_changes_anothers_vote(
    answer: Any, call: Any, api_key: str, strange_key: str, channel: str
) -> None:
    """However a voter calls himself: his name is within the key that he has."""
    call("/feedback", {"query_id": answer.query_id, "rating": "up", "voter": "ann"})
    theirs = Feedback.objects.get()
    for name in ("ann", theirs.voter, f"{theirs.voter}:ann"):
        body = {"query_id": answer.query_id, "rating": "down", "voter": name}
        if channel == "http":
            assert call("/feedback", body, key=strange_key).status_code == 201
        elif channel == "mcp":
            assert not by_mcp(strange_key, **body)["isError"]
        else:
            assert by_script(**body).status_code in (200, 201)
    theirs.refresh_from_db()
    assert (theirs.rating, theirs.voter) == (1, f"{api_key[:8]}:ann")


def test_a_link_names_no_question_collection_or_passage_of_its_own(
    answer: Any, collection: Collection
) -> None:
    by_script(
        query_id=answer.query_id,
        rating="down",
        question="Something else?",
        answer="Something that was never said.",
        collection="secret",
        chunk_id=1,
        document_id=1,
        voter="ann",
    )
    vote = Feedback.objects.get()
    assert (vote.question, vote.collection) == ("list running containers", collection)
    assert (vote.answer, vote.chunk_id, vote.document_id, vote.voter) == ("", None, None, "link")


def test_a_passage_of_another_collection_is_not_named(
    answer: Any, other: Any, call: Any, api_key: str
) -> None:
    """Nor told apart from one that there is not: what others have is not found out by votes."""
    row = Search.objects.get(pk=answer.query_id)
    foreign = max(result["chunk_id"] for result in row.results) + 1000
    body = {"query_id": answer.query_id, "rating": "down", "chunk_id": foreign}
    error = error_of(call("/feedback", body), 400, "invalid_request")
    assert "was not among the answers" in error["message"]
    told = by_mcp(api_key, query_id=answer.query_id, rating="down", passage_id=str(foreign))
    assert told["isError"]
    assert not Feedback.objects.exists()


# --- Again and again ---------------------------------------------------------------------------


def test_a_link_that_is_replayed_stays_one_vote(answer: Any) -> None:
    token = vote_token(answer.query_id, "up")
    for number in range(20):
        client = Client(REMOTE_ADDR=f"192.0.2.{number}")
        client.post(f"/f/{token}", {"rating": "up"})
        client.post(
            "/f",
            json.dumps({"token": vote_token(answer.query_id, "down"), "rating": "up"}),
            content_type="application/json",
        )
    assert [vote.rating for vote in Feedback.objects.all()] == [1]


def test_votes_over_mcp_are_held_to_the_rate_of_the_others(
    answer: Any, call: Any, api_key: str, settings: Any
) -> None:
    settings.FEEDBACK_RATE = "3/minute"
    vote = {"query_id": answer.query_id, "rating": "up"}
    assert not by_mcp(api_key, **vote)["isError"]
    assert call("/feedback", vote).status_code == 200
    assert not by_mcp(api_key, **vote)["isError"]
    error_of(call("/feedback", vote), 429, "too_many_votes")
    refused = by_mcp(api_key, **vote)
    assert refused["isError"]
    said = refused["content"][0]["text"]
    assert "Too many votes" in said
    assert "too_many_votes" in said
    # Many in one message are many.
    request = {
        "jsonrpc": "2.0",
        "method": "tools/call",
        "params": {"name": "submit_feedback", "arguments": vote},
    }
    batch = Client().post(
        "/mcp",
        json.dumps([{**request, "id": number} for number in range(10)]),
        content_type="application/json",
        headers={
            "Authorization": f"Bearer {ApiKey.issue('third')[1]}",
            "MCP-Protocol-Version": "2025-03-26",
        },
    )
    refusals = [one["result"]["isError"] for one in json.loads(batch.content)]
    assert refusals == [False] * 3 + [True] * 7


def test_searches_over_mcp_are_not_held_to_it(answer: Any, api_key: str, settings: Any) -> None:
    settings.FEEDBACK_RATE = "1/day"
    for _ in range(3):
        body = {"name": "search", "arguments": {"query": "archive"}}
        answered = Client().post(
            "/mcp",
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": body}),
            content_type="application/json",
            headers={"Authorization": f"Bearer {api_key}"},
        )
        assert not json.loads(answered.content)["result"]["isError"]


# --- Scripts in what is said -------------------------------------------------------------------


def test_no_page_for_strangers_runs_what_was_asked(collection: Collection) -> None:
    row = Search.objects.create(
        collection=collection, query=SCRIPT, channel="plugin", top_k=4, confidence="low"
    )
    path = f"/f/{vote_token(str(row.pk), 'up')}"
    html = Client().get(path).content.decode()
    voted = Client().post(path, {"rating": "up", "comment": SCRIPT, "correction": SCRIPT})
    # Too long: what was typed is shown once more.
    again = Client().post(path, {"rating": "up", "comment": SCRIPT + "x" * 5000})
    assert again.status_code == 400
    for shown in (html, voted.content.decode(), again.content.decode()):
        assert "<script>alert" not in shown
        assert "<img src=x" not in shown
