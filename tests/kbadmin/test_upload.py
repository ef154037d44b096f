import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from kbadmin.pages.batch import Item
from kbadmin.pages.batch_report import report
from kbadmin.pages.incoming import clean_path
from retrieval.models import Collection, Document, EmbeddingModel, Revision, Worker
from tests.kbadmin.conftest import Add

URL = "/admin/upload/"


def files(*names: str, content: str = "text of {}") -> list[SimpleUploadedFile]:
    return [SimpleUploadedFile(name, content.format(name).encode()) for name in names]


def send(page: Client, collection: Collection, *names: str, **extra: Any) -> str:
    """Uploads files as a browser without scripts does; returns where it is sent to."""
    data = {"collection": collection.pk, "files": files(*names), **extra}
    response = page.post(URL, data)
    assert response.status_code == 302
    return str(response["Location"])


def test_several_files_become_documents(page: Client, collection: Collection) -> None:
    where = send(page, collection, "a.md", "b.md", "c.md")
    assert {d.external_id for d in Document.objects.all()} == {"a.md", "b.md", "c.md"}
    html = page.get(where).content.decode()
    assert html.count("kb-is-queued") == 3
    assert "0 of 3 files are done." in html


def test_a_bad_file_blocks_no_other(page: Client, collection: Collection, settings: Any) -> None:
    settings.MAX_FILE_SIZE = 20
    data = {
        "collection": collection.pk,
        "files": [
            *files("a.md"),
            SimpleUploadedFile("huge.md", b"x" * 21),
            *files("b.md"),
        ],
    }
    html = page.get(page.post(URL, data)["Location"]).content.decode()
    assert {d.external_id for d in Document.objects.all()} == {"a.md", "b.md"}
    assert "The file is larger than" in html


def test_the_same_file_again_is_unchanged_and_a_new_version_an_update(
    page: Client, add: Add, collection: Collection
) -> None:
    send(page, collection, "a.md", "b.md")
    Revision.objects.update(state="indexed")
    data = {"collection": collection.pk, "files": files("a.md") + files("b.md", content="new")}
    where = page.post(URL, data)["Location"]
    Revision.objects.update(state="indexed")
    assert "1 updated, 1 unchanged." in page.get(where).content.decode()


def test_a_duplicate_is_told_without_alarm(page: Client, collection: Collection) -> None:
    data = {"collection": collection.pk, "files": files("a.md", "b.md", content="same")}
    where = page.post(URL, data)["Location"]
    Revision.objects.filter(state="queued").update(state="indexed")
    html = page.get(where).content.decode()
    assert "1 added, 1 left out as duplicate" in html
    assert "kb-reason" not in html


def test_the_end_is_told_in_one_sentence(page: Client, collection: Collection) -> None:
    where = send(page, collection, "a.md", "b.md", "scan.pdf")
    Revision.objects.update(state="indexed")
    Revision.objects.filter(document__external_id="scan.pdf").update(
        state="failed", failure_message="No text could be read."
    )
    html = page.get(where).content.decode()
    assert "2 added, 1 failed: No text could be read." in html
    assert "every 1s" not in html


def test_it_asks_again_only_while_something_is_unfinished(
    page: Client, collection: Collection
) -> None:
    where = send(page, collection, "a.md")
    html = page.get(where).content.decode()
    again = re.search(r'hx-get="([^"]+)" hx-trigger="every 1s"', html)
    assert again is not None
    url = again[1].replace("&amp;", "&")
    assert "hx-get" in page.get(url).content.decode()
    Revision.objects.update(state="indexed")
    assert "hx-get" not in page.get(url).content.decode()


def test_the_bar_never_moves_backwards(collection: Collection, add: Add) -> None:
    revisions = [add(f"{n}.md", "syncing").revisions.get() for n in range(2)]
    items = [Item(f"{r.document}", "added", r.pk) for r in revisions]
    before = report(items).percent
    Revision.objects.update(state="queued")
    assert report(items, seen=before).percent == before > report(items).percent


def test_a_batch_belongs_to_its_user(page: Client, collection: Collection, client: Client) -> None:
    where = send(page, collection, "secret.md")
    client.force_login(User.objects.create_superuser("other", password="x"))
    assert "secret.md" not in client.get(where, follow=True).content.decode()


def test_a_batch_key_logs_nobody_in(page: Client, collection: Collection, settings: Any) -> None:
    key = send(page, collection, "a.md").partition("batch=")[2]
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = key
    assert thief.get(reverse("admin:index")).status_code == 302


