"""The playground: real searches, with their reasons, side by side, and what is kept of them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from kbadmin.pages.playground import highlighted
from retrieval import aliases, indexing, sync
from retrieval.collections import create_collection, prepare_model
from retrieval.factories import vector_store
from retrieval.ingest import accept
from retrieval.models import (
    Chunk,
    Collection,
    Document,
    EmbeddingModel,
    Feedback,
    Judgment,
    Search,
)
from retrieval.search import search
from retrieval.types import SearchRequest
from retrieval.vector_store import VectorStore
from tests.isolation import free_port

URL = "/admin/playground/"
PAGES = {
    "docker.md": "# docker ps\n\nList all running <b>containers</b>.",
    "tar.md": "---\nlang: de\n---\n# tar\n\nExtract files from an archive.",
    "zh.md": "# docker ps\n\n列出所有正在运行的容器。",
}


@pytest.fixture
def model(db: None, bundle: Any, settings: Any) -> EmbeddingModel:
    """The real one: the pages are searched for real."""
    from retrieval import factories

    factories.reset()
    return prepare_model(settings.EMBEDDING_MODEL, lambda line: None)


@pytest.fixture
def handbook(model: EmbeddingModel, chroma: str) -> Collection:
    collection = create_collection(slug="docs", title="Handbook")
    for name, text in PAGES.items():
        accept(
            collection,
            external_id=name,
            filename=name,
            data=text.encode(),
            origin=Document.Origin.UPLOAD,
        )
    indexing.process("test", indexing.claim("test"))
    return collection


@pytest.fixture
def look(page: Client) -> Callable[..., str]:
    def look(question: str = "", **given: Any) -> str:
        if question:
            given["q"] = question
        response = page.get(f"{URL}?{urlencode(given)}")
        assert response.status_code == 200
        return response.content.decode()

    return look


def test_before_the_first_question_it_says_what_it_is_for(
    handbook: Collection, look: Callable[..., str]
) -> None:
    html = look()
    assert "See what a question finds, and why" in html
    assert "Search.objects" not in html
    assert not Search.objects.exists()


def test_an_answer_shows_its_reasons(handbook: Collection, look: Callable[..., str]) -> None:
    html = look("list running containers")
    assert "1. docker ps" in html
    assert '<mark class="kb-mark">List</mark>' in html
    assert "cosine distance" in html
    assert "BM25" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    row = Search.objects.get()
    assert (row.channel, row.query) == ("playground", "list running containers")


def test_a_question_that_leads_to_an_answer_is_a_reason(
    handbook: Collection, look: Callable[..., str]
) -> None:
    chunk = Chunk.objects.get(document__external_id="tar.md")
    made = aliases.create(chunk.document, ["Where can I park my bicycle?"], chunk.text)
    sync.send_aliases(vector_store(), [alias.pk for alias in made])
    html = look("bike parking")
    assert "1. tar" in html
    assert html.count(" as the same question") == 1


def test_it_answers_what_programs_are_answered(handbook: Collection, page: Client) -> None:
    response = page.get(URL, {"q": "list running containers"})
    (side,) = response.context["sides"]
    shown = [(hit.chunk_id, hit.score) for hit in side.answer.hits]
    answer = search(SearchRequest("list running containers", "docs"))
    assert shown == [(hit.chunk_id, hit.score) for hit in answer.hits]


def test_two_ways_are_compared_side_by_side(handbook: Collection, page: Client) -> None:
    response = page.get(
        URL, {"q": "容器 running", "compare": "1", "a-mode": "dense", "b-mode": "lexical"}
    )
    left, right = response.context["sides"]
    assert (left.answer.mode, right.answer.mode) == ("dense", "lexical")
    assert {row.moved for row in left.rows} <= {"up", "down", "same", "new"}
    assert "new" in {row.moved for row in left.rows}


def test_a_filter_narrows_and_a_bad_one_is_explained(
    handbook: Collection, look: Callable[..., str]
) -> None:
    html = look("files", filter='{"lang": "de"}')
    assert "1. tar" in html
    assert "2. " not in html
    assert "Enter a valid JSON" in look("files", filter="{")
    assert "Write a JSON object" in look("files", filter="[1]")
    assert "filter.lang" in look("files", filter='{"lang": {"near": 1}}')


def test_nothing_found_is_said(handbook: Collection, look: Callable[..., str]) -> None:
    assert "Nothing was found" in look("xyzzy", **{"a-min_score": 1})


def test_a_setting_out_of_range_is_marked(handbook: Collection, look: Callable[..., str]) -> None:
    html = look("files", **{"a-top_k": 500})
    assert "less than or equal to 50" in html
    assert "Mend the settings" in html


def test_a_degraded_answer_says_so(
    handbook: Collection, look: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr("retrieval.search.query_store", lambda: away)
    assert "A part of the search is away" in look("running containers")


def test_what_was_tried_can_become_the_default(handbook: Collection, page: Client) -> None:
    handbook.retrieval_settings = {
        "thresholds": {"hybrid": {"cjk": {"low": 0.1, "high": 0.2}}},
        "calibration": {"source": "golden set"},
    }
    handbook.save()
    tried = {"q": "files", "a-mode": "lexical", "a-top_k": "7", "a-context": "1", "a-cjk": "0.2"}
    assert "Save as default" in page.get(URL, tried).content.decode()
    response = page.post(f"{URL}?{urlencode(tried)}", {**tried, "collection": "docs", "save": "1"})
    assert response["Location"] == f"{URL}?{urlencode(tried)}"
    handbook.refresh_from_db()
    assert handbook.default_top_k == 7
    stored = handbook.retrieval_settings
    assert (stored["mode"], stored["context"], stored["dense_weight"]) == (
        "lexical",
        1,
        {"cjk": 0.2},
    )
    assert stored["thresholds"]["hybrid"]["cjk"] == {"low": 0.1, "high": 0.2}
    assert stored["calibration"] == {"source": "golden set"}
    assert "Save as default" not in page.get(URL, {"q": "files"}).content.decode()


def test_settings_that_cannot_be_used_are_not_saved(handbook: Collection, page: Client) -> None:
    page.post(URL, {"collection": "docs", "save": "1", "a-mode": "psychic"})
    handbook.refresh_from_db()
    assert handbook.retrieval_settings == {}


def test_a_right_answer_joins_the_golden_set_and_leaves_it(
    handbook: Collection, page: Client
) -> None:
    document = Document.objects.get(external_id="docker.md")
    data = {"collection": "docs", "q": "what runs?", "right": document.pk, "quote": "List all"}
    page.post(f"{URL}?q=what+runs%3F", data)
    judgment = Judgment.objects.get()
    assert (judgment.question, judgment.document, judgment.quote) == (
        "what runs?",
        document,
        "List all",
    )
    assert "✓ Right answer" in page.get(URL, {"q": "what runs?"}).content.decode()
    page.post(f"{URL}?q=what+runs%3F", data)
    assert not Judgment.objects.exists()


@pytest.mark.parametrize(("vote", "rating"), [("up", 1), ("down", -1)])
def test_an_answer_can_be_voted_on(
    handbook: Collection, page: Client, vote: str, rating: int
) -> None:
    response = page.get(URL, {"q": "list running containers"})
    query_id = response.context["sides"][0].answer.query_id
    page.post(URL, {"vote": vote, "query_id": query_id})
    feedback = Feedback.objects.get()
    assert (feedback.rating, feedback.channel) == (rating, "playground")
    assert feedback.question == "list running containers"


def test_a_vote_on_nothing_is_refused_in_words(handbook: Collection, page: Client) -> None:
    response = page.post(URL, {"vote": "up", "query_id": "x"}, follow=True)
    assert "No search has the query_id" in response.content.decode()
    assert not Feedback.objects.exists()


def test_a_document_that_is_gone_cannot_be_right(handbook: Collection, page: Client) -> None:
    for right in ("", "x", "999999"):
        page.post(URL, {"collection": "docs", "q": "what runs?", "right": right})
    assert not Judgment.objects.exists()
    assert not Feedback.objects.exists()


def test_earlier_questions_can_be_asked_again(
    handbook: Collection, look: Callable[..., str]
) -> None:
    for question in ("first?", "second?", "first?"):
        search(SearchRequest(question, "docs", channel="plugin"))
    html = look()
    assert html.count("q=first%3F") == 1
    assert html.count("q=second%3F") == 1


def test_without_a_collection_it_says_what_to_do(page: Client) -> None:
    assert "Nothing to search yet" in page.get(URL).content.decode()


def test_only_those_who_may_look_may_ask(handbook: Collection, client: Client) -> None:
    user = User.objects.create_user("guest", password="x", is_staff=True)
    client.force_login(user)
    assert client.get(URL).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_document"))
    assert client.get(URL).status_code == 200
    html = client.get(URL, {"q": "files", "a-mode": "lexical"}).content.decode()
    assert "Save as default" not in html
    assert "Mark as right answer" not in html
    for data in ({"save": "1"}, {"right": "1"}, {"vote": "up"}):
        assert client.post(URL, {"collection": "docs", "q": "x", **data}).status_code == 403


@pytest.mark.parametrize("rows", [3, 30])
def test_its_queries_do_not_depend_on_what_is_there(
    handbook: Collection, page: Client, django_assert_max_num_queries: Any, rows: int
) -> None:
    for number in range(rows):
        search(SearchRequest(f"question {number}", "docs"))
    with django_assert_max_num_queries(29):
        page.get(URL, {"q": "running containers", "compare": "1"})


def test_highlighting_keeps_every_character(handbook: Collection) -> None:
    for question in ("list containers", "容器", "nothing of that"):
        for hit in search(SearchRequest(question, "docs", explain=True)).hits:
            parts = highlighted(hit)
            assert "".join(text for text, _ in parts) == hit.text
            assert hit.explanation is not None
            assert sum(is_match for _, is_match in parts) == len(hit.explanation.matches)
