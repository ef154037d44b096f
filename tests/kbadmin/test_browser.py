"""The admin in a real Chromium: what a person sees, with scripts and without."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect, sync_playwright

from retrieval import reindex
from retrieval.ingest import accept
from retrieval.models import Chunk, Collection, Document, Index, Revision, Worker
from tests.browser import CHROMIUM, FLAGS, complaints_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("needs Chromium")
    # Playwright's loop runs in this thread, which makes Django believe it is in async code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def log_in(page: Page, address: str) -> None:
    page.goto(f"{address}/admin/")
    page.fill("[name=username]", "boss")
    page.fill("[name=password]", "a long password")
    page.click("#login-form [type=submit]")
    page.wait_for_url("**/admin/")


@pytest.fixture
def tab(browser: Browser, live_server: Any, boss: User) -> Iterator[Page]:
    """A logged-in tab; anything in its console, such as a CSP violation, fails the test."""
    context = browser.new_context(locale="en")
    tab = context.new_page()
    complaints = complaints_of(tab)
    log_in(tab, live_server.url)
    yield tab
    context.close()
    assert complaints == []


@pytest.fixture
def three_files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("one.md", "two.md", "three.md")]
    for path in paths:
        path.write_text(f"# {path.stem}")
    return paths


def test_three_files_are_uploaded_and_watched(
    tab: Page,
    live_server: Any,
    collection: Collection,
    three_files: list[Path],
    set_state: Callable[..., None],
) -> None:
    Worker.objects.create(name="w", host="h", pid=1, seen_at=timezone.now())
    tab.goto(f"{live_server.url}/admin/upload/")
    tab.set_input_files("#id_files", three_files)
    expect(tab.locator("#upload-text")).to_have_text("3 files chosen")
    tab.click("#upload-send")
    tab.wait_for_url("**batch=**")
    rows = tab.locator("#upload-batch .kb-row")
    expect(rows).to_have_count(3)
    expect(tab.locator(".kb-is-queued")).to_have_count(3)

    one, two, three = (Document.objects.get(external_id=path.name) for path in three_files)
    set_state(one, "embedding")
    expect(rows.filter(has_text="one.md")).to_contain_text("embedding")
    before = tab.locator("#upload-batch progress").first.evaluate("bar => bar.value")
    set_state(one, "queued")
    set_state(two, "indexed")
    expect(rows.filter(has_text="two.md")).to_contain_text("indexed")
    assert tab.locator("#upload-batch progress").first.evaluate("bar => bar.value") >= before

    set_state(one, "indexed")
    set_state(three, "failed", "No text could be read.")
    sentence = "2 added, 1 failed: No text could be read."
    expect(tab.locator(".kb-sentence")).to_have_text(sentence)
    expect(tab.locator("#upload-said")).to_have_text(sentence)
    expect(tab.locator("#upload-batch")).not_to_have_attribute("hx-get", "")

    rows.filter(has_text="three.md").get_by_role("button", name="Retry").click()
    expect(tab.locator(".kb-is-queued")).to_have_count(1)


def test_no_page_complains(tab: Page, live_server: Any, add: Callable[..., Document]) -> None:
    document = add()
    add("bad.md", "failed", "No text.")
    for path in (
        "/admin/",
        "/admin/upload/",
        "/admin/playground/",
        "/admin/status/",
        "/admin/playground/?q=refunds&a-mode=lexical&compare=1&b-mode=lexical",
        "/admin/retrieval/document/",
        f"/admin/retrieval/document/{document.pk}/change/",
        f"/admin/retrieval/document/{document.pk}/compare/",
        "/admin/retrieval/collection/",
        f"/admin/retrieval/collection/{document.collection_id}/change/",
        "/admin/retrieval/chunk/",
        "/admin/retrieval/search/",
        "/admin/retrieval/apikey/add/",
        "/admin/auth/user/",
    ):
        for width in (1440, 390):
            tab.set_viewport_size({"width": width, "height": 900})
            response = tab.goto(live_server.url + path)
            assert response is not None
            assert response.status == 200
            for details in tab.locator(".kb-page details, #content-main details").all():
                details.evaluate("details => (details.open = true)")
            wider = "document.documentElement.scrollWidth - window.innerWidth"
            assert tab.evaluate(wider) <= 0, f"{path} is wider than {width} pixels"


def test_a_new_key_can_be_copied(tab: Page, live_server: Any) -> None:
    tab.goto(f"{live_server.url}/admin/retrieval/apikey/add/")
    tab.fill("[name=name]", "NextChat")
    tab.click("[name=_save]")
    expect(tab.locator("#issued-key")).to_contain_text("kb_")
    tab.get_by_role("button", name="Copy").click()


def test_uploading_works_without_scripts(
    browser: Browser,
    live_server: Any,
    boss: User,
    collection: Collection,
    three_files: list[Path],
) -> None:
    context = browser.new_context(java_script_enabled=False, locale="en")
    tab = context.new_page()
    log_in(tab, live_server.url)
    tab.click("#nav-sidebar >> text=Upload")
    tab.set_input_files("#id_files", three_files)
    tab.click("#upload-send")
    expect(tab.locator(".kb-is-queued")).to_have_count(3)
    expect(tab.get_by_role("link", name="Refresh")).to_be_visible()
    context.close()


def test_an_earlier_version_is_compared_and_restored(
    tab: Page, live_server: Any, add: Callable[..., Document]
) -> None:
    document = add()
    newer = accept(
        document.collection,
        external_id=document.external_id,
        filename="refunds.md",
        data=b"newer",
        origin=Document.Origin.UPLOAD,
    ).revision
    Revision.objects.filter(document=document).update(text="Paid in 14 days.", state="indexed")
    Revision.objects.filter(pk=newer.pk).update(text="Paid in 30 days.")
    tab.goto(f"{live_server.url}/admin/retrieval/document/{document.pk}/change/")
    tab.locator("#versions").get_by_role("link", name="Compare").first.click()
    expect(tab.locator(".kb-diff-removed").last).to_contain_text("Paid in 14 days.")
    expect(tab.locator(".kb-diff-added").last).to_contain_text("Paid in 30 days.")
    tab.get_by_role("button", name="Restore version 1").click()
    expect(tab.get_by_text("Version 1 is restored as version 3")).to_be_visible()
    versions = tab.locator(".kb-version")
    expect(versions).to_have_count(3)
    expect(versions.first).to_contain_text("the same file as #1")


def test_a_reindex_is_started_and_watched(
    tab: Page, live_server: Any, collection: Collection
) -> None:
    tab.goto(f"{live_server.url}/admin/retrieval/collection/{collection.pk}/change/")
    tab.get_by_text("Reindex…").click()
    tab.get_by_label("Chunk size").fill("120")
    tab.get_by_role("button", name="Start reindex").click()
    bar = tab.locator("#kb-building progress")
    expect(bar).to_be_visible()
    index = Index.objects.building().get()
    assert index.chunk_size == 120
    # What is being written in the form outlives every look at the progress.
    tab.fill("[name=title]", "Half written")
    Index.objects.filter(pk=index.pk).update(progress_done=3, progress_total=4)
    expect(tab.get_by_text("3 of 4 documents.")).to_be_visible()
    reindex.switch(index)
    expect(tab.get_by_role("button", name="Roll back")).to_be_visible()
    expect(bar).to_have_count(0)
    expect(tab.locator("[name=title]")).to_have_value("Half written")


def test_a_question_is_asked_without_leaving_the_page(
    tab: Page, live_server: Any, add: Callable[..., Document]
) -> None:
    add()
    tab.goto(f"{live_server.url}/admin/playground/")
    tab.get_by_text("Settings", exact=True).click()
    tab.get_by_label("Search by").select_option("lexical")
    tab.get_by_role("searchbox").fill("refunds")
    tab.get_by_role("button", name="Search").click()
    tab.wait_for_url("**q=refunds**")
    expect(tab.locator("main, body").first).to_contain_text("Nothing was found")
    expect(tab.get_by_label("Search by")).to_be_visible()
    tab.get_by_role("button", name="Compare with other settings").click()
    tab.wait_for_url("**compare=1**")
    expect(tab.get_by_label("Search by")).to_have_count(2)
    tab.get_by_role("link", name="Stop comparing").click()
    expect(tab.get_by_label("Search by")).to_have_count(1)


def test_a_passage_is_chosen_hidden_and_brought_back(
    tab: Page, live_server: Any, add: Callable[..., Document]
) -> None:
    document = add(chunks=2)
    first, second = document.chunks.order_by("order")
    tab.goto(f"{live_server.url}/admin/retrieval/document/{document.pk}/change/?chunk={second.pk}")
    panel = tab.get_by_label("Chosen passage")
    expect(panel.get_by_role("heading")).to_have_text("Passage 2")
    tab.locator(f'span[data-chunks="{first.pk}"]').hover()
    expect(panel.get_by_role("heading")).to_have_text("Passage 1")
    panel.hover()
    expect(panel.get_by_role("heading")).to_have_text("Passage 2")
    tab.locator(f"#chunk-{first.pk}").focus()
    expect(panel.get_by_role("heading")).to_have_text("Passage 1")
    tab.keyboard.press("Enter")
    expect(tab).to_have_url(re.compile(rf"chunk={first.pk}\b"))
    expect(tab.locator(f'span[data-chunks="{first.pk}"]')).to_have_class(re.compile("kb-chunk-on"))
    panel.get_by_role("button", name="Keep out of search").click()
    expect(panel).to_contain_text("kept out")
    assert not Chunk.objects.get(pk=first.pk).enabled
    tab.get_by_role("button", name="Undo").click()
    expect(tab.get_by_text("1 passage is searched again.")).to_be_visible()
    assert Chunk.objects.get(pk=first.pk).enabled
    tab.locator(f"#chunk-{second.pk}").click()
    panel.get_by_role("link", name="Edit").click()
    expect(tab.get_by_label("Text")).to_have_value("passage 1 of refunds.md")


def test_documents_are_narrowed_by_a_choice_and_retried_in_their_row(
    tab: Page, live_server: Any, add: Callable[..., Document]
) -> None:
    add()
    add("scan.pdf", "failed", "Its pages are pictures.")
    tab.goto(f"{live_server.url}/admin/retrieval/document/")
    tab.get_by_label("State").select_option("failed")
    tab.wait_for_url("**/?state=failed")
    rows = tab.locator("#result_list tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Its pages are pictures.")
    rows.get_by_role("button", name="Retry").click()
    expect(tab.get_by_text("The document is queued again.")).to_be_visible()
    expect(tab.get_by_text("Nothing matches")).to_be_visible()
