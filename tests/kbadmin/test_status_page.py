"""The status page: what works, what does not, and what to do about it."""

import shlex
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from playwright.sync_api import Page, expect

from kbadmin.pages import parts as known_parts
from kbadmin.pages.parts import Part
from plugin.gateway import upstream
from retrieval import reindex
from retrieval.admin.audit import sentence
from retrieval.exceptions import VectorStoreUnavailable
from retrieval.models import Collection, Document, Index, Revision, Worker
from tests.fake_model import serve_model
from tests.kbadmin.test_browser import browser, tab  # noqa: F401 - fixtures

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
        monkeypatch.setattr(known_parts, "impatient_store", lambda: Store(is_there))

    chroma_is(True)
    return chroma_is


@pytest.fixture
def parts(page: Client, chroma_is: Callable[[bool], None]) -> Callable[[], dict[str, Part]]:
    def parts() -> dict[str, Part]:
        return {part.name: part for part, _may_use in page.get(URL).context["parts"]}

    return parts


def test_a_language_model_that_is_set_is_looked_at(
    collection: Collection, parts: Callable[[], dict[str, Part]], settings: Any
) -> None:
    assert "Language model" not in parts()
    with serve_model() as server:
        settings.UPSTREAM_URL = server.url
        upstream.forget_models()
        assert parts()["Language model"].tone == "live"
    upstream.forget_models()
    assert ":extractive" in parts()["Language model"].sentence
    upstream.forget_models()


def test_every_part_has_its_sentence(
    collection: Collection, parts: Callable[[], dict[str, Part]]
) -> None:
    found = parts()
    assert list(found) == [
        "Database",
        "Chroma",
        "Indexes",
        "Worker",
        "Documents",
        "Embedding model",
        "Plugin manifest",
        "Disk",
    ]
    assert (found["Database"].tone, found["Chroma"].tone, found["Disk"].tone) == ("live",) * 3
    assert all(part.sentence for part in found.values())


def test_a_chroma_that_is_away_is_said_with_what_still_works(
    parts: Callable[[], dict[str, Part]], chroma_is: Callable[[bool], None]
) -> None:
    chroma_is(False)
    part = parts()["Chroma"]
    assert part.tone == "failed"
    assert "from words alone" in part.sentence


def test_a_missing_worker_is_said(
    collection: Collection,
    add: Callable[..., Document],
    parts: Callable[[], dict[str, Part]],
) -> None:
    assert parts()["Worker"].sentence == "No worker runs. Nothing waits for one now."
    add("waiting.md", "queued")
    part = parts()["Worker"]
    assert part.fix
    assert part.fix.command.endswith("manage.py worker")
    Worker.objects.create(name="w", host="h", pid=1, doing="indexing 3 documents")
    part = parts()["Worker"]
    assert (part.tone, part.sentence) == ("live", "Running: 1. Documents in progress: 1.")


def test_a_model_that_is_not_prepared_is_named(
    collection: Collection,
    parts: Callable[[], dict[str, Part]],
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
    parts: Callable[[], dict[str, Part]],
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    tone: str,
) -> None:
    class Usage:
        pass

    Usage.free = free  # type: ignore[attr-defined]
    monkeypatch.setattr("kbadmin.pages.parts.shutil.disk_usage", lambda path: Usage)
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
    assert "Failed documents: 1." in html
    assert "Retry all failed" in html
    assert "chromadb" in html


def test_a_comparison_is_a_task_for_each_live_index(
    page: Client, collection: Collection, chroma_is: Callable[[bool], None]
) -> None:
    response = page.post(URL, {"action": "compare"}, follow=True)
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
    assert client.post(URL, {"action": "compare"}).status_code == 403


# --- What mends -----------------------------------------------------------------------------


