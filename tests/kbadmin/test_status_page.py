"""The status page: what works, what does not, and what to do about it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django_tasks_db.models import DBTaskResult

from kbadmin.pages import status
from retrieval.exceptions import VectorStoreUnavailable
from retrieval.models import Collection, Document, Index, Worker

URL = "/admin/status/"


class Store:
    """Chroma, there or away."""

    def __init__(self, is_there: bool) -> None:
        self.is_there = is_there

    def heartbeat(self) -> None:
        if not self.is_there:
            raise VectorStoreUnavailable("Chroma does not answer.")


@pytest.fixture
def chroma_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def chroma_is(is_there: bool) -> None:
        monkeypatch.setattr(status, "impatient_store", lambda: Store(is_there))

    chroma_is(True)
    return chroma_is


@pytest.fixture
def parts(page: Client, chroma_is: Callable[[bool], None]) -> Callable[[], dict[str, status.Part]]:
    def parts() -> dict[str, status.Part]:
        return {part.name: part for part in page.get(URL).context["parts"]}

    return parts


def test_every_part_has_its_sentence(
    collection: Collection, parts: Callable[[], dict[str, status.Part]]
) -> None:
    found = parts()
    assert list(found) == ["Database", "Chroma", "Worker", "Embedding model", "Disk"]
    assert (found["Database"].tone, found["Chroma"].tone, found["Disk"].tone) == ("live",) * 3
    assert all(part.sentence for part in found.values())


def test_a_chroma_that_is_away_is_said_with_what_still_works(
    parts: Callable[[], dict[str, status.Part]], chroma_is: Callable[[bool], None]
) -> None:
    chroma_is(False)
    part = parts()["Chroma"]
    assert part.tone == "failed"
    assert "from words alone" in part.sentence


def test_a_missing_worker_is_said(
    collection: Collection,
    add: Callable[..., Document],
    parts: Callable[[], dict[str, status.Part]],
) -> None:
    assert parts()["Worker"].sentence == "No worker runs. Nothing waits for one now."
    add("waiting.md", "queued")
    assert "manage.py worker" in parts()["Worker"].sentence
    Worker.objects.create(name="w", host="h", pid=1, doing="indexing 3 documents")
    part = parts()["Worker"]
    assert (part.tone, part.sentence) == ("live", "Running: 1. Documents in progress: 1.")


def test_a_model_that_is_not_prepared_is_named(
    collection: Collection,
    parts: Callable[[], dict[str, status.Part]],
    settings: Any,
    tmp_path: Any,
) -> None:
    settings.MODEL_DIR = tmp_path
    part = parts()["Embedding model"]
    assert part.tone == "failed"
    assert "all-MiniLM-L6-v2" in part.sentence


@pytest.mark.parametrize(
    ("free", "tone"), [(10, "failed"), (2 * 1024**3, "low"), (50 * 1024**3, "live")]
)
def test_little_space_is_said_in_time(
    parts: Callable[[], dict[str, status.Part]],
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    tone: str,
) -> None:
    class Usage:
        pass

    Usage.free = free  # type: ignore[attr-defined]
    monkeypatch.setattr("kbadmin.pages.status.shutil.disk_usage", lambda path: Usage)
    assert parts()["Disk"].tone == tone


def test_the_page_shows_work_failures_and_versions(
    page: Client,
    collection: Collection,
    add: Callable[..., Document],
    chroma_is: Callable[[bool], None],
) -> None:
    add("bad.md", "failed", "No text.")
    Worker.objects.create(name="w", host="h", pid=1, doing="indexing 3 documents", done_count=7)
    html = page.get(URL).content.decode()
    assert "indexing 3 documents" in html
    assert "7 documents done" in html
    assert "Failed documents: 1" in html
    assert "chromadb" in html


def test_a_comparison_is_a_task_for_each_live_index(
    page: Client, collection: Collection, chroma_is: Callable[[bool], None]
) -> None:
    response = page.post(URL, follow=True)
    assert "1 index is being compared" in response.content.decode()
    task = DBTaskResult.objects.get()
    assert task.args_kwargs["args"] == [Index.objects.get().pk]


def test_only_those_who_may_look_may_look(
    collection: Collection, client: Client, chroma_is: Callable[[bool], None]
) -> None:
    user = User.objects.create_user("guest", password="x", is_staff=True)
    client.force_login(user)
    assert client.get(URL).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_index"))
    assert client.get(URL).status_code == 200
    assert client.post(URL).status_code == 403


@pytest.mark.parametrize("rows", [1, 12])
def test_its_queries_do_not_depend_on_what_is_there(
    page: Client,
    collection: Collection,
    add: Callable[..., Document],
    chroma_is: Callable[[bool], None],
    django_assert_max_num_queries: Any,
    rows: int,
) -> None:
    for number in range(rows):
        add(f"{number}.md", "failed", "No text.")
        Worker.objects.create(name=f"w{number}", host="h", pid=number)
    with django_assert_max_num_queries(26):
        page.get(URL)
