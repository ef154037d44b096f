"""Calibration: weights and thresholds from questions whose answers are known."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from retrieval import calibration
from retrieval.calibration import FEWEST, GRID, Probe, _decide, _Heard, adopt, calibrate
from retrieval.exceptions import CollectionNotFound, InvalidRequest, VectorStoreUnavailable
from retrieval.models import Judgment
from retrieval.search import Arms, search
from retrieval.types import DenseCandidate, LexicalCandidate, Script, SearchRequest
from retrieval.vector_store import VectorStore
from tests.isolation import free_port

pytestmark = pytest.mark.django_db

ANIMALS = "pelican walrus heron badger otter lynx marten weasel beaver falcon".split()  # noqa: SIM905
PLACES = ["harbour", "meadow", "glacier", "orchard", "canyon"]


@pytest.fixture
def zoo(add):
    """Fifty pages of a few sentences each, on an animal in a place."""
    pages = [(animal, place) for animal in ANIMALS for place in PLACES]
    for number, (animal, place) in enumerate(pages):
        text = (
            f"The {animal} of the {place} sleeps {number} hours under old trees. "
            f"Visitors of the {place} may watch how keepers feed the {animal} at noon. "
            f"Its cousin number {number} lives on an island far away from any road."
        )
        add(f"{animal}-{place}.md", f"# {animal} {place}\n\n{text}", index=number == len(pages) - 1)


def heard(question, dense, lexical, right, lenders=()):
    """One question: {chunk: distance}, {chunk: score}; each chunk is its own document."""
    arms = Arms(
        dense=[DenseCandidate(chunk, distance) for chunk, distance in dense.items()],
        lexical=[LexicalCandidate(chunk, score * 10, score) for chunk, score in lexical.items()],
    )
    documents = {chunk: chunk for chunk in (*dense, *lexical)}
    probe = Probe(question, frozenset(right), frozenset(lenders))
    return _Heard(probe, arms, documents, "cosine")


def test_an_arm_that_is_always_wrong_loses_its_weight():
    asked = [heard("q", {1: 0.1, 2: 0.9}, {2: 0.3, 1: 0.1}, right=[2]) for _ in range(30)]
    decision = _decide(Script.CJK, asked, declared=0.5, bias=0.0)
    assert decision.chosen < 0.25
    assert decision.row(decision.chosen).mrr == 1.0
    assert decision.row(1.0).mrr == 0.5


def test_what_makes_no_difference_leaves_the_declared_weight():
    asked = [heard("q", {1: 0.1, 2: 0.9}, {1: 0.9, 2: 0.1}, right=[1]) for _ in range(30)]
    assert _decide(Script.ALPHABETIC, asked, declared=0.4, bias=0.0).chosen == 0.4


def test_a_hybrid_is_never_chosen_below_the_better_arm():
    good = [heard("q", {1: 0.2, 2: 0.6}, {2: 0.5, 1: 0.4}, right=[1]) for _ in range(60)]
    bad = [heard("q", {1: 0.2, 2: 0.3}, {2: 0.9, 1: 0.1}, right=[2]) for _ in range(40)]
    decision = _decide(Script.ALPHABETIC, good + bad, declared=0.5, bias=0.0)
    better = max(decision.row(0.0).mrr, decision.row(1.0).mrr)
    assert decision.row(decision.chosen).mrr >= better - decision.row(decision.chosen).error


def test_thresholds_are_what_questions_without_answer_score():
    """The best wrong passage of question n scores n/100 by words alone."""
    asked = [heard("q", {}, {1: 0.99, 2: n / 100}, right=[1]) for n in range(100)]
    lexical = _decide(Script.ALPHABETIC, asked, declared=0.5, bias=0.0).thresholds["lexical"]
    assert lexical.low == pytest.approx(0.495, abs=0.01)
    assert lexical.high == pytest.approx(0.94, abs=0.01)


def test_a_document_that_lent_its_words_is_neither_right_nor_wrong():
    item = heard("q", {}, {3: 0.9, 1: 0.5, 2: 0.1}, right=[1], lenders=[3])
    assert item.reciprocal_rank(0.0) == 1.0
    assert item.scores(0.0) == [(1, 0.5), (2, 0.1)]


def test_questions_are_drawn_where_there_is_no_golden_set(zoo, collection):
    result = calibrate("docs", most=80)
    assert result.source == "drawn from the documents"
    (decision,) = result.decisions
    assert decision.script is Script.ALPHABETIC
    assert decision.questions >= FEWEST
    assert len(decision.rows) == len(GRID)
    assert decision.chosen in GRID
    collection.refresh_from_db()
    assert collection.retrieval_settings == {}


def test_the_same_seed_decides_the_same(zoo):
    first, second = (calibrate("docs", most=60, seed=7) for _ in range(2))
    assert first.decisions == second.decisions


def test_a_golden_set_is_asked_first(zoo, collection):
    for document in collection.documents.all()[:FEWEST]:
        animal, place = document.external_id.removesuffix(".md").split("-")
        Judgment.objects.create(
            collection=collection, document=document, question=f"Which {animal} is in the {place}?"
        )
    result = calibrate("docs")
    assert result.source == "golden set"
    assert result.decisions[0].questions == FEWEST


def test_what_was_decided_is_used_by_the_next_search(zoo, collection):
    collection.retrieval_settings = {"min_score": 0.01}
    collection.save()
    result = calibrate("docs", most=60)
    adopt(result)
    collection.refresh_from_db()
    stored = collection.retrieval_settings
    assert stored["min_score"] == 0.01
    assert len(stored["calibration"]["scripts"]["alphabetic"]["table"]) == len(GRID)
    answer = search(SearchRequest("where does the pelican sleep?", "docs"))
    assert answer.dense_weight == result.decisions[0].chosen
    assert answer.thresholds.high == pytest.approx(
        result.decisions[0].thresholds["hybrid"].high, abs=1e-4
    )


def test_too_few_documents_are_refused(add):
    add("one.md", "A single page about nothing much.")
    with pytest.raises(InvalidRequest, match="too few documents"):
        calibrate("docs")
    with pytest.raises(CollectionNotFound):
        calibrate("nowhere")


def test_nothing_is_decided_while_an_arm_is_away(zoo, monkeypatch):
    away = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr("retrieval.search.query_store", lambda: away)
    with pytest.raises(VectorStoreUnavailable):
        calibrate("docs", most=40)


def test_the_command_shows_the_table_and_keeps_it(zoo, collection):
    out = StringIO()
    call_command("calibrate", "docs", "--questions", "60", stdout=out, stderr=StringIO())
    text = out.getvalue()
    assert "alphabetic" in text
    assert "← chosen" in text or "chosen" in text
    assert text.count("\n  ") >= len(GRID)
    collection.refresh_from_db()
    assert "alphabetic" in collection.retrieval_settings["dense_weight"]


def test_a_dry_run_changes_nothing(zoo, collection):
    out = StringIO()
    call_command(
        "calibrate",
        "docs",
        "--dry-run",
        "--json",
        "--questions",
        "60",
        stdout=out,
        stderr=StringIO(),
    )
    report = json.loads(out.getvalue())
    assert report["adopted"] is False
    assert report["scripts"]["alphabetic"]["chosen"] in GRID
    collection.refresh_from_db()
    assert collection.retrieval_settings == {}


def test_the_command_refuses_what_does_not_exist(db):
    with pytest.raises(CommandError) as refused:
        call_command("calibrate", "nowhere", stderr=StringIO())
    assert refused.value.returncode == 2


def test_drawn_questions_are_made_of_both_documents(zoo, collection):
    import random

    collection.refresh_from_db()
    probes = calibration.drawn(collection, 40, random.Random(1))
    assert len(probes) >= FEWEST
    assert sum(bool(probe.lenders) for probe in probes) == len(probes) / 2
    assert all(not probe.lenders & probe.documents for probe in probes)
