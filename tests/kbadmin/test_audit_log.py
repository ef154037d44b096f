"""The audit log: what people did is written down, told in words, and found without scanning."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from retrieval.admin.audit import Deed, sentence
from retrieval.models import ApiKey, Chunk, Collection, Document, Feedback
from tests.kbadmin.conftest import Add

LOG = "/admin/admin/logentry/"


def last() -> LogEntry:
    return LogEntry.objects.order_by("pk")[LogEntry.objects.count() - 1]


def told() -> tuple[str, str]:
    """The newest entry: what it is about, and its sentence."""
    entry = last()
    return entry.object_repr, sentence(entry)


def press(page: Client, name: str, *args: Any, **data: Any) -> None:
    page.post(reverse(f"admin:{name}", args=args), data)


# --- What is written ------------------------------------------------------------------------


def test_what_is_done_with_one_document_is_in_its_history(page: Client, add: Add) -> None:
    document = add("scan.pdf", "failed", "No text.")
    press(page, "retrieval_document_retry", document.pk)
    assert told() == ("scan.pdf", "Queued again")
    press(page, "retrieval_document_cancel", document.pk)
    assert told() == ("scan.pdf", "Cancelled")
    history = page.get(reverse("admin:retrieval_document_history", args=[document.pk]))
    html = history.content.decode()
    assert "Queued again" in html
    assert "Cancelled" in html


def test_what_changes_nothing_is_not_written(page: Client, add: Add) -> None:
    document = add("fine.md")
    press(page, "retrieval_document_retry", document.pk)
    assert not LogEntry.objects.exists()


def test_a_bulk_action_is_one_entry_that_names_what_it_changed(page: Client, add: Add) -> None:
    keys = [add(f"{n}.pdf", "failed", "No text.").pk for n in range(3)] + [add("fine.md").pk]
    press(
        page,
        "retrieval_document_changelist",
        action="retry_failed",
        _selected_action=keys,
    )
    about, text = told()
    assert sorted(about.split(", ")) == ["0.pdf", "1.pdf", "2.pdf"]
    assert text == "Queued again, 3 rows"
    assert LogEntry.objects.count() == 1


def test_retrying_everything_is_one_entry(page: Client, add: Add) -> None:
    for n in range(30):
        add(f"{n}.pdf", "failed", "No text.")
    press(page, "retrieval_document_retry_all")
    assert told()[1] == "Queued again, 30 rows"


def test_uploads_and_restored_versions_are_written(page: Client, collection: Collection) -> None:
    file = SimpleUploadedFile("a.md", b"# a")
    page.post("/admin/upload/", {"collection": collection.pk, "files": file, "paths": "a.md"})
    entry = last()
    assert (entry.object_repr, entry.is_addition()) == ("a.md", True)
    assert "#1" in sentence(entry)


def test_what_is_done_with_an_index_is_written(page: Client, collection: Collection) -> None:
    press(page, "retrieval_collection_reconcile", collection.pk)
    assert told() == ("Handbook", "Had Chroma compared with the database")
    model = collection.embedding_model
    settings = {
        "reindex-embedding_model": model.pk,
        "reindex-space": "cosine",
        "reindex-chunk_size": 120,
        "reindex-chunk_overlap": 0,
        "reindex-ef_construction": 200,
        "reindex-ef_search": 100,
        "reindex-max_neighbors": 16,
    }
    press(page, "retrieval_collection_reindex", collection.pk, **settings)
    assert told() == ("Handbook", "Started a reindex")
    count = LogEntry.objects.count()
    press(page, "retrieval_collection_rollback", collection.pk)  # refused: nothing is written
    assert LogEntry.objects.count() == count


def test_deleting_is_written(page: Client, add: Add) -> None:
    document = add("old.md")
    press(page, "retrieval_document_delete", document.pk, post="yes")
    entry = last()
    assert (entry.object_repr, entry.is_deletion(), sentence(entry)) == ("old.md", True, "Deleted.")
    assert "old.md" in page.get(LOG).content.decode()


def test_a_key_is_issued_and_revoked_on_the_record(page: Client) -> None:
    page.post(reverse("admin:retrieval_apikey_add"), {"name": "NextChat"})
    row = ApiKey.objects.get()
    entry = last()
    assert (entry.object_id, sentence(entry)) == (str(row.pk), "Added.")
    press(page, "retrieval_apikey_revoke", row.pk)
    assert last().object_id == str(row.pk)
    assert told()[1] == "Revoked"
    assert row.key_hash not in "".join(LogEntry.objects.values_list("change_message", flat=True))


def test_saved_settings_are_written(page: Client, collection: Collection) -> None:
    page.post(
        "/admin/playground/?q=x",
        {"collection": "docs", "save": "1", "a-top_k": "7"},
    )
    assert told() == ("Handbook", "Saved settings from the playground")


def test_chunks_and_feedback_are_written(page: Client, add: Add, collection: Collection) -> None:
    add(chunks=2)
    keys = list(Chunk.objects.values_list("pk", flat=True))
    press(page, "retrieval_chunk_changelist", action="disable", _selected_action=keys)
    assert told()[1] == "Kept out of search, 2 rows"
    row = Feedback.objects.create(collection=collection, question="why?", channel="api")
    press(page, "retrieval_feedback_changelist", action="reject", _selected_action=[row.pk])
    assert told() == ("why?", "Rejected")


def test_every_deed_is_told_in_the_reader_s_language(boss: User) -> None:
    entry = LogEntry(change_message='[{"did": {"deed": "retry", "count": 3}}]', action_flag=CHANGE)
    assert sentence(entry) == "Queued again, 3 rows"
    for deed in Deed:
        entry.change_message = f'[{{"did": {{"deed": "{deed.value}"}}}}]'
        assert sentence(entry) == str(deed.label)
    with translation.override("zh-hans"):
        entry.change_message = '[{"did": {"deed": "revoke"}}]'
        assert sentence(entry) == str(Deed.REVOKE.label)


@pytest.mark.parametrize("message", ["", "free text", "[]", '{"did": 1}', '[{"did": 2}]'])
def test_entries_of_others_do_no_harm(message: str) -> None:
    assert sentence(LogEntry(change_message=message, action_flag=CHANGE))


# --- The page -------------------------------------------------------------------------------


@pytest.fixture
def entries(boss: User, add: Add) -> list[LogEntry]:
    """An old one by somebody else and a new one, about the same document."""
    document = add("refunds.md")
    other = User.objects.create_user("other")
    kind = ContentType.objects.get_for_model(Document)
    made = [
        LogEntry.objects.create(
            user=user,
            content_type=kind,
            object_id=str(document.pk),
            object_repr="refunds.md",
            action_flag=flag,
            change_message="",
        )
        for user, flag in ((other, 1), (boss, 3))
    ]
    LogEntry.objects.filter(pk=made[0].pk).update(action_time=timezone.now() - timedelta(days=20))
    return made


def listed(page: Client, **query: Any) -> list[int]:
    response = page.get(LOG, query)
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


def test_the_newest_comes_first(page: Client, entries: list[LogEntry]) -> None:
    assert listed(page) == [entries[1].pk, entries[0].pk]


def test_it_is_filtered_by_who_what_and_when(page: Client, entries: list[LogEntry]) -> None:
    old, new = (entry.pk for entry in entries)
    assert listed(page, user=entries[0].user_id) == [old]
    assert listed(page, kind=3) == [new]
    assert listed(page, model=entries[0].content_type_id) == [new, old]
    assert listed(page, days=7) == [new]
    assert listed(page, days=30) == [new, old]
    LogEntry.objects.filter(pk=new).delete()
    assert listed(page, days=7) == []


def test_an_entry_leads_to_what_it_is_about(page: Client, entries: list[LogEntry]) -> None:
    url = reverse("admin:retrieval_document_change", args=[entries[0].object_id])
    # Not the entry that tells of its deletion.
    assert page.get(LOG).content.decode().count(f'href="{url}"') == 1


def test_nobody_changes_it(page: Client, entries: list[LogEntry]) -> None:
    pk = entries[0].pk
    assert page.get(f"{LOG}add/").status_code == 403
    assert page.post(f"{LOG}{pk}/change/", {"object_repr": "x"}).status_code == 403
    assert page.post(f"{LOG}{pk}/delete/", {"post": "yes"}).status_code == 403
    page.post(LOG, {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})
    assert LogEntry.objects.filter(pk=pk, object_repr="refunds.md").exists()


def test_only_those_who_may_look_may_look(client: Client, entries: list[LogEntry]) -> None:
    user = User.objects.create_user("guest", password="x", is_staff=True)
    client.force_login(user)
    assert client.get(LOG).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_logentry"))
    assert client.get(LOG).status_code == 200


def test_many_entries_cost_what_few_do(page: Client, boss: User, entries: list[LogEntry]) -> None:
    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            page.get(LOG, {"days": "30", "user": str(boss.pk)})
        return [query["sql"] for query in captured]

    queries()
    few = queries()
    LogEntry.objects.bulk_create(
        LogEntry(
            user=User.objects.create(username=f"u{n}") if n < 30 else boss,
            content_type=entries[0].content_type,
            object_id=str(n),
            object_repr="x",
            action_flag=CHANGE,
        )
        for n in range(200)
    )
    many = queries()
    assert len(many) == len(few)
    of_entries = [sql for sql in many if '"django_admin_log"' in sql]
    assert of_entries
    assert all("LIMIT" in sql for sql in of_entries)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="asks SQLite for its plan")
@pytest.mark.parametrize(
    "query", [{}, {"kind": "3"}, {"user": "1"}, {"days": "7"}, {"user": "1", "kind": "3"}]
)
def test_no_list_sorts_the_whole_log(
    page: Client, entries: list[LogEntry], query: dict[str, str]
) -> None:
    with CaptureQueriesContext(connection) as captured:
        page.get(LOG, query)
    for sql in (q["sql"] for q in captured if 'FROM "django_admin_log"' in q["sql"]):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = " ".join(str(row[-1]) for row in cursor.fetchall())
        assert "TEMP B-TREE" not in plan, plan


def test_the_history_of_one_object_is_looked_up(entries: list[LogEntry]) -> None:
    rows = LogEntry.objects.filter(
        content_type=entries[0].content_type, object_id=entries[0].object_id
    )
    assert "audit_by_object" in rows.order_by("-pk").explain() or connection.vendor != "sqlite"
