"""What surrounds every page: the palette, the shortcuts, the reader's zone, language, numbers."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation
from playwright.sync_api import Page, expect

from kbadmin.templatetags.kbadmin import thousands
from retrieval.models import ApiKey, Collection, Document
from tests.kbadmin.conftest import Add
from tests.kbadmin.test_browser import browser, tab  # noqa: F401 - fixtures

URL = "/admin/search/"


def found(client: Client, query: str) -> dict[str, list[str]]:
    """Group → titles, as the palette shows them."""
    response = client.get(URL, {"s": query}, headers={"X-Requested-With": "palette"})
    assert response.status_code == 200
    return {
        group.title: [entry.title for entry in group.entries]
        for group in response.context["groups"]
    }


@pytest.fixture
def clerk(client: Client, db: None) -> User:
    """Somebody who may look at documents and nothing else."""
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_document"))
    client.force_login(clerk)
    return clerk


# --- The palette ----------------------------------------------------------------------------


def test_it_offers_every_page_and_action_before_anything_is_typed(page: Client) -> None:
    groups = found(page, "")
    assert {"Overview", "Upload", "Documents", "Status", "Audit log"} <= set(groups["Pages"])
    assert {"Make a collection", "Issue an API key"} <= set(groups["Actions"])


def test_it_finds_collections_and_documents_by_a_part_of_their_title(
    page: Client, add: Add, collection: Collection
) -> None:
    document = add("refund-policy.md")
    Document.objects.filter(pk=document.pk).update(title="How we refund")
    assert found(page, "REFUND")["Documents"] == ["How we refund"]
    groups = found(page, "handb")
    assert groups["Collections"] == [
        "Handbook",
        "Documents of Handbook",
        "Upload into Handbook",
        "Reindex Handbook",
    ]
    response = page.get(URL, {"s": "handb"})
    assert reverse("admin:retrieval_collection_change", args=[collection.pk]) in (
        response.content.decode()
    )


def test_titles_that_begin_like_the_query_come_first(page: Client, add: Add) -> None:
    for name in ("our refunds.md", "refunds.md"):
        add(name)
    assert found(page, "refunds")["Documents"] == ["refunds.md", "our refunds.md"]


def test_what_is_deleted_is_not_found(page: Client, add: Add) -> None:
    add("gone.md").tombstone()
    assert "Documents" not in found(page, "gone")


def test_it_offers_only_what_this_user_may_open(clerk: User, client: Client, add: Add) -> None:
    add("refunds.md")
    groups = found(client, "")
    assert groups["Pages"] == ["Overview", "Documents", "Playground"]
    assert groups["Actions"] == ["See why documents failed", "Change password"]
    assert found(client, "refunds")["Documents"] == ["refunds.md"]
    assert "Collections" not in found(client, "handbook")
    clerk.user_permissions.clear()
    groups = found(client, "refunds")
    assert not groups.keys() & {"Documents", "Collections", "Search"}


def test_strangers_are_asked_to_log_in(client: Client, db: None) -> None:
    assert client.get(URL, {"s": "a"}).status_code == 302


def test_without_scripts_it_is_a_page_of_links(page: Client, add: Add) -> None:
    document = add("refunds.md")
    html = page.get(URL, {"s": "refunds"}).content.decode()
    assert f'href="{reverse("admin:retrieval_document_change", args=[document.pk])}"' in html
    assert '<input name="s"' in html


@pytest.mark.parametrize("query", ["%", "_", "\0", "'", "x" * 5000, "<script>alert(1)</script>"])
def test_nothing_that_is_typed_does_harm(page: Client, add: Add, query: str) -> None:
    add()
    groups = found(page, query)
    assert "Documents" not in groups
    assert "<script>alert" not in page.get(URL, {"s": query}).content.decode()


def test_its_queries_stay_few_and_bounded(page: Client, add: Add, collection: Collection) -> None:
    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            found(page, "refunds")
        return [query["sql"] for query in captured]

    add("refunds 0.md")
    few = queries()
    for n in range(1, 30):
        add(f"refunds {n}.md")
        Collection.objects.create(
            slug=f"r{n}", title=f"refunds {n}", embedding_model=collection.embedding_model
        )
    many = queries()
    assert len(many) == len(few)
    # The session and the user, then collections and documents.
    assert len(many) <= 4
    assert all("LIMIT" in sql for sql in many[2:])
    assert not [sql for sql in many if '"text"' in sql]
    groups = found(page, "refunds")
    assert (len(groups["Documents"]), len(groups["Collections"])) == (8, 8)


# --- The reader's zone, language and numbers --------------------------------------------------


def asked_at(client: Client, name: str) -> str:
    """The time of day that a key's page says it was made at."""
    row = ApiKey.objects.get()
    if name:
        client.cookies["kbadmin_timezone"] = name
    html = client.get(reverse("admin:retrieval_apikey_change", args=[row.pk])).content.decode()
    match = re.search(r"Jan\. 2, 2026, ([\w:. ]+m\.|noon|midnight)", html)
    assert match
    return match[1]


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("", "3:05 a.m."),
        ("Asia/Shanghai", "11:05 a.m."),
        ("Asia/Calcutta", "8:35 a.m."),
        ("Mars/Olympus", "3:05 a.m."),
        ("../../../etc/passwd", "3:05 a.m."),
        ("/etc/localtime", "3:05 a.m."),
    ],
)
def test_times_are_told_in_the_browser_s_zone(page: Client, zone: str, shown: str) -> None:
    ApiKey.issue("x")
    ApiKey.objects.update(created_at="2026-01-02T03:05:00Z")
    assert asked_at(page, zone) == shown


