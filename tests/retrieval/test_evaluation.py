"""Runs over real collections: what is measured, stored and compared."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from retrieval import evaluation
from retrieval import search as search_module
from retrieval.evaluation import compare, judgments_as_questions, resolve, run
from retrieval.exceptions import InvalidQuestions, InvalidRequest
from retrieval.models import Chunk, EvaluationAnswer, EvaluationRun, Judgment, Search
from retrieval.questions import Question, QuestionSet, normalised
from retrieval.types import Mode, RetrievalSettings, SearchRequest, SearchResponse
from retrieval.vector_store import VectorStore
from tests.isolation import free_port

pytestmark = pytest.mark.django_db

PAGES = {
    "tar.md": "# tar\n\nExtract files from an archive into a directory.",
    "docker.md": "# docker ps\n\nList all running containers.",
    "chown.md": "# chown\n\nChange the owner and the group of a file.",
    "curl.md": "# curl\n\nDownload a page from a web address.",
}


@pytest.fixture
def docs(add, collection):
    for name, text in PAGES.items():
        add(name, text, index=name == list(PAGES)[-1])
    return collection


def asked(pairs, **options) -> QuestionSet:
    """Questions with external ids: asked({"Who?": "a.md b.md"})."""
    return QuestionSet(
        tuple(Question(text, frozenset(names.split())) for text, names in pairs.items()),
        source="test",
        **options,
    )


EASY = {
    "unpack an archive": "tar.md",
    "which containers are running?": "docker.md",
    "who owns a file": "chown.md",
}


def test_a_run_stores_metrics_settings_and_every_answer(docs):
    stored = run(docs, asked(EASY, empty=2), name="first", top_k=3)
    stored.refresh_from_db()
    assert stored.collection == docs
    assert stored.index == docs.live_index
    assert (stored.name, stored.mode, stored.top_k) == ("first", "hybrid", 3)
    assert (stored.question_count, stored.degraded_count) == (3, 0)
    assert stored.left_out["empty"] == 2
    assert stored.metrics["hit@1"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert set(stored.metrics) == {
        *("recall@1", "recall@5", "recall@10", "hit@1", "hit@5", "MRR@10", "nDCG@10")
    }
    first = stored.answers.get(order=0)
    assert (first.question, first.relevant) == ("unpack an archive", ["tar.md"])
    assert first.found[0] == "tar.md"
    assert (first.ranks, first.rank) == ([1], 1)
    assert first.top_score is not None
    assert 0 < first.top_score <= 1
    assert (first.confidence in {"high", "low"}, first.degraded) == (True, "")


def test_metrics_are_those_of_the_ranks(docs):
    """One question right at once, one whose document is nowhere near the top."""
    stored = run(docs, asked({"running containers": "docker.md", "containers": "curl.md"}), top_k=1)
    assert [answer.rank for answer in stored.answers.order_by("order")] == [1, None]
    assert stored.metrics["hit@1"]["mean"] == 0.5
    assert stored.metrics["MRR@10"]["mean"] == 0.5
    assert stored.metrics["hit@1"]["low"] == 0.0
    assert stored.metrics["hit@1"]["high"] == 1.0


def test_passages_of_one_document_count_once(add, collection):
    """Two chunks of one document before another document: that one has rank 2, not 3."""
    filler = "Nothing of interest is said in this long sentence about the weather. " * 12
    add(
        "long.md",
        f"# Zebra\n\n## Sleep\n\nThe zebra sleeps. {filler}\n\n## Food\n\nThe zebra eats. {filler}",
        index=False,
    )
    other = add(
        "other.md", "# Other animals\n\nA zebra is mentioned once beside giraffes and lions."
    )
    stored = run(collection, asked({"zebra": "other.md"}))
    assert Chunk.objects.exclude(document=other).count() > 1
    answer = stored.answers.get()
    assert sorted(answer.found) == ["long.md", "other.md"]
    assert answer.ranks == [answer.found.index("other.md") + 1]


def test_it_asks_through_the_one_search_and_leaves_the_log_alone(docs, monkeypatch):
    requests: list[SearchRequest] = []
    really = search_module.search

    def search(request: SearchRequest) -> SearchResponse:
        requests.append(request)
        return really(request)

    monkeypatch.setattr(evaluation, "search", search)
    seen = []
    run(
        docs,
        asked(EASY),
        mode="lexical",
        top_k=7,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert not Search.objects.exists()
    assert {(item.mode, item.top_k, item.channel) for item in requests} == {
        ("lexical", 7, "evaluation")
    }
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("mode", list(Mode))
def test_every_mode_can_be_measured(docs, mode):
    assert run(docs, asked({"archive": "tar.md"}), mode=mode).mode == mode


# --- The fingerprint ------------------------------------------------------------------------


def test_the_fingerprint_is_the_same_until_something_that_matters_changes(docs):
    base = run(docs, asked(EASY))
    prints = {base.fingerprint}
    shuffled = dict(reversed(EASY.items()))
    assert run(docs, asked(shuffled), name="x").fingerprint in prints
    for options in (
        {"mode": "dense"},
        {"top_k": 5},
        {"settings": RetrievalSettings(min_score=0.1)},
    ):
        prints.add(run(docs, asked(EASY), **options).fingerprint)
    prints.add(run(docs, asked({"archive": "tar.md"})).fingerprint)
    docs.retrieval_settings = {"duplicate_share": 0.7}
    docs.save()
    prints.add(run(docs, asked(EASY)).fingerprint)
    docs.live_index.ef_search = 33
    docs.live_index.save()
    prints.add(run(docs, asked(EASY)).fingerprint)
    assert len(prints) == 7
    assert {len(digest) for digest in prints} == {64}


def test_what_the_fingerprint_stands_for_is_stored(docs):
    stored = run(docs, asked(EASY), mode="dense")
    assert stored.settings["retrieval"]["mode"] == "dense"
    assert stored.settings["model"]["revision"] == docs.embedding_model.revision
    assert stored.settings["index"]["space"] == "cosine"
    assert stored.fingerprint == evaluation.fingerprint(
        json.loads(json.dumps(stored.settings)) | {"questions": stored.questions_hash}
    )


# --- Questions and documents ----------------------------------------------------------------


def test_a_paragraph_finds_the_documents_with_its_text(add, collection):
    add("a.txt", "The zebra\nsleeps all day.", index=False)
    add("b.txt", "Nothing of that kind.", index=False)
    add("c.md", "# Long\n\nBefore.\n\nThe  giraffe eats leaves.\n\nAfter.")
    zebra = Question("Who sleeps?", frozenset(), passage=normalised("The zebra sleeps all day."))
    giraffe = Question("Who eats?", frozenset(), passage=normalised("The giraffe eats leaves."))
    lost = Question("Who swims?", frozenset(), passage=normalised("The shark swims."))
    named = Question("Who swims?", frozenset({"b.txt"}), passage=normalised("The shark swims."))
    found = resolve(collection, [zebra, giraffe, lost, named])
    assert [item.relevant for item in found.questions] == [{"a.txt"}, {"c.md"}, {"b.txt"}]
    assert found.unanswered == (lost,)


def test_documents_that_are_not_there_are_reported(docs, add):
    add("gone.md", "# gone\n\nsoon").tombstone()
    pairs = {"archive": "tar.md none.md", "x": "none.md", "soon": "gone.md"}
    stored = run(docs, asked(pairs))
    assert stored.question_count == 1
    assert stored.answers.get().relevant == ["tar.md"]
    assert stored.left_out == {
        "empty": 0,
        "unanswerable": 0,
        "without_document": 2,
        "unknown_documents": 2,
        "examples": ["gone.md", "none.md"],
    }


@pytest.mark.parametrize(
    "questions",
    [asked({}), asked({"x": "none.md"}), asked({"x" * 4001: "tar.md"})],
    ids=["none", "unknown", "too long"],
)
def test_questions_that_measure_nothing_are_an_error(docs, questions):
    with pytest.raises(InvalidQuestions):
        run(docs, questions)
    assert not EvaluationRun.objects.exists()


def test_a_setting_that_does_not_exist_is_an_error(docs):
    with pytest.raises(InvalidRequest, match="mode"):
        run(docs, asked(EASY), mode="magic")
    with pytest.raises(InvalidRequest, match="no index"):
        run(docs, asked(EASY), index_id=999)


def test_judgments_are_questions(docs):
    with pytest.raises(InvalidQuestions, match="golden set"):
        judgments_as_questions(docs)
    documents = {document.external_id: document for document in docs.documents.all()}
    for question, name in (("archive", "tar.md"), ("archive", "curl.md"), ("page", "curl.md")):
        Judgment.objects.create(collection=docs, question=question, document=documents[name])
    questions = judgments_as_questions(docs)
    assert {item.question: set(item.relevant) for item in questions.questions} == {
        "archive": {"tar.md", "curl.md"},
        "page": {"curl.md"},
    }
    assert run(docs, questions).questions_source == "golden set"


def test_a_run_during_which_a_part_was_away_says_so(docs, monkeypatch):
    store = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr(search_module, "query_store", lambda: store)
    stored = run(docs, asked(EASY))
    assert stored.degraded_count == 3
    assert stored.answers.get(order=0).degraded == "vector_store_unavailable"


def test_many_answers_are_stored_in_few_queries(docs, monkeypatch):
    answer = search_module.search(SearchRequest("archive", docs.slug, is_logged=False))
    monkeypatch.setattr(evaluation, "search", lambda request: answer)
    pairs = {f"question {number}": "tar.md" for number in range(2000)}
    with CaptureQueriesContext(
        connection,
    ) as queries:
        stored = run(docs, asked(pairs))
    assert EvaluationAnswer.objects.filter(run=stored).count() == 2000
    assert len(queries) < 40


# --- Two runs -------------------------------------------------------------------------------


def answers(collection, found: dict[str, list[str]]) -> EvaluationRun:
    """A stored run in which each question, whose document is right.md, was answered so."""
    stored = EvaluationRun.objects.create(collection=collection, fingerprint="0" * 64)
    for order, (question, names) in enumerate(found.items()):
        EvaluationAnswer.objects.create(
            run=stored,
            order=order,
            question=question,
            question_hash=question,
            relevant=["right.md"],
            found=names,
            ranks=[place for place, name in enumerate(names, 1) if name == "right.md"],
            confidence="low",
        )
    return stored


def test_two_runs_are_compared_question_by_question(collection):
    first = answers(
        collection,
        {
            "same": ["right.md"],
            "better": ["a.md", "right.md"],
            "found": ["a.md"],
            "worse": ["right.md"],
            "gone": [],
        },
    )
    second = answers(
        collection,
        {
            "new": ["right.md"],
            "worse": ["a.md", "b.md", "right.md"],
            "found": ["right.md"],
            "better": ["right.md"],
            "same": ["right.md", "a.md"],
        },
    )
    result = compare(first, second)
    assert (result.common, result.only_before, result.only_after) == (4, 1, 1)
    assert [(item.question, item.before, item.after) for item in result.won] == [
        ("better", 2, 1),
        ("found", None, 1),
    ]
    assert [(item.question, item.before, item.after) for item in result.lost] == [("worse", 1, 3)]
    assert result.unchanged == 1
    # (1 - 1) + (1 - 1/2) + (1 - 0) + (1/3 - 1) over four questions.
    difference = result.differences["MRR@10"]
    assert difference.mean == pytest.approx((0 + 0.5 + 1 - 2 / 3) / 4)
    assert difference.low < difference.mean < difference.high
    assert result.differences["hit@1"].mean == pytest.approx(1 / 4)


def test_a_run_compared_with_itself_did_not_change(docs):
    stored = run(docs, asked(EASY))
    result = compare(stored, stored)
    assert (result.common, result.unchanged, result.won, result.lost) == (3, 3, (), ())
    assert not result.differences["MRR@10"].excludes_zero


def test_a_question_that_stands_there_twice_is_compared_twice(docs):
    twice = QuestionSet((Question("archive", frozenset({"tar.md"})),) * 2, source="test")
    stored = run(docs, twice)
    assert compare(stored, run(docs, twice)).common == 2


def test_runs_without_a_common_question_are_not_compared(docs):
    one, other = run(docs, asked({"archive": "tar.md"})), run(docs, asked({"archive": "curl.md"}))
    with pytest.raises(InvalidRequest, match="no question in common"):
        compare(one, other)
