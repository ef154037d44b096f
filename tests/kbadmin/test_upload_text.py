"""Pasted texts and lists of addresses on the upload page."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from kbadmin.pages import incoming
from kbadmin.pages.batch import Item
from kbadmin.pages.batch_report import report
from retrieval.models import Collection, Document, Revision
from tests.kbadmin.conftest import Add
from tests.kbadmin.test_upload import URL, files

GUIDE = "https://example.com/guide"


def post(page: Client, collection: Collection, **data: Any) -> Any:
    return page.post(URL, {"collection": collection.pk, **data})


def original(name: str) -> bytes:
    revision = Document.objects.get(external_id=name).latest_revision
    assert revision is not None
    data: bytes = revision.original.read()
    return data


def test_a_pasted_text_becomes_a_document(page: Client, collection: Collection) -> None:
    where = post(page, collection, title="Refunds", text="Within 14 days.\r\nNo fee.")["Location"]
    assert original("Refunds.md") == b"# Refunds\n\nWithin 14 days.\nNo fee.\n"
    assert "Refunds.md" in page.get(where).content.decode()


@pytest.mark.parametrize(
    ("title", "text", "name", "start"),
    [
        ("", "# Refunds\n\nIn 14 days.", "Refunds.md", "# Refunds\n"),
        ("", "First line.\nSecond.", "First line..md", "First line.\n"),
        ("Log.txt", "a # b", "Log.txt", "a # b\n"),
        ("a/../b", "text", "a-..-b.md", "# a/../b\n"),
        ("T", "---\ntags: [a]\n---\ntext", "T.md", "---\n"),
        ("手册", "内容", "手册.md", "# 手册\n"),
        ("", "***", "Pasted text.md", "***"),
    ],
)
def test_a_text_is_named_by_its_title(title: str, text: str, name: str, start: str) -> None:
    found, data = incoming.text_file(title, text)
    assert found == name
    assert data.decode().startswith(start)


def test_the_same_text_again_is_unchanged(page: Client, collection: Collection) -> None:
    post(page, collection, title="Refunds", text="Within 14 days.")
    Revision.objects.update(state="indexed")
    where = post(page, collection, title="Refunds", text="Within 14 days.")["Location"]
    assert "1 unchanged." in page.get(where).content.decode()


def test_a_text_that_is_too_long_is_refused(page: Client, collection: Collection) -> None:
    response = post(page, collection, text="a" * (incoming.TEXT_LENGTH + 1))
    assert response.status_code == 400
    assert "Text: Ensure this value has at most 500000 characters" in response.content.decode()
    assert not Document.objects.exists()


def test_addresses_become_rows_at_once(page: Client, collection: Collection) -> None:
    lines = f"# our guide\n{GUIDE}\n\n  <HTTPS://Example.com/b#top> \nnonsense\n{GUIDE}\n"
    where = post(page, collection, addresses=lines)["Location"]
    rows = dict(Document.objects.values_list("external_id", "latest_revision__state"))
    assert rows == {GUIDE: "queued", "https://example.com/b": "queued"}
    html = page.get(where).content.decode()
    assert "Only addresses that begin with http:// or https:// are fetched." in html
    assert "1 of 3 files are done." in html


def test_addresses_come_from_a_file(page: Client, collection: Collection) -> None:
    listed = SimpleUploadedFile("list.txt", f"\ufeff{GUIDE}\r\n".encode())
    post(page, collection, addresses="https://example.com/b", address_file=listed)
    assert set(Document.objects.values_list("url", flat=True)) == {GUIDE, "https://example.com/b"}


def test_a_list_that_is_too_long_takes_nothing(page: Client, collection: Collection) -> None:
    lines = "\n".join(f"https://example.com/{n}" for n in range(incoming.MAX_ADDRESSES + 1))
    response = post(page, collection, addresses=lines, files=files("a.md"))
    assert response.status_code == 400
    assert "at most 500 are taken at once" in response.content.decode()
    assert not Document.objects.exists()


def test_a_list_that_is_no_text_takes_nothing(page: Client, collection: Collection) -> None:
    listed = SimpleUploadedFile("list.txt", b"\0\1\2")
    response = post(page, collection, address_file=listed, files=files("a.md"))
    assert response.status_code == 400
    assert not Document.objects.exists()


def test_files_texts_and_addresses_come_together(page: Client, collection: Collection) -> None:
    where = post(page, collection, files=files("a.md"), text="A text", addresses=GUIDE)["Location"]
    Revision.objects.update(state="indexed")
    assert "3 added." in page.get(where).content.decode()


def test_how_an_address_ended_is_told(page: Client, collection: Collection, add: Add) -> None:
    """What became of a page is known when the worker has fetched it."""
    same = add("https://example.com/same")
    twin = add("https://example.com/twin")
    Revision.objects.filter(document=twin).update(state="skipped", failure_code="duplicate")
    gone = Item("https://example.com/same", "updated", 999_999, document=same.pk)
    revision = twin.latest_revision_id or 0
    items = [gone, Item("https://example.com/twin", "added", revision, document=twin.pk)]
    found = report(items)
    assert found.sentence == "1 unchanged, 1 left out as duplicate."
    assert found.rows[0].document == same.pk
    same.tombstone()
    assert report([gone]).rows[0].state == "gone"


def test_what_is_fetched_is_told(page: Client, collection: Collection) -> None:
    where = post(page, collection, addresses=GUIDE)["Location"]
    Revision.objects.update(state="fetching")
    html = page.get(where).content.decode()
    assert "kb-is-fetching" in html
    assert 'value="5"' in html


def test_many_addresses_are_watched_in_few_queries(
    page: Client, collection: Collection, django_assert_max_num_queries: Any
) -> None:
    lines = "\n".join(f"https://example.com/{n}" for n in range(60))
    where = post(page, collection, addresses=lines)["Location"]
    Revision.objects.filter(pk__lt=30).delete()
    with django_assert_max_num_queries(8):
        page.get(where.replace("/upload/", "/upload/progress/"))