def test_a_chosen_language_is_remembered(page: Client) -> None:
    page.post("/i18n/setlang/", {"language": "zh-hans", "next": ""}, headers={"Referer": "/admin/"})
    cookie = page.cookies["kbadmin_language"]
    assert cookie.value == "zh-hans"
    assert int(cookie["max-age"]) > 300 * 24 * 3600
    html = page.get("/admin/", headers={"Accept-Language": "en"}).content.decode()
    assert 'lang="zh-hans"' in html


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_thousands_are_told_apart(language: str) -> None:
    with translation.override(language):
        assert thousands(1234567) == "1,234,567"


# --- In a browser -----------------------------------------------------------------------------

in_browser = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


class TestInABrowser:
    pytestmark = in_browser

    def test_the_palette_leads_to_a_document_by_keyboard(
        self,
        tab: Page,  # noqa: F811
        live_server: Any,
        add: Add,
    ) -> None:
        document = add("refunds.md")
        tab.keyboard.press("Control+k")
        dialog = tab.get_by_role("dialog", name="Jump to…")
        field = dialog.get_by_role("combobox")
        expect(field).to_be_focused()
        options = dialog.get_by_role("option")
        expect(options.first).to_have_attribute("aria-selected", "true")
        expect(options.first).to_contain_text("Overview")
        tab.keyboard.press("ArrowDown")
        expect(options.nth(1)).to_have_attribute("aria-selected", "true")
        tab.keyboard.type("refunds")
        expect(options.first).to_contain_text("refunds.md")
        tab.keyboard.press("Enter")
        tab.wait_for_url(f"**/document/{document.pk}/change/")

        tab.keyboard.press("Control+k")
        expect(field).to_be_focused()
        tab.keyboard.press("Escape")
        expect(dialog).to_be_hidden()

    def test_the_field_in_the_sidebar_opens_the_palette(
        self,
        tab: Page,  # noqa: F811
        live_server: Any,
    ) -> None:
        tab.get_by_role("link", name="Jump to…").click()
        expect(tab.get_by_role("combobox")).to_be_focused()
        tab.get_by_role("combobox").fill("zzzz")
        expect(tab.get_by_role("option").first).to_contain_text("zzzz")

    def test_keys_lead_to_pages_but_not_while_somebody_types(
        self,
        tab: Page,  # noqa: F811
        live_server: Any,
        add: Add,
    ) -> None:
        add()
        tab.keyboard.press("g")
        tab.keyboard.press("d")
        tab.wait_for_url("**/retrieval/document/")
        tab.keyboard.press("/")
        search = tab.locator("#searchbar")
        expect(search).to_be_focused()
        tab.keyboard.type("gsu?")
        expect(search).to_have_value("gsu?")
        expect(tab).to_have_url(f"{live_server.url}/admin/retrieval/document/")
        search.blur()
        tab.keyboard.press("u")
        tab.wait_for_url("**/admin/upload/")

    def test_the_help_lists_the_keys_and_can_switch_them_off(
        self,
        tab: Page,  # noqa: F811
        live_server: Any,
    ) -> None:
        tab.keyboard.press("?")
        dialog = tab.get_by_role("dialog", name="Keyboard shortcuts")
        expect(dialog).to_be_visible()
        expect(dialog).to_contain_text("Audit log")
        dialog.get_by_role("checkbox").uncheck()
        tab.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        tab.keyboard.press("?")
        expect(dialog).to_be_hidden()
        tab.reload()
        tab.get_by_role("button", name="Keyboard shortcuts").click()
        expect(dialog.get_by_role("checkbox")).not_to_be_checked()
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_be_hidden()

    def test_the_help_lists_only_what_this_user_may_do(
        self,
        tab: Page,  # noqa: F811
        live_server: Any,
        boss: User,
    ) -> None:
        boss.is_superuser = False
        boss.save()
        boss.user_permissions.add(Permission.objects.get(codename="view_document"))
        tab.reload()
        tab.keyboard.press("?")
        dialog = tab.get_by_role("dialog", name="Keyboard shortcuts")
        expect(dialog).to_contain_text("Documents")
        expect(dialog).not_to_contain_text("Upload")
        expect(dialog).not_to_contain_text("API keys")

    def test_the_zone_reaches_the_server(
        self,
        tab: Page,  # noqa: F811
        live_server: Any,
    ) -> None:
        cookies = {cookie["name"]: cookie for cookie in tab.context.cookies()}
        zone = tab.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
        assert cookies["kbadmin_timezone"]["value"] == zone
