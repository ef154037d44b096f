"""A question that shares no words with the one that was answered, and still asks the same."""

import numpy as np
import pytest

from retrieval import aliases, asked_before, sync
from retrieval.asked_before import SAME_QUESTION, UNRELATED, likeness
from retrieval.exceptions import EmbeddingError
from retrieval.factories import vector_store
from retrieval.feedback import batch
from retrieval.models import Alias, EmbeddingModel, ReviewItem
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.retrieval.feedback.conftest import gather

pytestmark = pytest.mark.django_db

BIKE = "bike.md"
KNOWN = ["Where can I park my bicycle?", "What does error 404 of the portal mean?"]


def ask(question: str, **options):
    return search(SearchRequest(question, "docs", is_logged=False, explain=True, **options))


@pytest.fixture
def led(add):
    """Two questions that lead to passages which say none of their words."""
    add("coffee.md", "# Coffee\n\nThe kitchen team cleans the machine every Friday.", index=False)
    add("lost.md", "# Addresses\n\nIt was moved elsewhere; use the new one.", index=False)
    document = add(BIKE, "# Cellar\n\nTake the ramp in the yard.")
    for name, question in zip((BIKE, "lost.md"), KNOWN, strict=True):
        chunk = document.collection.documents.get(external_id=name).chunks.get()
        aliases.create(chunk.document, [question], chunk.text)
    sync.send_aliases(vector_store(), list(Alias.objects.values_list("pk", flat=True)))


@pytest.mark.parametrize("question", ["bike parking", "Where are bicycles parked?"])
def test_the_same_question_in_other_words_is_relied_on(led, question):
    answer = ask(question)
    best = answer.hits[0]
    assert best.external_id == BIKE
    assert answer.confidence == "high"
    assert best.explanation.question_score >= SAME_QUESTION
    assert best.score == pytest.approx(best.explanation.question_score, abs=1e-4)
    assert best.explanation.fused_score <= best.score
    assert {hit.explanation.question_score for hit in answer.hits[1:]} == {None}


@pytest.mark.parametrize(
    "question",
    [
        "Where does the tram to the airport stop?",
        "What does error 500 of the portal mean?",
        "Who cleans the coffee machine?",
    ],
)
def test_another_question_is_not(led, question):
    assert {hit.explanation.question_score for hit in ask(question).hits} == {None}


def test_it_counts_as_little_as_the_model_understands(led, monkeypatch):
    trusted = ask("bike parking", mode="hybrid").hits[0]
    monkeypatch.setattr("retrieval.search.dense_weight", lambda *_: 0.0)
    answer = ask("bike parking")
    assert answer.confidence == "none"
    assert answer.hits[0].score < trusted.score


def test_among_others_it_moves_nothing_up(led, add):
    add("racks.md", "# Bike parking\n\nBike parking: where bicycles are parked, bike parking.")
    answer = ask("bike parking")
    assert [hit.external_id for hit in answer.hits[:2]] == ["racks.md", BIKE]
    second = answer.hits[1]
    assert second.explanation.question_score > second.score
    assert second.score == pytest.approx(second.explanation.fused_score, abs=1e-4)


class Crowded:
    """A model to which all questions are near each other, as some are; what begins with the same
    word asks the same."""

    def __init__(self, cosine: float) -> None:
        self.cosine = cosine
        self.known: list[str] = []

    def embed_query(self, text: str) -> np.ndarray:
        topic = text if text in UNRELATED else text.split()[0]
        if topic not in self.known:
            self.known.append(topic)
        own = np.zeros(384, dtype=np.float32)
        own[0] = self.cosine**0.5
        own[1 + self.known.index(topic)] = (1 - self.cosine) ** 0.5
        return own


def test_what_unrelated_questions_have_counts_for_nothing(monkeypatch):
    for base in (0.0, 0.1, 0.8):
        crowded = Crowded(base)
        monkeypatch.setattr(asked_before, "embedder_for", lambda _, made=crowded: made)
        model = EmbeddingModel()
        assert likeness(base, model) == pytest.approx(0, abs=1e-3)
        assert likeness(1.0, model) == pytest.approx(1)
        assert likeness((1 + base) / 2, model) == pytest.approx(0.5, abs=1e-3)
        assert likeness(base - 0.1, model) == 0


def test_a_model_that_does_not_answer_says_nothing_of_questions(monkeypatch):
    def away(_model):
        raise EmbeddingError("The model is away.")

    monkeypatch.setattr(asked_before, "embedder_for", away)
    assert likeness(1.0, EmbeddingModel()) == 0


def test_questions_are_not_one_group_because_a_model_finds_all_alike(
    collection, asked, monkeypatch
):
    crowded = Crowded(0.85)
    for module in (asked_before, batch):
        monkeypatch.setattr(module, "embedder_for", lambda _: crowded)
    for question in ("Bicycles where?", "Bicycles stand?", "Canteen opens?", "Wifi password?"):
        asked(collection, question)
    gather()
    groups = [
        {question.text for question in item.questions.all()}
        for item in ReviewItem.objects.order_by("pk")
    ]
    assert groups == [
        {"Bicycles where?", "Bicycles stand?"},
        {"Canteen opens?"},
        {"Wifi password?"},
    ]
