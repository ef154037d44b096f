"""The pages of the golden set: list, form, import with its report, export."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from playwright.sync_api import Page, expect

from retrieval.models import Collection, Document, Judgment
from retrieval.questions import read_questions
from tests.kbadmin.test_browser import browser, tab

__all__ = ["browser", "tab"]

pytestmark = pytest.mark.django_db

LIST = "/admin/retrieval/judgment/"
IMPORT = f"{LIST}import/"
CSV = b"question,document,quote\nHow long?,refunds.md,text of\nWho?,refunds.md,\nGone?,none.md,\n"


@pytest.fixture
def refunds(add: Callable[..., Document]) -> Document:
    return add("refunds.md")


def send(page: Client, collection: Collection, data: bytes = CSV, name: str = "set.csv") -> Any:
    file = SimpleUploadedFile(name, data)
    return page.post(IMPORT, {"collection": collection.pk, "file": file})


def test_an_import_reports_first_and_adds_when_told(
    page: Client, collection: Collection, refunds: Document
) -> None:
    Judgment.objects.create(collection=collection, question="Who?", document=refunds)
    answer = send(page, collection)
    assert answer.status_code == 302
    assert Judgment.objects.count() == 1
    report = page.get(answer["Location"])
    html = report.content.decode()
    assert report.context["report"]["new"] == 1
    assert report.context["report"]["known"] == 1
    assert report.context["report"]["unresolved"] == 1
    assert "Nothing is added yet" in html
    assert "none.md" in html

    added = page.post(IMPORT, {"draft": report.context["draft"]}, follow=True)
    assert "1 question joined the golden set." in added.content.decode()
    new = Judgment.objects.get(question="How long?")
    assert (new.document, new.source, new.quote) == (refunds, "import", "text of")
    assert "golden_import" in LogEntry.objects.latest("pk").change_message
    again = page.post(IMPORT, {"draft": report.context["draft"]}, follow=True)
    assert "no longer kept" in again.content.decode()
    assert Judgment.objects.count() == 2


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("set.txt", b"question", "questions are read from"),
        ("set.csv", b"question,document\n", "holds no question"),
        ("set.csv", b"a,b\n1,2\n", "must be a header"),
        ("set.csv", b"\xff\xfe", "UTF-8"),
        ("set.jsonl", b"{", "line 1 is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_a_sentence(
    page: Client, collection: Collection, name: str, data: bytes, said: str
) -> None:
    answer = send(page, collection, data, name)
    assert answer.status_code == 400
    assert said in answer.content.decode()


def test_reports_are_shown_to_the_one_who_sent_the_file(
    page: Client, collection: Collection, refunds: Document
) -> None:
    address = send(page, collection)["Location"]
    page.force_login(User.objects.create_superuser("other"))
    assert page.get(address)["Location"] == IMPORT
    page.post(IMPORT, {"draft": address.partition("draft=")[2]})
    assert not Judgment.objects.exists()


def test_who_may_only_look_may_not_import(collection: Collection, client: Client) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    for address in (LIST, IMPORT, f"{LIST}export/", f"{LIST}template/"):
        assert client.get(address).status_code == 403, address
    clerk.user_permissions.add(Permission.objects.get(codename="view_judgment"))
    assert client.get(IMPORT).status_code == 403
    assert send(client, collection).status_code == 403
    assert client.get(f"{LIST}export/").status_code == 200
    assert IMPORT not in client.get(LIST).content.decode()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_templates_can_be_imported(page: Client, kind: str) -> None:
    answer = page.get(f"{LIST}template/", {"format": kind})
    name = answer["Content-Disposition"].partition('"')[2].rstrip('"')
    questions = read_questions(name, answer.content).questions
    assert questions[0].question == "How long may a refund take?"
    assert page.get(f"{LIST}template/", {"format": "exe"}).status_code == 400


def test_an_export_is_of_the_chosen_collection(
    page: Client, collection: Collection, refunds: Document
) -> None:
    Judgment.objects.create(collection=collection, question="How long?", document=refunds)
    for chosen, expected in ((collection.pk, 1), (collection.pk + 1, 0)):
        answer = page.get(f"{LIST}export/?format=jsonl&collection={chosen}")
        written = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
        assert written.count(b"\n") == expected
    assert page.get(f"{LIST}export/", {"format": "exe"}).status_code == 400


def test_one_is_written_here_once(page: Client, refunds: Document) -> None:
    given = {"question": " How\nlong? ", "document": refunds.pk, "quote": "not said at all"}
    page.post(f"{LIST}add/", given)
    row = Judgment.objects.get()
    assert (row.question, row.collection, row.source) == (
        "How long?",
        refunds.collection,
        "written",
    )
    assert row.is_stale
    assert "already" in page.post(f"{LIST}add/", given).content.decode()
    shown = page.get(LIST, {"is_stale__exact": "1"}).content.decode()
    assert "not said at all" in shown
    change = f"{LIST}{row.pk}/change/"
    assert "does not say the quote any more" in page.get(change).content.decode()
    page.post(change, {**given, "quote": f"The text of {refunds.external_id}"})
    row.refresh_from_db()
    assert not row.is_stale
    assert row.source == "written"


def test_stale_ones_can_be_kept_without_their_quotes(page: Client, refunds: Document) -> None:
    row = Judgment.objects.create(
        collection=refunds.collection,
        question="How?",
        document=refunds,
        quote="gone",
        is_stale=True,
    )
    page.post(LIST, {"action": "still_right", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert (row.quote, row.is_stale) == ("", False)
    assert "still_right" in LogEntry.objects.latest("pk").change_message


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_file_is_imported_and_a_question_written(
    tab: Page, live_server: Any, refunds: Document, tmp_path: Path
) -> None:
    file = tmp_path / "set.csv"
    file.write_bytes(CSV)
    tab.goto(f"{live_server.url}/admin/")
    tab.get_by_role("link", name="Golden set").first.click()
    tab.get_by_role("link", name="Import").click()
    tab.get_by_label("File").set_input_files(file)
    tab.get_by_role("button", name="See what it would add").click()
    expect(tab.get_by_text("Nothing is added yet")).to_be_visible()
    tab.get_by_role("button", name="Add 2 questions").click()
    expect(tab.get_by_text("2 questions joined the golden set.")).to_be_visible()
    tab.goto(f"{live_server.url}{LIST}add/")
    tab.get_by_label("Question").fill("When?")
    tab.locator(".select2-selection").first.click()
    tab.locator(".select2-search__field").fill("refunds")
    tab.locator(".select2-results__option", has_text="refunds").first.click()
    tab.locator("[name=_save]").click()
    expect(tab.locator("#result_list")).to_contain_text("When?")
