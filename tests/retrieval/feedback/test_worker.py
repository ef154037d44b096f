"""The worker groups, indexes, proves and takes back by itself, also after a `kill -9`."""

import time
from pathlib import Path

import pytest

from retrieval.embedding import Bundle
from tests.retrieval.installation import Installation, installed

SEARCH = """
from retrieval.feedback import Vote, record
from retrieval.search import search
from retrieval.types import SearchRequest
answer = search(SearchRequest("How do I join the wifi?", "docs"))
from retrieval import query_log
query_log.flush()
record(Vote(answer.query_id, rating=-1, correction="Type sunflower.", voter="ann"))
"""
ACCEPT = """
from django.contrib.auth.models import User
from retrieval.feedback.acceptance import accept, propose
from retrieval.models import ReviewItem
user = User.objects.create_user("eve")
item = ReviewItem.objects.get()
accept(item.pk, propose(item.pk, "answer"), user)
"""
ROLL_BACK = """
from django.contrib.auth.models import User
from retrieval.feedback.acceptance import roll_back
from retrieval.models import Acceptance
roll_back(Acceptance.objects.get().pk, User.objects.get(username="eve"))
"""


@pytest.fixture
def installation(tmp_path: Path, bundle: Bundle):
    with installed(tmp_path / "data", bundle) as made:
        yield made


def wait_for(
    installation: Installation, query: str, expected: object, seconds: float = 120
) -> None:
    deadline = time.monotonic() + seconds
    rows = installation.rows(query)
    while rows != expected and time.monotonic() < deadline:
        time.sleep(0.2)
        rows = installation.rows(query)
    assert rows == expected


def test_it_closes_the_loop_and_opens_it_again(installation):
    worker = installation.start("worker")
    installation.run("shell", "-v", "0", "-c", SEARCH)
    wait_for(
        installation, "SELECT question FROM retrieval_reviewitem", [("How do I join the wifi?",)]
    )
    worker.kill()
    worker.wait()
    installation.run("shell", "-v", "0", "-c", ACCEPT)
    assert installation.rows("SELECT state FROM retrieval_acceptance") == [("proving",)]
    worker = installation.start("worker")
    time.sleep(1)
    worker.kill()  # wherever it is by now
    worker.wait()
    installation.start("worker")
    wait_for(installation, "SELECT state FROM retrieval_acceptance", [("final",)])
    assert len(installation.in_chroma()) == 2  # the answer, and the question that leads to it
    installation.run("shell", "-v", "0", "-c", ROLL_BACK)
    wait_for(installation, "SELECT state FROM retrieval_acceptance", [("undone",)])
    assert installation.in_chroma() == []
    assert installation.rows("SELECT count(*) FROM retrieval_lexical") == [(0,)]
    assert installation.rows("SELECT is_open FROM retrieval_reviewitem") == [(1,)]
