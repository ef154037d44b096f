"""To accept a correction in the admin: asked again before and after, kept as proof, taken back."""

from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from retrieval import aliases
from retrieval.feedback import proof
from retrieval.models import (
    Acceptance,
    Chunk,
    Collection,
    Document,
    Feedback,
    Judgment,
    ReviewItem,
    Worker,
)
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.conftest import index_everything
from tests.kbadmin.test_browser import browser, tab
from tests.kbadmin.test_playground import handbook, model
from tests.kbadmin.test_review import login, make

__all__ = ["browser", "handbook", "model", "tab"]

pytestmark = pytest.mark.django_db

QUESTION = "What is the code of the garage door?"
ANSWER = "The code of the garage door is 4711."


def settle() -> None:
    """What the worker does until nothing is due."""
    busy = True
    while busy:
        index_everything()
        busy = bool(aliases.clean_up()) or proof.step("test")


def best() -> Any:
    return search(SearchRequest(QUESTION, "docs", is_logged=False))


@pytest.fixture
def item(handbook: Collection) -> ReviewItem:
    item = make(handbook, QUESTION, down_count=1, correction_count=1)
    item.questions.create(collection=handbook, key="1", text=QUESTION, asked=1)
    Feedback.objects.create(
        collection=handbook,
        item=item,
        question=QUESTION,
        rating=-1,
        correction=ANSWER,
        channel="mcp",
    )
    return item


def url(item: ReviewItem, tail: str = "") -> str:
    return f"/admin/review/{item.pk}/{tail}"


def test_an_answer_is_written_proven_and_taken_back(page: Client, item: ReviewItem) -> None:
    form = page.get(url(item, "accept/answer/"))
    assert form.context["proposal"].answer == ANSWER
    assert form.context["questions"] == QUESTION
    sent = {"questions": QUESTION, "answer": ANSWER}
    html = page.post(url(item, "accept/answer/"), sent, follow=True).content.decode()
    assert "being proven" in html
    assert "Until then nobody is answered with it." in html
    assert "HX-Refresh" not in page.get(url(item, "proof/"))
    settle()
    assert page.get(url(item, "proof/"))["HX-Refresh"] == "true"
    assert ANSWER in best().hits[0].text
    row = Acceptance.objects.get()
    html = page.get(url(item)).content.decode()
    assert "Accepted a correction, question and answer" in html
    assert "#1 ·" in html
    assert page.get(url(item, "accept/answer/")).status_code == 302  # closed

    page.post(url(item, "settle/"), {"acceptance": row.pk, "action": "roll_back"})
    settle()
    row.refresh_from_db()
    item.refresh_from_db()
    assert (row.state, item.is_open) == ("undone", True)
    assert ANSWER not in " ".join(hit.text for hit in best().hits)
    html = page.get(url(item)).content.decode()
    assert "After the rollback" in html
    assert "Rolled back what was accepted" in html


def test_the_other_ways_change_the_passage_that_was_chosen(page: Client, item: ReviewItem) -> None:
    chunk = Chunk.objects.live().select_related("document").earliest("pk")
    find = page.get(url(item, "accept/alias/"), {"find": chunk.text})
    assert chunk.pk in {offered.pk for offered in find.context["offered"]}
    edit = page.get(url(item, "accept/edit/"), {"chunk": chunk.pk})
    assert chunk.text in edit.context["proposal"].text
    sent = {"questions": QUESTION, "chunk": chunk.pk}
    page.post(url(item, "accept/hide/"), sent)
    settle()
    chunk.refresh_from_db()
    assert not chunk.enabled
    row = Acceptance.objects.get()
    page.post(url(item, "settle/"), {"acceptance": row.pk, "action": "roll_back"})
    settle()
    chunk.refresh_from_db()
    assert chunk.enabled
    text = f"{chunk.text}\n\n{ANSWER}"
    page.post(url(item, "accept/edit/"), {**sent, "text": text})
    settle()
    assert best().hits[0].document_id == chunk.document_id
    assert Document.objects.get(pk=chunk.document_id).revisions.count() == 2


@pytest.mark.parametrize(
    ("kind", "sent", "status"),
    [
        ("answer", {"questions": QUESTION, "answer": " "}, 400),
        ("answer", {"questions": "q\n" * 3 + "\n".join(map(str, range(30))), "answer": "x"}, 400),
        ("alias", {"questions": QUESTION, "chunk": "999999"}, 409),
        ("hide", {"questions": QUESTION}, 409),
        ("burn", {}, 404),
    ],
)
def test_what_cannot_be_accepted_is_told_and_kept(
    page: Client, item: ReviewItem, kind: str, sent: dict[str, str], status: int
) -> None:
    answer = page.post(url(item, f"accept/{kind}/"), sent)
    assert answer.status_code == status
    if status != 404:
        assert answer.context["problem"]
        assert answer.context["questions"] == sent["questions"]
    assert not Acceptance.objects.exists()