def test_waiting_migrations_are_a_command_and_no_button(
    page: Client, parts: Callable[[], dict[str, Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kbadmin.pages.parts.MigrationExecutor.migration_plan", lambda self, targets: [1, 2]
    )
    part = parts()["Database"]
    assert part.tone == "failed"
    assert part.fix
    assert (part.fix.action, part.fix.command.split()[-1]) == ("", "setup")
    assert part.fix.command in page.get(URL).content.decode()


def test_a_command_survives_spaces_in_its_path(settings: Any, tmp_path: Any) -> None:
    settings.BASE_DIR = tmp_path / "my notes"
    words = shlex.split(known_parts.command("prepare_model", "--model", "a b").command)
    assert words[1:] == [f"{tmp_path}/my notes/manage.py", "prepare_model", "--model", "a b"]


def test_a_remote_chroma_is_not_started_here(
    parts: Callable[[], dict[str, Part]], chroma_is: Callable[[bool], None], settings: Any
) -> None:
    chroma_is(False)
    assert parts()["Chroma"].fix
    settings.CHROMA_URL = "https://chroma.example.org"
    assert parts()["Chroma"].fix is None


def test_indexes_say_what_the_last_comparison_found(
    collection: Collection, parts: Callable[[], dict[str, Part]]
) -> None:
    assert "never compared" in parts()["Indexes"].sentence
    Index.objects.update(checked_at=timezone.now(), drift={"missing": 2, "stale": 1, "orphaned": 0})
    part = parts()["Indexes"]
    assert (part.tone, part.sentence.split()[0]) == ("low", "3")
    Index.objects.update(drift={"missing": 0, "stale": 0, "orphaned": 0})
    assert parts()["Indexes"].tone == "live"
    Index.objects.update(state=Index.State.DAMAGED)
    assert "damaged" in parts()["Indexes"].sentence


def test_all_that_failed_is_retried(
    page: Client, add: Callable[..., Document], chroma_is: Callable[[bool], None]
) -> None:
    for number in range(3):
        add(f"{number}.md", "failed", "No text.")
    response = page.post(URL, {"action": "retry"}, follow=True)
    assert "3 documents are queued again." in response.content.decode()
    assert not Revision.objects.all().failed().exists()
    assert sentence(LogEntry.objects.get()) == "Queued again, 3 rows"


def test_an_unknown_button_is_refused(page: Client, collection: Collection) -> None:
    response = page.post(URL, {"action": "format-disk"})
    assert response.status_code == 400
    assert "no such button" in response.content.decode()


@pytest.mark.parametrize(
    "action",
    ["compare", "retry", "cancel-document", "cancel-waiting", "cancel-build", "cancel-comparison"],
)
def test_looking_is_not_acting(collection: Collection, client: Client, action: str) -> None:
    user = User.objects.create_user("guest", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_index"))
    client.force_login(user)
    assert client.post(URL, {"action": action}).status_code == 403
    html = client.get(URL).content.decode()
    assert f'value="{action}"' not in html


# --- What runs ------------------------------------------------------------------------------


def test_documents_are_counted_by_stage_and_called_off(
    page: Client, add: Callable[..., Document], chroma_is: Callable[[bool], None]
) -> None:
    held = add("held.md", "embedding")
    waiting = add("waiting.md", "queued")
    response = page.get(URL)
    numbers = {stage.state: stage.number.number for stage in response.context["work"].stages}
    assert list(numbers) == Revision.UNFINISHED
    assert {state: n for state, n in numbers.items() if n} == {"queued": 1, "embedding": 1}
    page.post(URL, {"action": "cancel-waiting"})
    assert states_of(held, waiting) == ["embedding", "cancelled"]
    page.post(URL, {"action": "cancel-document", "document": held.pk})
    assert states_of(held, waiting) == ["cancelled", "cancelled"]


def states_of(*documents: Document) -> list[str]:
    return [Revision.objects.get(document=document).state for document in documents]


def test_an_index_that_is_built_is_shown_and_cancelled(
    page: Client, collection: Collection, chroma: str
) -> None:
    index = reindex.start(collection, chunk_size=120)
    Index.objects.filter(pk=index.pk).update(progress_done=1200, progress_total=4000)
    html = page.get(URL).content.decode()
    assert "New index of Handbook" in html
    assert "1,200 of 4,000 documents" in html
    page.post(URL, {"action": "cancel-build", "index": index.pk})
    assert not Index.objects.building().exists()
    response = page.post(URL, {"action": "cancel-build", "index": index.pk}, follow=True)
    assert "not being built any more" in response.content.decode()


def test_a_comparison_is_shown_and_taken_back(
    page: Client, collection: Collection, chroma_is: Callable[[bool], None]
) -> None:
    for _ in range(2):
        page.post(URL, {"action": "compare"})
    (comparison,) = page.get(URL).context["work"].comparisons
    assert (comparison.index.collection, comparison.is_running) == (collection, False)
    page.post(URL, {"action": "cancel-comparison", "task": comparison.key})
    assert not DBTaskResult.objects.exists()
    response = page.post(URL, {"action": "cancel-comparison", "task": "nonsense"}, follow=True)
    assert "begun already" in response.content.decode()


def test_a_comparison_whose_worker_was_killed_is_forgotten(
    page: Client, collection: Collection, chroma_is: Callable[[bool], None]
) -> None:
    page.post(URL, {"action": "compare"})
    DBTaskResult.objects.update(status="RUNNING", started_at=timezone.now())
    (comparison,) = page.get(URL).context["work"].comparisons
    assert comparison.is_running
    DBTaskResult.objects.update(started_at=timezone.now() - timedelta(hours=2))
    assert page.get(URL).context["work"].comparisons == []


def test_it_asks_again_only_while_something_runs(
    page: Client, add: Callable[..., Document], chroma_is: Callable[[bool], None]
) -> None:
    document = add("a.md", "queued")
    assert "hx-trigger" in page.get(URL).content.decode()
    assert "hx-trigger" in page.get(f"{URL}progress/").content.decode()
    Revision.objects.filter(document=document).update(state="indexed")
    html = page.get(f"{URL}progress/").content.decode()
    assert "hx-trigger" not in html
    assert "Nothing waits" in html


def test_progress_sends_no_login_page_into_the_page(client: Client, db: None) -> None:
    response = client.get(f"{URL}progress/")
    assert (response.status_code, response["HX-Refresh"]) == (204, "true")
    client.force_login(User.objects.create_user("guest", password="x", is_staff=True))
    assert client.get(f"{URL}progress/").status_code == 403


@pytest.mark.parametrize("rows", [1, 12])
@pytest.mark.parametrize(("path", "most"), [(URL, 28), (f"{URL}progress/", 25)])
def test_its_queries_do_not_depend_on_what_is_there(
    page: Client,
    collection: Collection,
    add: Callable[..., Document],
    chroma_is: Callable[[bool], None],
    django_assert_max_num_queries: Any,
    rows: int,
    path: str,
    most: int,
) -> None:
    for number in range(rows):
        add(f"{number}.md", "failed", "No text.")
        add(f"{number}-in-work.md", "embedding")
        Worker.objects.create(name=f"w{number}", host="h", pid=number)
        other = Collection.objects.create(
            slug=f"c{number}", title="x", embedding_model=collection.embedding_model
        )
        other.open_first_index()
        reindex.start(other, chunk_size=120)
    page.post(URL, {"action": "compare"})
    with django_assert_max_num_queries(most):
        page.get(path)


class TestInABrowser:
    pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

    def test_work_is_watched_to_its_end_but_not_unseen(
        self,
        tab: Page,  # noqa: F811
        live_server: Any,
        add: Callable[..., Document],
        set_state: Callable[..., None],
    ) -> None:
        document = add("a.md", "queued")
        tab.goto(live_server.url + URL)
        pipeline = tab.get_by_role("list", name="Documents by stage")
        expect(pipeline.get_by_role("listitem").first).to_contain_text("1")
        set_state(document, "embedding")
        expect(tab.locator("#kb-work")).to_contain_text("a.md")

        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
        tab.evaluate(hide % "true")
        tab.wait_for_timeout(2500)
        assert asked == []
        tab.evaluate(hide % "false")
        set_state(document, "indexed")
        expect(tab.locator("#kb-work")).to_contain_text("Nothing waits")
        asked.clear()
        tab.wait_for_timeout(2500)
        assert asked == []


def test_faults_of_our_own_manifest_are_told_with_the_way_to_the_doctor(
    parts: Callable[[], dict[str, Part]], collection: Collection, settings: Any
) -> None:
    part = parts()["Plugin manifest"]
    assert (part.tone, part.sentence) == ("live", "Right for every chat program.")
    settings.PUBLIC_URL = "http://kb.acme-notes.com"
    part = parts()["Plugin manifest"]
    assert part.tone == "failed"
    assert "error" in part.sentence
    assert part.fix is not None
    assert part.fix.url == "/admin/plugin-doctor/?kind=own"
