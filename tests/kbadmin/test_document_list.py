"""The list of documents: how it is narrowed, searched, and acted on by the thousand."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from retrieval.chunks import rescope_chunks
from retrieval.models import Attribute, Chunk, Collection, Document, Revision
from tests.kbadmin.conftest import Add, twin_of

URL = "/admin/retrieval/document/"


def listed(page: Client, query: str = "") -> set[str]:
    response = page.get(f"{URL}?{query}")
    assert response.status_code == 200, query
    return {document.external_id for document in response.context["cl"].result_list}


@pytest.fixture
def other(collection: Collection) -> Collection:
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=collection.embedding_model
    )
    other.open_first_index()
    return other


def put_into_words(document: Document) -> None:
    """What the worker does with the chunks of a document that the fixture left out."""
    chunks = list(document.chunks.select_related("revision"))
    index = document.collection.live_index
    assert index is not None
    rescope_chunks(chunks, {index.chunking: index.scope})


# --- Filters --------------------------------------------------------------------------------


def test_tags_and_languages_come_from_the_front_matter(page: Client, add: Add) -> None:
    for name, key, value in (
        ("a.md", "tags", "linux"),
        ("b.md", "tag", "linux"),
        ("c.md", "tags", "linuxes"),
        ("d.md", "lang", "zh"),
        ("e.md", "language", "zh"),
    ):
        Attribute.objects.create(document=add(name), key=key, string=value)
    assert listed(page, "tag=linux") == {"a.md", "b.md"}
    assert listed(page, "language=zh") == {"d.md", "e.md"}
    assert listed(page, "tag=linux&language=zh") == set()
    html = page.get(URL).content.decode()
    assert '<option value="linuxes">' in html


def test_a_source_is_a_folder_with_what_lies_below_it(page: Client, add: Add) -> None:
    for name, source in (("a.md", "/kb"), ("b.md", "/kb/en"), ("c.md", "/kbs"), ("d.md", "zip:1")):
        Document.objects.filter(pk=add(name).pk).update(source=source)
    add("e.md")
    assert listed(page, "source=/kb") == {"a.md", "b.md"}
    assert listed(page, "source=/kb/") == {"b.md"}
    assert listed(page, "source=zip:1") == {"d.md"}


def test_days_of_change_include_both_ends(page: Client, add: Add) -> None:
    today = timezone.localtime().date()
    for days in range(4):
        changed = timezone.localtime() - timedelta(days=days)
        Document.objects.filter(pk=add(f"{days}.md").pk).update(updated_at=changed)
    day = [today - timedelta(days=days) for days in range(4)]
    assert listed(page, f"changed_from={day[2]}&changed_until={day[1]}") == {"1.md", "2.md"}
    assert listed(page, f"changed_from={day[0]}") == {"0.md"}
    assert listed(page, f"changed_until={day[3]}") == {"3.md"}


@pytest.mark.parametrize(
    "query",
    [
        "changed_from=yesterday",
        "changed_from=2026-13-45",
        "changed_until=9999-12-31",
        "collection=x",
        "state=x",
        "tag=%00",
        "source=%00",
        "q=%00",
    ],
)
def test_what_cannot_be_read_narrows_nothing(page: Client, add: Add, query: str) -> None:
    add("a.md")
    assert listed(page, query) == {"a.md"}


# --- Search ---------------------------------------------------------------------------------


def test_texts_and_names_are_searched(page: Client, add: Add, other: Collection) -> None:
    held = add("a.md", chunks=2)
    Chunk.objects.filter(document=held, order=1).update(
        text="Returned within thirty days, 可以退款"
    )
    put_into_words(held)
    add("thirty-waiting.md", "queued")
    add("thirty-broken.md", "failed", "No text.")
    everything = {"a.md", "thirty-waiting.md", "thirty-broken.md"}
    assert listed(page, "q=thirty") == everything
    assert listed(page, "q=THIRTY+returned") == {"a.md"}
    assert listed(page, "q=退款") == {"a.md"}
    assert listed(page, "q=thirty+passage") == set(), "both words in one passage are wanted"
    assert listed(page, "q=wait") == {"thirty-waiting.md"}, "names are found by parts of words"
    assert listed(page, f"q=thirty&collection={held.collection_id}") == everything
    assert listed(page, f"q=thirty&collection={other.pk}") == set()
    assert listed(page, "q=thirty&state=failed") == {"thirty-broken.md"}


def test_what_is_kept_out_of_search_or_deleted_is_not_found(page: Client, add: Add) -> None:
    hidden, deleted = add("a.md"), add("b.md")
    for document in (hidden, deleted):
        Chunk.objects.filter(document=document).update(text="thirty days")
        put_into_words(document)
    assert listed(page, "q=thirty") == {"a.md", "b.md"}
    deleted.tombstone()
    assert listed(page, "q=thirty") == {"a.md"}
    Chunk.objects.filter(document=hidden).update(enabled=False)
    assert listed(page, "q=thirty") == set()


def test_a_broken_word_index_leaves_the_names(
    page: Client, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def find(self, *args: object) -> None:
            raise DatabaseError("malformed index")

    add("thirty.md")
    monkeypatch.setattr("retrieval.admin.document_search.lexical_index", Broken)
    assert listed(page, "q=thirty") == {"thirty.md"}


# --- Rows -----------------------------------------------------------------------------------


def test_a_row_that_failed_is_retried_where_it_stands(page: Client, add: Add) -> None:
    document = add("scan.pdf", "failed", "Its pages are pictures.")
    html = page.get(f"{URL}?state=failed").content.decode()
    retry = reverse("admin:retrieval_document_retry", args=[document.pk])
    assert f'formaction="{retry}"' in html
    assert (
        '<input type="hidden" name="next" value="/admin/retrieval/document/?state=failed">' in html
    )
    response = page.post(retry, {"next": f"{URL}?state=failed"})
    assert response["Location"] == f"{URL}?state=failed"
    assert document.revisions.get().state == "queued"


def test_who_may_only_look_gets_no_buttons(client: Client, add: Add) -> None:
    document = add("scan.pdf", "failed", "Its pages are pictures.")
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_document"))
    client.force_login(clerk)
    html = client.get(URL).content.decode()
    assert "Its pages are pictures." in html
    assert "formaction" not in html
    for action in ("retry_failed", "reindex", "move_to_collection", "delete_selected"):
        act(client, action, document, post="yes")
    document.refresh_from_db()
    assert (document.deleted_at, document.moving_to, document.revisions.get().state) == (
        None,
        None,
        "failed",
    )


# --- Many at once ---------------------------------------------------------------------------


def act(page: Client, action: str, *documents: Document, query: str = "", **more: object) -> str:
    keys = [document.pk for document in documents]
    data = {"action": action, "_selected_action": keys, **more}
    return page.post(f"{URL}{query}", data, follow=True).content.decode()


def test_reindexing_begins_again_and_keeps_serving(page: Client, add: Add) -> None:
    good, bad = add("a.md"), add("b.md", "failed", "No text.")
    act(page, "reindex", good, bad)
    states = dict(Revision.objects.values_list("document__external_id", "state"))
    assert states == {"a.md": "queued", "b.md": "failed"}
    assert Chunk.objects.live().filter(document=good).exists()


def test_deleting_asks_first(page: Client, add: Add) -> None:
    documents = [add(f"{n}.md") for n in range(3)]
    html = act(page, "delete_selected", *documents[:2])
    assert "2 documents" in html
    assert "1.md" in html
    assert "2.md" not in html
    assert Document.objects.alive().count() == 3


def test_moving_asks_where_to(page: Client, add: Add, other: Collection) -> None:
    document, stays = add("a.md"), add("b.md")
    Document.objects.create(collection=other, external_id=stays.external_id)
    html = act(page, "move_to_collection", document, stays)
    assert f'<option value="{other.pk}">Other</option>' in html
    html = act(page, "move_to_collection", document, stays, post="yes", target=other.pk)
    assert "1 document is moving to Other" in html
    assert "1 document stays" in html
    assert "Moving to Other" in html
    assert listed(page, "state=moving") == {"a.md"}
    document.refresh_from_db()
    assert (document.collection.slug, document.moving_to) == ("docs", other)
    act(page, "cancel_unfinished", document)
    assert listed(page, "state=moving") == set()


@pytest.mark.parametrize("target", ["", "x", "0", "99999999999999999999"])
def test_a_collection_that_is_gone_is_said(page: Client, add: Add, target: str) -> None:
    html = act(page, "move_to_collection", add(), post="yes", target=target)
    assert "That collection is gone." in html


def test_an_archive_takes_what_came_out_of_it_along(
    page: Client, add: Add, other: Collection
) -> None:
    archive = add("docs.zip", "skipped")
    archive.revisions.update(failure_code="unpacked")
    member, stranger = add("docs.zip/a.md"), add("b.md")
    Document.objects.filter(pk=member.pk).update(source=archive.member_source)
    act(page, "move_to_collection", archive, post="yes", target=other.pk)
    moving = set(Document.objects.filter(moving_to=other).values_list("external_id", flat=True))
    assert moving == {"docs.zip", "docs.zip/a.md"}
    act(page, "delete_selected", archive, post="yes")
    assert list(Document.objects.alive()) == [stranger]


def test_a_document_that_was_kept_out_is_indexed_when_its_twin_is_deleted(
    page: Client, add: Add
) -> None:
    first = add()
    copies = [twin_of(first, f"{n}.md") for n in range(3)]
    act(page, "delete_selected", first, copies[0], post="yes")
    states = [copy.revisions.get() for copy in copies[1:]]
    assert (states[0].state, states[0].duplicate_of) == ("queued", None)
    assert states[1].duplicate_of == copies[1]


@pytest.fixture
def thousands(collection: Collection) -> Callable[[int, str], None]:
    def fill(count: int, state: str) -> None:
        first = Document.objects.count()
        documents = Document.objects.bulk_create(
            Document(collection=collection, external_id=f"{n:05}.md", title=f"Page {n}")
            for n in range(first, first + count)
        )
        revisions = Revision.objects.bulk_create(
            Revision(document=d, number=1, filename="x.md", size=1, state=state) for d in documents
        )
        for document, revision in zip(documents, revisions, strict=True):
            document.latest_revision = revision
            document.live_revision = revision if state == "indexed" else None
        Document.objects.bulk_update(
            documents, ["latest_revision", "live_revision"], batch_size=400
        )

    return fill


@pytest.mark.parametrize("action", ["retry_failed", "reindex", "delete_selected", "move"])
def test_all_that_match_are_taken_in_batches(
    page: Client,
    thousands: Callable[[int, str], None],
    other: Collection,
    action: str,
) -> None:
    thousands(1200, "failed" if action == "retry_failed" else "indexed")
    data: dict[str, object] = {"action": action, "_selected_action": [1], "select_across": "1"}
    if action == "move":
        data |= {"action": "move_to_collection", "target": other.pk}
    if action in {"move", "delete_selected"}:
        html = page.post(f"{URL}?q=page", data).content.decode()
        assert "1200 documents" in html
        assert html.count("_selected_action") == 1, "the question carries no keys"
        data["post"] = "yes"
    with CaptureQueriesContext(connection) as queries:
        page.post(f"{URL}?q=page", data)
    changed = {
        "retry_failed": Revision.objects.filter(state="queued"),
        "reindex": Revision.objects.filter(state="queued"),
        "delete_selected": Document.objects.exclude(deleted_at=None),
        "move": Document.objects.filter(moving_to=other),
    }[action]
    assert changed.count() == 1200
    assert len(queries) < 70, "a few for each batch, not for each document"


def test_what_arrives_after_the_question_is_left_alone(
    page: Client, thousands: Callable[[int, str], None]
) -> None:
    thousands(3, "indexed")
    data: dict[str, object] = {
        "action": "delete_selected",
        "_selected_action": [1],
        "select_across": "1",
    }
    response = page.post(URL, data)
    data |= {"post": "yes", "until": response.context["until"]}
    thousands(1, "indexed")
    page.post(URL, data)
    assert [d.external_id for d in Document.objects.alive()] == ["00003.md"]


# --- What it costs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["", "q=page", "state=failed", "tag=linux&language=zh&source=/kb", "q=page&p=2"]
)
def test_the_list_costs_the_same_with_many_documents(
    page: Client, thousands: Callable[[int, str], None], query: str
) -> None:
    thousands(60, "failed")
    page.get(f"{URL}?{query}")
    with CaptureQueriesContext(connection) as few:
        page.get(f"{URL}?{query}")
    thousands(300, "failed")
    with CaptureQueriesContext(connection) as many:
        page.get(f"{URL}?{query}")
    assert len(many) == len(few) < 25
