"""The query log: written beside the searches, and complete after a normal stop."""

import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections

from retrieval import query_log
from retrieval.feedback import Vote, record
from retrieval.models import Collection, Search
from retrieval.query_log import QueryLog
from retrieval.search import search
from retrieval.types import SearchRequest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log(settings, monkeypatch):
    settings.QUERY_LOG_BESIDE = True
    log = QueryLog()
    monkeypatch.setattr(query_log, "_log", log)
    yield log
    log.stop()


def row(collection, query="What is it?"):
    return Search(
        collection_id=collection.pk, query=query, channel="test", top_k=4, confidence="low"
    )


def test_every_row_is_written_once(shelf, log):
    for number in range(450):
        log.add(row(shelf, str(number)))
    assert log.flush(20)
    assert Search.objects.count() == 450


def test_a_stop_writes_what_is_left(shelf, log):
    for _ in range(30):
        log.add(row(shelf))
    log.stop()
    assert Search.objects.count() == 30


def test_a_database_that_does_not_answer_is_asked_again(shelf, log, monkeypatch):
    monkeypatch.setattr(query_log, "RETRY", 0.01)
    insert, failures = query_log.insert, iter([OperationalError("locked")] * 3)

    def fail_first(rows):
        for failure in failures:
            raise failure
        insert(rows)

    monkeypatch.setattr(query_log, "insert", fail_first)
    log.add(row(shelf))
    assert log.flush()
    assert Search.objects.count() == 1


def test_searches_of_a_collection_that_is_gone_go_with_it(shelf, log):
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=shelf.embedding_model
    )
    rows = [row(shelf), row(other), row(shelf)]
    other.delete()
    query_log.insert(rows)
    assert Search.objects.count() == 2


def test_a_full_queue_loses_nothing(shelf, log, monkeypatch):
    monkeypatch.setattr(query_log, "CAPACITY", 2)
    gate = threading.Event()
    insert = query_log.insert
    monkeypatch.setattr(query_log, "insert", lambda rows: gate.wait(10) and insert(rows))
    small = QueryLog()
    for _ in range(20):
        small.add(row(shelf))
    gate.set()
    small.stop()
    assert Search.objects.count() == 20


def test_a_search_does_not_wait_for_its_log(collection, log, monkeypatch):
    gate = threading.Event()
    insert = query_log.insert
    monkeypatch.setattr(query_log, "insert", lambda rows: gate.wait(10) and insert(rows))
    answer = search(SearchRequest("anything", "docs", mode="lexical"))
    assert not Search.objects.exists()
    gate.set()
    assert log.flush()
    assert str(Search.objects.get().pk) == answer.query_id


def test_a_vote_finds_a_search_that_was_just_answered(collection, log):
    answer = search(SearchRequest("anything", "docs", mode="lexical"))
    feedback, is_new = record(Vote(query_id=answer.query_id, rating=1))
    assert is_new
    assert feedback.question == "anything"


def test_a_search_that_another_process_is_writing_is_waited_for(shelf, log, monkeypatch):
    monkeypatch.setattr(query_log, "SETTLED", 5.0)
    late = row(shelf)

    def write_later():
        time.sleep(0.2)
        late.save(force_insert=True)
        connections.close_all()

    writer = threading.Thread(target=write_later)
    writer.start()
    assert query_log.find(late.pk) == late
    writer.join()


def test_a_search_that_never_was_is_not_waited_for_long(shelf, log):
    began = time.monotonic()
    assert query_log.find(uuid.uuid4()) is None
    assert time.monotonic() - began < 3


@pytest.mark.skipif(connection.vendor != "sqlite", reason="hands the database over by its file")
def test_a_process_that_ends_normally_has_logged_everything(shelf):
    """Rows are still waiting when the interpreter is told to end."""
    code = (
        "from retrieval import query_log; from retrieval.models import *\n"
        "collection = Collection.objects.get()\n"
        "for n in range(25): query_log.write(Search(collection=collection, query=str(n), "
        "channel='test', top_k=4, confidence='low'))\n"
    )
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", code],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}"},
        check=True,
        timeout=60,
    )
    assert Search.objects.count() == 25