@pytest.fixture
def harmful(page: Client, handbook: Collection, item: ReviewItem) -> Acceptance:
    """An answer that pushes the document of a golden question down."""
    question = "Where do I put the blue bins?"
    said = search(SearchRequest(question, "docs", is_logged=False))
    best = Document.objects.get(pk=said.hits[0].document_id)
    Judgment.objects.create(collection=handbook, question=question, document=best)
    sent = {"questions": f"{question[:-1]} now?", "answer": f"{question} Here: {question}"}
    page.post(url(item, "accept/answer/"), sent)
    settle()
    return Acceptance.objects.get()


def test_what_makes_others_worse_is_live_only_once_it_is_confirmed(
    page: Client, item: ReviewItem, harmful: Acceptance
) -> None:
    assert harmful.state == "waiting"
    html = page.get(url(item)).content.decode()
    assert "It would make 1 other question worse. Nobody is answered with it" in html
    assert "Where do I put the blue bins?: 1 → 2" in html
    assert "Make it live all the same" in html
    asked = SearchRequest("Where do I put the blue bins now?", "docs", is_logged=False)
    assert harmful.document_id not in {hit.document_id for hit in search(asked).hits}
    queue = page.get("/admin/review/").content.decode()
    assert "These corrections would make other questions worse." in queue
    assert f"/admin/review/{item.pk}/#kb-proof" in queue
    document = page.get(f"/admin/retrieval/document/{harmful.document_id}/change/")
    assert "This version is not searched before it is proven" in document.content.decode()

    page.post(url(item, "settle/"), {"acceptance": harmful.pk, "action": "confirm"})
    settle()
    harmful.refresh_from_db()
    assert harmful.state == "final"
    assert search(asked).hits[0].document_id == harmful.document_id
    html = page.get(url(item)).content.decode()
    assert "It makes 1 other question worse:" in html
    said = page.post(
        url(item, "settle/"), {"acceptance": harmful.pk, "action": "confirm"}, follow=True
    ).content.decode()
    assert "does not wait for a confirmation" in said


def test_what_waits_can_be_discarded(page: Client, item: ReviewItem, harmful: Acceptance) -> None:
    said = page.post(
        url(item, "settle/"), {"acceptance": harmful.pk, "action": "roll_back"}, follow=True
    ).content.decode()
    assert "It is discarded, and the question is open again." in said
    settle()
    html = page.get(url(item)).content.decode()
    assert "After it was discarded" in html
    assert "It would have made 1 other question worse:" in html
    assert "These corrections would make" not in page.get("/admin/review/").content.decode()
    assert not Document.objects.alive().filter(origin="feedback").exists()


def test_who_may_not_change_documents_accepts_nothing(client: Client, item: ReviewItem) -> None:
    login(client, "view_feedback", "change_feedback", "view_document")
    assert "Make it right" not in client.get(url(item)).content.decode()
    assert client.get(url(item, "accept/answer/")).status_code == 403
    assert client.post(url(item, "accept/answer/"), {"answer": "x"}).status_code == 403
    assert client.post(url(item, "settle/"), {}).status_code == 403


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_correction_is_accepted_by_keyboard_and_its_proof_appears(
    tab: Page, live_server: Any, item: ReviewItem
) -> None:
    Worker.objects.create(name="w", host="h", pid=1)
    tab.goto(f"{live_server.url}/admin/review/")
    tab.keyboard.press("j")
    tab.keyboard.press("a")
    expect(tab.locator("#id_answer")).to_have_value(ANSWER)
    tab.get_by_role("button", name="Accept").click()
    expect(tab.locator("#kb-proof")).to_contain_text("being proven")
    settle()
    expect(tab.locator("#kb-proof")).to_contain_text("#1 ·", timeout=15_000)
    expect(tab.locator("#kb-proof")).to_contain_text("final")
    tab.get_by_role("button", name="Roll back").click()
    expect(tab.locator("#kb-proof")).to_contain_text("being rolled back")
    settle()
    expect(tab.locator("#kb-proof")).to_contain_text("After the rollback", timeout=15_000)
