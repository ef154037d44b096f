"""Tables, duplicates and archives on the upload page."""

from django.test import Client
from django.urls import reverse

from retrieval.models import Collection, Document, Revision
from tests.kbadmin.conftest import Add
from tests.kbadmin.test_upload import URL, files, send


def test_columns_are_mapped_for_tables_only(page: Client, collection: Collection) -> None:
    columns = {"question_column": "Frage", "answer_column": "Antwort"}
    send(page, collection, "faq.csv", "docs.zip", "notes.md", **columns)
    options = dict(Revision.objects.values_list("filename", "options"))
    mapped = {"columns": {"question": "Frage", "answer": "Antwort"}}
    assert options == {"faq.csv": mapped, "docs.zip": mapped, "notes.md": {}}


def test_half_a_mapping_is_refused(page: Client, collection: Collection) -> None:
    data = {"collection": collection.pk, "files": files("faq.csv"), "question_column": "Frage"}
    response = page.post(URL, data)
    assert response.status_code == 400
    assert "Name both columns, or neither." in response.content.decode()
    assert not Document.objects.exists()


def test_it_names_every_format_that_can_be_read(page: Client, collection: Collection) -> None:
    html = page.get(URL).content.decode()
    for name in ("Markdown", "PDF", "Word (.docx)", "JSONL", "ZIP archives of these"):
        assert name in html
    assert ".pdf" in html.partition('accept="')[2].partition('"')[0].split(",")


def test_a_duplicate_can_be_kept_from_here(page: Client, collection: Collection) -> None:
    data = {"collection": collection.pk, "files": files("a.md", "b.md", content="same")}
    where = page.post(URL, data)["Location"]
    copy = Document.objects.get(external_id="b.md")
    keep = reverse("admin:retrieval_document_keep", args=[copy.pk])
    assert keep in page.get(where).content.decode()
    assert page.post(keep, {"next": where})["Location"] == where
    Revision.objects.update(state="indexed")
    html = page.get(where).content.decode()
    assert keep not in html
    assert "2 added." in html


def test_an_archive_is_done_when_its_documents_are(
    page: Client, collection: Collection, add: Add
) -> None:
    where = send(page, collection, "docs.zip")
    archive = Document.objects.get(external_id="docs.zip")
    archive.revisions.update(state="skipped", failure_code="unpacked", failure_message="x")
    for name, state in (("a.md", "indexed"), ("b.md", "embedding"), ("c.md", "failed")):
        Document.objects.filter(pk=add(name, state).pk).update(source=archive.member_source)
    html = page.get(where).content.decode()
    assert "3 documents" in html
    assert "1 in progress" in html
    assert "1 failed" in html
    assert "every 1s" in html
    Revision.objects.filter(state="embedding").update(state="indexed")
    html = page.get(where).content.decode()
    assert "1 added, 3 documents taken out of archives." in html
    assert "every 1s" not in html


def test_who_brought_a_version_is_remembered(page: Client, collection: Collection) -> None:
    send(page, collection, "a.md")
    document = Document.objects.get()
    response = page.get(reverse("admin:retrieval_document_change", args=[document.pk]))
    assert [version.author for version in response.context["versions"]] == ["boss"]