def test_a_forgotten_batch_leads_back_to_the_form(page: Client, collection: Collection) -> None:
    assert page.get(f"{URL}?batch=gone")["Location"] == URL


def test_after_logging_out_the_progress_asks_for_a_reload(client: Client, db: None) -> None:
    response = client.get(reverse("admin:upload_progress") + "?batch=x")
    assert response["HX-Refresh"] == "true"
    assert response.content == b""


def test_failed_files_are_queued_again_together(page: Client, collection: Collection) -> None:
    where = send(page, collection, "a.md", "b.md", "c.md")
    Revision.objects.exclude(document__external_id="c.md").update(state="failed")
    page.post(where, {"retry": "all"})
    assert set(Revision.objects.values_list("state", flat=True)) == {"queued"}


def test_the_script_gets_the_address_and_adds_to_it(page: Client, collection: Collection) -> None:
    first = page.post(
        URL,
        {"collection": collection.pk, "files": files("a.md"), "paths": ["dir/a.md"]},
        headers={"Accept": "application/json"},
    ).json()
    second = page.post(
        first["batch"],
        {"collection": collection.pk, "files": files("a.md", content="b"), "paths": ["other/a.md"]},
        headers={"Accept": "application/json"},
    ).json()
    assert first == second
    assert {d.external_id for d in Document.objects.all()} == {"dir/a.md", "other/a.md"}
    assert "0 of 2 files" in page.get(first["batch"]).content.decode()


def test_the_script_is_told_what_is_missing(page: Client, collection: Collection) -> None:
    response = page.post(URL, {"collection": collection.pk}, headers={"Accept": "application/json"})
    assert (response.status_code, response.json()) == (
        400,
        {"error": "Choose at least one file, paste a text, or give an address."},
    )


def test_without_files_the_form_says_so(page: Client, collection: Collection) -> None:
    response = page.post(URL, {"collection": collection.pk})
    assert response.status_code == 400
    assert "Choose at least one file, paste a text, or give" in response.content.decode()


def test_a_deleted_collection_takes_nothing(page: Client, collection: Collection) -> None:
    collection.tombstone()
    response = page.post(URL, {"collection": collection.pk, "files": files("a.md")})
    assert response.status_code == 400
    assert not Document.objects.exists()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a.md", "a.md"),
        ("/abs/a.md", "abs/a.md"),
        ("../../etc/passwd", "etc/passwd"),
        ("dir\\sub\\a.md", "dir/sub/a.md"),
        ("a\0b\n.md", "ab.md"),
        ("手册/第一章.md", "手册/第一章.md"),
        ("./", ""),
    ],
)
def test_names_are_relative_and_printable(sent: str, kept: str) -> None:
    assert clean_path(sent) == kept


def test_uploading_needs_permission(client: Client, collection: Collection) -> None:
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    client.force_login(clerk)
    assert client.get(URL).status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename="add_document"))
    assert client.get(URL).status_code == 200


def test_it_says_that_no_worker_runs(page: Client, collection: Collection) -> None:
    where = send(page, collection, "a.md")
    assert "No worker is running." in page.get(where).content.decode()
    Worker.objects.create(name="w", host="h", pid=1, seen_at=timezone.now())
    assert "No worker is running." not in page.get(where).content.decode()


def test_without_a_collection_it_says_what_to_do(page: Client, model: EmbeddingModel) -> None:
    html = page.get(URL).content.decode()
    assert reverse("admin:retrieval_collection_add") in html
    assert "<form class" not in html.partition("kb-page")[2]


def test_without_a_model_it_says_what_to_do(page: Client) -> None:
    assert "prepare_model" in page.get(URL).content.decode()


def test_a_long_list_shows_what_needs_somebody_first(
    page: Client, collection: Collection, set_state: Callable[..., None]
) -> None:
    where = send(page, collection, *(f"{n:03}.md" for n in range(120)))
    Revision.objects.update(state="indexed")
    set_state(Document.objects.get(external_id="119.md"), "failed", "No text.")
    html = page.get(where).content.decode()
    assert html.index("119.md") < html.index("000.md")
    assert "20 more files are not shown." in html
    assert "20 more" not in page.get(f"{where}&all=1").content.decode()


def test_the_progress_costs_the_same_for_many_files(
    page: Client, collection: Collection, django_assert_max_num_queries: Any
) -> None:
    where = send(page, collection, *(f"{n}.md" for n in range(60)))
    url = where.replace("/upload/", "/upload/progress/")
    with django_assert_max_num_queries(8):
        page.get(url)
