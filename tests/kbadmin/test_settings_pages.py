"""Collections, keys and feedback: what may be changed, and what happens then."""

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from retrieval.models import ApiKey, Collection, Document, EmbeddingModel, Feedback
from tests.kbadmin.conftest import Add


def test_a_new_collection_has_an_index_at_once(page: Client, model: EmbeddingModel) -> None:
    add = reverse("admin:retrieval_collection_add")
    form = page.get(add).context["adminform"].form
    assert form["embedding_model"].value() == model.pk
    response = page.post(
        add,
        {
            "title": "Handbook",
            "slug": "handbook",
            "embedding_model": model.pk,
            "space": "cosine",
            "chunk_size": 256,
            "chunk_overlap": 0,
            "default_top_k": 4,
            "retrieval_settings": "{}",
        },
    )
    assert response.status_code == 302
    index = Collection.objects.get().live_index
    assert index is not None
    assert index.state == "live"


def test_what_the_vectors_depend_on_stays(page: Client, collection: Collection) -> None:
    url = reverse("admin:retrieval_collection_change", args=[collection.pk])
    assert "Start reindex" in page.get(url).content.decode()
    page.post(
        url,
        {
            "title": "New",
            "chunk_size": 99,
            "space": "l2",
            "slug": "new",
            "default_top_k": 7,
            "retrieval_settings": "{}",
        },
    )
    collection.refresh_from_db()
    assert (collection.title, collection.default_top_k) == ("New", 7)
    assert (collection.chunk_size, collection.space, collection.slug) == (256, "cosine", "docs")


def test_a_deleted_collection_takes_its_documents_out_of_sight(page: Client, add: Add) -> None:
    document = add()
    collection = document.collection
    address = reverse("admin:retrieval_collection_delete", args=[collection.pk])
    page.post(address, {"post": "yes", "typed": collection.title})
    collection.refresh_from_db()
    assert collection.deleted_at is not None
    assert Document.objects.filter(pk=document.pk).exists()
    for name in ("collection", "document", "chunk"):
        response = page.get(reverse(f"admin:retrieval_{name}_changelist"))
        assert not response.context["cl"].result_list


def test_the_count_of_documents_leaves_the_deleted_out(page: Client, add: Add) -> None:
    add("a.md")
    add("b.md").tombstone()
    response = page.get(reverse("admin:retrieval_collection_changelist"))
    assert [row.documents_total for row in response.context["cl"].result_list] == [1]


def test_a_new_key_is_shown_once(page: Client) -> None:
    response = page.post(reverse("admin:retrieval_apikey_add"), {"name": "NextChat"})
    key = response.context["key"]
    row = ApiKey.objects.get()
    assert ApiKey.objects.authenticate(key) == row
    assert key in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    for url in (
        reverse("admin:retrieval_apikey_changelist"),
        reverse("admin:retrieval_apikey_change", args=[row.pk]),
    ):
        assert key not in page.get(url).content.decode()


def test_renaming_a_key_keeps_it(page: Client) -> None:
    row, key = ApiKey.issue("old")
    page.post(reverse("admin:retrieval_apikey_change", args=[row.pk]), {"name": "new"})
    assert ApiKey.objects.authenticate(key) == row
    row.refresh_from_db()
    assert row.name == "new"


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(page: Client) -> None:
    row, key = ApiKey.issue("laptop")
    url = reverse("admin:retrieval_apikey_changelist")
    page.post(url, {"action": "revoke", "_selected_action": [row.pk]})
    assert ApiKey.objects.authenticate(key) is None
    assert "laptop" in page.get(url).content.decode()


def test_a_reviewer_rejects_and_reopens_feedback(
    page: Client, boss: User, collection: Collection
) -> None:
    row = Feedback.objects.create(collection=collection, question="q", channel="api")
    url = reverse("admin:retrieval_feedback_changelist")
    page.post(url, {"action": "reject", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert (row.state, row.reviewer) == ("rejected", boss)
    page.post(url, {"action": "reopen", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert (row.state, row.reviewer, row.closed_at) == ("pending", None, None)


def test_nothing_that_the_system_writes_is_made_by_hand(page: Client) -> None:
    for name in ("document", "chunk", "search", "feedback", "worker", "index", "embeddingmodel"):
        assert page.get(reverse(f"admin:retrieval_{name}_add")).status_code == 403


def test_after_logging_in_the_admin_opens(client: Client, boss: User) -> None:
    response = client.post(
        reverse("admin:login"), {"username": "boss", "password": "a long password"}
    )
    assert response["Location"] == reverse("admin:index")
