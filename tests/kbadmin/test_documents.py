import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from retrieval.models import Chunk, Document, Revision
from tests.kbadmin.conftest import Add

LIST = "admin:retrieval_document_changelist"


def words_in(html: str) -> str:
    """What a page says, without the numbers that passages begin with."""
    return strip_tags(re.sub(r'<a class="kb-chunk-number.*?</a>', "", html))


def test_the_list_shows_state_and_reason(page: Client, add: Add) -> None:
    add("scan.pdf", "failed", "Its pages are pictures.")
    html = page.get(reverse(LIST)).content.decode()
    assert "kb-is-failed" in html
    assert "Its pages are pictures." in html


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=failed", {"bad.md"}),
        ("state=working", {"new.md"}),
        ("state=indexed", {"good.md"}),
        ("state=searchable", {"good.md"}),
        ("q=good", {"good.md"}),
        ("collection=x", {"bad.md", "new.md", "good.md"}),
        ("origin=api", set()),
    ],
)
def test_the_list_is_narrowed(page: Client, add: Add, query: str, expected: set[str]) -> None:
    add("bad.md", "failed", "No text.")
    add("new.md", "embedding")
    add("good.md")
    response = page.get(f"{reverse(LIST)}?{query}")
    assert {str(document) for document in response.context["cl"].result_list} == expected


def test_deleting_hides_the_document_and_keeps_its_row(page: Client, add: Add) -> None:
    document = add()
    page.post(reverse("admin:retrieval_document_delete", args=[document.pk]), {"post": "yes"})
    document.refresh_from_db()
    assert document.deleted_at is not None
    assert not Chunk.objects.live().exists()
    assert "refunds.md" not in page.get(reverse(LIST)).context["cl"].result_list
    change = reverse("admin:retrieval_document_change", args=[document.pk])
    assert page.get(change).status_code == 302


def test_many_are_deleted_at_once(page: Client, add: Add) -> None:
    chosen = [add(f"{n}.md").pk for n in range(3)]
    add("kept.md")
    data = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    page.post(reverse(LIST), data)
    assert [d.external_id for d in Document.objects.alive()] == ["kept.md"]


def test_the_question_before_deleting_does_not_load_the_chunks(
    page: Client, add: Add, django_assert_max_num_queries
) -> None:
    document = add(chunks=50)
    url = reverse("admin:retrieval_document_delete", args=[document.pk])
    with django_assert_max_num_queries(12):
        html = page.get(url).content.decode()
    assert "passage" not in html


def test_retry_queues_only_what_failed(page: Client, add: Add) -> None:
    failed, good = add("bad.md", "failed", "No text."), add("good.md")
    data = {"action": "retry_failed", "_selected_action": [failed.pk, good.pk]}
    page.post(reverse(LIST), data)
    states = dict(Revision.objects.values_list("document__external_id", "state"))
    assert states == {"bad.md": "queued", "good.md": "indexed"}


def test_the_retry_button_leads_back(page: Client, add: Add) -> None:
    document = add("bad.md", "failed", "No text.")
    url = reverse("admin:retrieval_document_retry", args=[document.pk])
    response = page.post(url, {"next": "/admin/upload/?batch=x"})
    assert response["Location"] == "/admin/upload/?batch=x"
    assert document.revisions.get().state == Revision.State.QUEUED


def test_the_retry_button_leads_to_no_stranger(page: Client, add: Add) -> None:
    url = reverse("admin:retrieval_document_retry", args=[add().pk])
    response = page.post(url, {"next": "https://elsewhere.example/"})
    assert response["Location"].startswith("/admin/")


def test_retry_is_nothing_for_a_get(page: Client, add: Add) -> None:
    url = reverse("admin:retrieval_document_retry", args=[add().pk])
    assert page.get(url).status_code == 405


def test_the_page_shows_text_metadata_and_the_way_to_its_chunks(page: Client, add: Add) -> None:
    document = add(chunks=3)
    html = page.get(reverse("admin:retrieval_document_change", args=[document.pk])).content.decode()
    assert "The text of refunds.md." in words_in(html)
    assert "a, b" in html
    link = re.search(r'href="(/admin/retrieval/chunk/[^"]+)"', html)
    assert link is not None
    assert page.get(link[1]).context["cl"].result_count == 3


def test_text_is_shown_as_text(page: Client, add: Add) -> None:
    document = add()
    document.revisions.update(text="<script>alert(1)</script>")
    html = page.get(reverse("admin:retrieval_document_change", args=[document.pk])).content.decode()
    assert "<script>alert(1)" not in html


def test_the_original_comes_as_a_download(page: Client, add: Add) -> None:
    document = add("page.html")
    response = page.get(reverse("admin:retrieval_document_original", args=[document.pk, 1]))
    assert b"".join(response.streaming_content) == b"# page.html"  # type: ignore[attr-defined]
    assert response["Content-Disposition"] == 'attachment; filename="page.html"'
    assert response["Content-Type"] == "application/octet-stream"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_the_original_needs_permission(client: Client, add: Add) -> None:
    url = reverse("admin:retrieval_document_original", args=[add().pk, 1])
    assert client.get(url).status_code == 302
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    client.force_login(clerk)
    assert client.get(url).status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename="view_document"))
    assert client.get(url).status_code == 200


def test_the_original_of_a_deleted_document_is_gone(page: Client, add: Add) -> None:
    document = add()
    document.tombstone()
    url = reverse("admin:retrieval_document_original", args=[document.pk, 1])
    assert page.get(url).status_code == 404


def test_a_chunk_can_be_kept_out_of_search(page: Client, add: Add) -> None:
    chunk = add().chunks.get()
    url = reverse("admin:retrieval_chunk_changelist")
    page.post(url, {"action": "disable", "_selected_action": [chunk.pk]})
    assert not Chunk.objects.live().exists()
    page.post(url, {"action": "enable", "_selected_action": [chunk.pk]})
    assert Chunk.objects.live().exists()


def test_the_text_of_a_chunk_cannot_be_changed(page: Client, add: Add) -> None:
    chunk = add().chunks.get()
    url = reverse("admin:retrieval_chunk_change", args=[chunk.pk])
    page.post(url, {"text": "changed", "enabled": ""})
    chunk.refresh_from_db()
    assert (chunk.text, chunk.enabled) == ("passage 0 of refunds.md", False)
