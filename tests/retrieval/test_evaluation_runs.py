"""Runs that a worker makes: asked for, cancelled, cut short, failed."""

from datetime import timedelta

import pytest
from django.utils import timezone

from retrieval import evaluation_runs
from retrieval.evaluation import compare, judgments_as_questions, run
from retrieval.evaluation_runs import MAX_ATTEMPTS, Evaluator, cancel, claim, request
from retrieval.models import EvaluationAnswer, EvaluationRun, Judgment
from retrieval.questions import read_questions
from retrieval.types import Mode, RetrievalSettings
from retrieval.worker import WorkerProcess

pytestmark = pytest.mark.django_db

DOCUMENTS = {
    "tar.md": "# tar\n\nExtract files from an archive into a directory.",
    "docker.md": "# docker ps\n\nList all running containers.",
}
CSV = "question,document\nunpack an archive,tar.md\nwhich containers run?,docker.md\n"


@pytest.fixture
def docs(add, collection):
    for name, text in DOCUMENTS.items():
        add(name, text, index=name == "docker.md")
    return collection


@pytest.fixture
def golden(docs):
    for question, name in (("unpack an archive", "tar.md"), ("which containers?", "docker.md")):
        Judgment.objects.create(
            collection=docs, question=question, document=docs.documents.get(external_id=name)
        )
    return docs


def test_a_worker_makes_what_is_asked_for_and_it_agrees_with_a_run_made_at_once(golden):
    asked = request(golden, name="in the browser")
    assert (asked.state, asked.questions_source) == ("queued", "golden set")
    with WorkerProcess() as worker:
        worker.drain()
    asked.refresh_from_db()
    assert (asked.state, asked.question_count, asked.name) == ("done", 2, "in the browser")
    assert (asked.lease_owner, asked.wanted) == ("", {})
    at_once = run(golden, judgments_as_questions(golden))
    assert asked.fingerprint == at_once.fingerprint
    assert asked.metrics == at_once.metrics
    assert compare(asked, at_once).unchanged == 2


def test_settings_index_and_a_file_are_tried_without_being_saved(docs):
    tried = RetrievalSettings(mode=Mode.LEXICAL, min_score=0.01)
    asked = request(
        docs,
        questions=read_questions("set.csv", CSV.encode()),
        settings=tried,
        index=docs.live_index,
        top_k=3,
    )
    maker = Evaluator("test")
    while maker.step():
        pass
    asked.refresh_from_db()
    assert (asked.state, asked.mode, asked.top_k) == ("done", "lexical", 3)
    assert asked.settings["retrieval"]["min_score"] == 0.01
    assert (asked.questions_source, asked.index) == ("set.csv", docs.live_index)
    docs.refresh_from_db()
    assert docs.retrieval_settings == {}


def test_a_cancelled_run_leaves_nothing(golden, monkeypatch):
    monkeypatch.setattr(evaluation_runs, "STEP", 0.0)
    asked = request(golden)
    maker = Evaluator("test")
    maker.step()
    assert cancel(asked.pk)
    assert not cancel(asked.pk)
    while maker.step():
        pass
    assert not EvaluationRun.objects.exists()
    assert not EvaluationAnswer.objects.exists()


def test_what_a_killed_worker_began_another_makes_once(golden, monkeypatch):
    asked = request(golden)
    assert claim("killed") == asked
    assert claim("other") is None
    EvaluationRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    maker = Evaluator("other")
    while maker.step():
        pass
    asked.refresh_from_db()
    assert (asked.state, asked.attempts, asked.answers.count()) == ("done", 2, 2)


def test_a_worker_that_stops_gives_back_what_it_began(golden):
    asked = request(golden)
    maker = Evaluator("test")
    claim("test")
    maker.give_back()
    asked.refresh_from_db()
    assert (asked.state, asked.lease_owner) == ("queued", "")


def test_a_run_that_kills_its_workers_is_given_up(golden):
    asked = request(golden)
    for _attempt in range(MAX_ATTEMPTS):
        assert claim("killed")
        EvaluationRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert claim("last") is None
    asked.refresh_from_db()
    assert asked.state == "failed"
    assert "died 3 times" in asked.failure_message


def test_what_cannot_be_asked_fails_with_a_sentence(docs):
    asked = request(docs)
    lost = request(docs, questions=read_questions("set.csv", b"question,document\nWho?,no.md\n"))
    maker = Evaluator("test")
    while maker.step():
        pass
    asked.refresh_from_db()
    lost.refresh_from_db()
    assert (asked.state, lost.state) == ("failed", "failed")
    assert "has no golden set" in asked.failure_message
    assert "no document that answers" in lost.failure_message
