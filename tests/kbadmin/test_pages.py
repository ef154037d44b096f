"""Every page renders, for those who may see it, in a number of queries that stays the same."""

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from retrieval.models import (
    ApiKey,
    Collection,
    Document,
    EmbeddingModel,
    Feedback,
    Index,
    Search,
    Worker,
)
from tests.kbadmin.conftest import Add

LISTS = [
    f"admin:{name}_changelist"
    for name in (
        "retrieval_collection",
        "retrieval_document",
        "retrieval_chunk",
        "retrieval_search",
        "retrieval_feedback",
        "retrieval_apikey",
        "retrieval_worker",
        "retrieval_embeddingmodel",
        "retrieval_index",
        "auth_user",
        "auth_group",
    )
]
FORMS = [
    "admin:retrieval_collection_add",
    "admin:retrieval_apikey_add",
    "admin:auth_user_add",
    "admin:auth_group_add",
]
OWN = ["admin:index", "admin:upload"]


def fill(add: Add, collection: Collection, count: int) -> None:
    start = Search.objects.count()
    for number in range(start, start + count):
        document = add(f"{number}.md", chunks=1)
        other = Collection.objects.create(
            slug=f"c{number}", title="x", embedding_model=collection.embedding_model
        )
        other.open_first_index()
        search = Search.objects.create(
            collection=collection,
            query="q",
            channel="api",
            top_k=4,
            confidence="high",
            results=[{"document_id": document.pk, "rank": 0, "score": 0.5}],
        )
        Feedback.objects.create(
            collection=collection, search=search, question="q", channel="api", rating=1
        )
        ApiKey.issue(f"key {number}")
        Worker.objects.create(name=f"w{number}", host="h", pid=1)
        EmbeddingModel.objects.create(
            name="m", revision=str(number), runtime="onnx", dimension=3, max_tokens=9
        )
        User.objects.create(username=f"u{number}")
        add(f"{number}-failed.md", "failed", "No text.")


@pytest.mark.parametrize("name", LISTS + FORMS + OWN)
def test_it_renders_for_an_administrator(page: Client, add: Add, name: str) -> None:
    add()
    assert page.get(reverse(name)).status_code == 200


@pytest.mark.parametrize("name", LISTS + FORMS + OWN)
def test_it_asks_strangers_to_log_in(client: Client, db: None, name: str) -> None:
    response = client.get(reverse(name))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("name", LISTS + OWN)
def test_the_number_of_queries_does_not_grow_with_the_rows(
    page: Client, add: Add, collection: Collection, name: str
) -> None:
    fill(add, collection, 1)
    page.get(reverse(name))  # fills caches, such as content types
    with CaptureQueriesContext(
        connection,
    ) as few:
        page.get(reverse(name))
    fill(add, collection, 59)
    with CaptureQueriesContext(connection) as many:
        page.get(reverse(name))
    assert len(many) == len(few)


def test_the_page_of_every_kind_of_row_renders(
    page: Client, add: Add, collection: Collection
) -> None:
    fill(add, collection, 1)
    for model in (Search, Feedback, ApiKey, Worker, EmbeddingModel, Collection, Document, Index):
        for row in model.objects.all():
            url = reverse(f"admin:retrieval_{model._meta.model_name}_change", args=[row.pk])
            assert page.get(url).status_code == 200, url


def test_a_document_s_page_costs_the_same_with_many_chunks_and_versions(
    page: Client, add: Add
) -> None:
    small, large = add("small.md"), add("large.md", chunks=60)
    counts = []
    for document in (small, small, large):
        with CaptureQueriesContext(connection) as queries:
            page.get(reverse("admin:retrieval_document_change", args=[document.pk]))
        counts.append(len(queries))
    assert counts[1] == counts[2]


def test_a_list_never_reads_the_text_of_documents(page: Client, add: Add) -> None:
    add()
    for name in ("admin:index", "admin:retrieval_document_changelist"):
        with CaptureQueriesContext(connection) as queries:
            page.get(reverse(name))
        assert not [q["sql"] for q in queries if '"retrieval_revision"."text"' in q["sql"]]


@pytest.mark.parametrize("path", ["/", "/admin"])
def test_the_two_short_addresses_lead_to_the_admin(client: Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response["Location"]) == (302, "/admin/")


@pytest.mark.parametrize("path", ["/admin/upload", "/admin/retrieval/document", "/nothing"])
def test_no_other_address_is_completed_with_a_slash(page: Client, path: str) -> None:
    assert page.get(path).status_code == 404


def test_the_sidebar_offers_only_what_may_be_opened(client: Client, add: Add) -> None:
    add()
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_document"))
    client.force_login(clerk)
    html = client.get(reverse("admin:index")).content.decode()
    assert reverse("admin:retrieval_document_changelist") in html
    assert reverse("admin:upload") not in html
    assert reverse("admin:retrieval_apikey_changelist") not in html


def test_somebody_without_permissions_learns_whom_to_ask(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("guest", password="x", is_staff=True))
    assert "Ask an administrator" in client.get(reverse("admin:index")).content.decode()


def test_the_first_page_leads_a_newcomer_to_a_collection(
    page: Client, model: EmbeddingModel
) -> None:
    html = page.get(reverse("admin:index")).content.decode()
    assert "Make a collection" in html
    assert reverse("admin:retrieval_collection_add") in html


def test_the_first_page_shows_what_failed_and_why(page: Client, add: Add) -> None:
    document = add("scan.pdf", "failed", "No text could be read from it.")
    html = page.get(reverse("admin:index")).content.decode()
    assert "No text could be read from it." in html
    assert reverse("admin:retrieval_document_retry", args=[document.pk]) in html


def test_pages_come_in_chinese(page: Client, add: Add) -> None:
    add()
    html = page.get(reverse("admin:index"), headers={"Accept-Language": "zh-CN"}).content.decode()
    assert "可检索文档" in html
