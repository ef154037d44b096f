"""How often one caller may vote: POST /feedback, POST /f and the pages of signed links."""

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from plugin.links import vote_token
from plugin.models import VoteRate
from plugin.throttling import take
from retrieval.models import ApiKey, Collection, EmbeddingModel, Feedback, Search
from tests.plugin.conftest import error_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def three_a_minute(settings: Any) -> None:
    settings.FEEDBACK_RATE = "3/minute"


@pytest.fixture
def shelf(db: None) -> Collection:
    model = EmbeddingModel.objects.create(
        name="none", revision="1", runtime="onnx", dimension=2, max_tokens=8
    )
    return Collection.objects.create(slug="docs", title="Docs", embedding_model=model)


@pytest.fixture
def asked(shelf: Collection) -> str:
    row = Search.objects.create(
        collection=shelf, query="Why?", channel="plugin", top_k=4, confidence="low"
    )
    return str(row.pk)


def test_the_fourth_vote_of_a_minute_has_to_wait(asked, call):
    body = {"query_id": asked, "rating": "up"}
    for number in range(3):
        assert call("/feedback", {**body, "voter": str(number)}).status_code == 201
    response = call("/feedback", {**body, "voter": "another"})
    error = error_of(response, 429, "too_many_votes")
    assert 1 <= int(response["Retry-After"]) <= 60
    assert response["Retry-After"] in error["message"]
    assert Feedback.objects.count() == 3


def test_another_key_and_another_address_have_their_own_rate(asked, call):
    body = {"query_id": asked, "rating": "up"}
    for _ in range(4):
        last = call("/feedback", body)
    assert last.status_code == 429
    _, other = ApiKey.issue("other")
    assert call("/feedback", body, key=other).status_code == 201
    assert call("/feedback", body, REMOTE_ADDR="192.0.2.7").status_code == 200


def test_an_address_cannot_be_made_up(asked, call):
    body = {"query_id": asked, "rating": "up"}
    codes = {
        call("/feedback", body, headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
        for number in range(6)
    }
    assert 429 in codes


def test_the_button_scripts_are_held_to_it(asked):
    body = json.dumps({"query_id": asked, "rating": "down"})
    codes = [
        Client().post("/f", body, content_type="application/json").status_code for _ in range(5)
    ]
    assert codes == [201, 200, 200, 429, 429]


def test_the_page_of_a_link_says_it_in_words(asked):
    path = f"/f/{vote_token(asked, 'up')}"
    page = Client(enforce_csrf_checks=False)
    codes = [page.post(path, {"rating": "up"}).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    refused = page.post(path, {"rating": "up"})
    assert "Too many votes" in refused.content.decode()
    assert int(refused["Retry-After"]) >= 1
    assert page.get(path).status_code == 200  # looking costs nothing


def test_any_number_may_be_allowed(asked, call, settings):
    settings.FEEDBACK_RATE = ""
    body = {"query_id": asked, "rating": "up"}
    assert {call("/feedback", body).status_code for _ in range(9)} == {200, 201}


def test_searches_are_not_held_to_it(collection, call):
    assert {call("/search", {"query": "anything"}).status_code for _ in range(6)} == {200}


def test_a_refused_vote_costs_two_reads_and_no_write(asked, call):
    body = {"query_id": asked, "rating": "up"}
    for _ in range(4):
        call("/feedback", body)
    with CaptureQueriesContext(connection) as queries:
        assert call("/feedback", body).status_code == 429
    verbs = [query["sql"].split()[0] for query in queries]
    assert set(verbs) == {"SELECT"}
    assert len(verbs) <= 2


@pytest.mark.django_db(transaction=True)
def test_a_thousand_votes_at_once_leave_few_rows_and_no_error(asked, api_key, settings):
    """From eight threads, as one web process has."""
    settings.FEEDBACK_RATE = "20/minute"

    def votes(_number: int) -> list[int]:
        page = Client()
        try:
            return [
                page.post(
                    "/feedback",
                    {"query_id": asked, "rating": "up", "voter": str(uuid.uuid4())},
                    content_type="application/json",
                    headers={"Authorization": f"Bearer {api_key}"},
                ).status_code
                for _ in range(125)
            ]
        finally:
            connection.close()

    begin = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        codes = [code for part in pool.map(votes, range(8)) for code in part]
    assert set(codes) <= {201, 429}
    refilled = int((time.monotonic() - begin) / 3)
    assert 20 <= codes.count(201) <= 20 + refilled
    assert Feedback.objects.count() == codes.count(201)
    assert time.monotonic() - begin < 60


@pytest.mark.django_db(transaction=True)
def test_callers_who_begin_at_the_same_moment_get_no_vote_more_than_the_rate():
    """Nobody's row is there yet, and nothing but the rate is in the way."""
    begin = threading.Barrier(12)

    def votes(_number: int) -> int:
        try:
            begin.wait()
            return sum(take("key 192.0.2.1", "100/day") == 0 for _ in range(40))
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(votes, range(12))) == 100


def test_what_was_told_to_wait_for_is_free_then(monkeypatch):
    now = time.time_ns()
    monkeypatch.setattr("plugin.throttling.time.time_ns", lambda: now)
    assert [take("key", "4/minute") for _ in range(5)] == [0, 0, 0, 0, 15]
    now += 14_999 * 10**6
    assert 0 < take("key", "4/minute") <= 0.001
    now += 10**6
    assert [take("key", "4/minute") for _ in range(2)] == [0, 15]
    now += 3600 * 10**9
    assert [take("key", "4/minute") for _ in range(5)] == [0, 0, 0, 0, 15]


def test_another_rate_begins_afresh():
    assert [take("key", "1/day") > 0 for _ in range(2)] == [False, True]
    assert take("key", "60/minute") == 0


def test_rows_whose_time_is_over_are_deleted(monkeypatch):
    now = time.time_ns()
    monkeypatch.setattr("plugin.throttling.time.time_ns", lambda: now)
    for number in range(5):
        take(f"key {number}", "1/second")
    take("a slow one", "1/day")
    now += 2 * 10**9
    take("another", "1/second")
    assert VoteRate.objects.count() == 2
    assert take("a slow one", "1/day") > 86_000


def test_nothing_that_is_kept_tells_an_address(asked, call):
    call("/feedback", {"query_id": asked, "rating": "up"}, REMOTE_ADDR="192.0.2.7")
    assert "192.0.2" not in str(list(VoteRate.objects.values()))
