"""The Connect page: keys made on the spot, texts to copy, and each client's own sequence."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect

from kbadmin.pages.connect.guides import GUIDES, NO_KEY
from plugin.rehearsal import CLIENTS, Facts, Step, rehearse
from retrieval.models import ApiKey, Collection, Document
from tests.kbadmin.test_browser import browser, tab
from tests.web_server import serve

__all__ = ["browser", "tab"]

ORIGIN = "http://localhost:3000"


@pytest.fixture
def own_address(settings: Any, live_server: Any) -> str:
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = live_server.url
    settings.NEXTCHAT_URL = ORIGIN
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    return str(live_server.url)


@pytest.fixture
def facts(own_address: str, transactional_db: None, add: Callable[..., Document]) -> Facts:
    add("refunds.md", "# Refunds\n\nA refund takes thirty days. Ask at the desk for a form.\n")
    _row, key = ApiKey.issue("test")
    return Facts(
        base=own_address,
        server=own_address,
        key=key,
        collection="docs",
        origin=ORIGIN,
        question="How long does a refund take?",
    )


def told(steps: list[Step]) -> str:
    return "\n".join(f"{step.is_good} {step.title}: {step.told}" for step in steps)


# --- The page ---------------------------------------------------------------------------------


@pytest.mark.parametrize("client", GUIDES)
def test_every_client_has_a_guide_and_a_sequence(
    page: Client, collection: Collection, client: str
) -> None:
    text = page.get(reverse("admin:connect"), {"client": client}).content.decode()
    assert client in CLIENTS
    assert str(GUIDES[client].about) in text
    assert "Make a key" in text


def test_a_key_is_made_once_and_filled_in(page: Client, collection: Collection) -> None:
    url = f"{reverse('admin:connect')}?client=nextchat"
    assert NO_KEY in page.get(url).content.decode()
    response = page.post(url)
    key = response.context["issued_key"]
    row = ApiKey.objects.all().authenticate(key)
    assert row is not None
    assert ApiKey.objects.get(pk=row.pk).name == "NextChat"
    text = response.content.decode()
    assert f"OPENAI_API_KEY={key}" in text
    assert NO_KEY not in text
    assert key not in page.get(url).content.decode()


def test_without_a_right_no_key_is_made(client: Client, collection: Collection) -> None:
    viewer = User.objects.create_user("viewer", password="x", is_staff=True)
    client.force_login(viewer)
    url = reverse("admin:connect")
    assert client.get(url).status_code == 403
    assert client.post(reverse("admin:connect_test"), {"client": "code"}).status_code == 403
    viewer.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    assert client.get(url).status_code == 200
    assert client.post(url).status_code == 403
    assert not ApiKey.objects.exists()


def test_an_unknown_client_is_a_clear_400(page: Client, collection: Collection) -> None:
    assert page.get(reverse("admin:connect"), {"client": "x"}).status_code == 400
    assert page.post(reverse("admin:connect_test"), {"client": "x"}).status_code == 400


def test_it_works_before_there_is_a_collection(page: Client) -> None:
    for client in GUIDES:
        assert page.get(reverse("admin:connect"), {"client": client}).status_code == 200


def test_another_collection_is_another_model(page: Client, collection: Collection) -> None:
    Collection.objects.create(slug="manuals", title="Manuals")
    url = reverse("admin:connect")
    text = page.get(url, {"client": "nextchat", "collection": "manuals"}).content.decode()
    assert "+manuals@OpenAI" in text


def test_who_was_logged_out_is_not_shown_a_login_inside_the_page(client: Client) -> None:
    response = client.post(reverse("admin:connect_test"), {"client": "code"})
    assert (response.status_code, response["HX-Refresh"]) == (204, "true")


# --- The sequences, against a running server --------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("client", ["nextchat", "nextchat-plugin", "mcp", "code"])
def test_what_the_client_does_works(facts: Facts, client: str) -> None:
    steps = rehearse(client, facts)
    assert all(step.is_good for step in steps), told(steps)
    assert len(steps) >= 2


@pytest.mark.django_db(transaction=True)
def test_actions_are_told_that_they_cannot_reach_this_address(facts: Facts) -> None:
    *before, last = rehearse("gpt-actions", facts)
    assert all(step.is_good for step in before)
    assert not last.is_good
    assert "127.0.0.1" in last.told or "localhost" in last.told


@pytest.mark.django_db(transaction=True)
def test_a_missing_model_server_is_named(facts: Facts) -> None:
    (step,) = rehearse("fastchat", facts)
    assert not step.is_good
    assert "KBADMIN_UPSTREAM_URL" in step.told


@pytest.mark.django_db(transaction=True)
def test_an_origin_that_is_not_allowed_is_named(facts: Facts, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = []
    (step,) = rehearse("nextchat-plugin", facts)
    assert f"KBADMIN_CORS_ORIGINS={ORIGIN}" in step.told


@pytest.mark.django_db(transaction=True)
def test_a_key_that_was_revoked_stops_it(facts: Facts) -> None:
    ApiKey.objects.all().delete()
    (step,) = rehearse("code", facts)
    assert "401" in step.told


@pytest.mark.django_db(transaction=True)
def test_an_empty_collection_is_told_to_be_filled(facts: Facts) -> None:
    Document.objects.all().update(deleted_at="2026-01-01T00:00:00Z")
    (step,) = rehearse("code", facts)
    assert "Upload a document" in step.told


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<html>hello</html>", "not JSON"),
        (502, "Bad gateway", "502"),
        (200, "x" * (5 << 20), "larger than 4 MB"),
        (200, '{"data": [{"id": "other"}]}', "not among the models"),
    ],
)
def test_something_else_at_our_address_is_told(status: int, body: str, words: str) -> None:
    with serve() as site:
        site.page("/v1/models", body, status=status)
        (step,) = rehearse("nextchat", Facts(site.url, site.url, "k", "docs", ORIGIN, "q"))
    assert not step.is_good
    assert words in step.told


def test_an_address_where_nobody_listens_is_told() -> None:
    (step,) = rehearse("code", Facts("http://127.0.0.1:9", "", "k", "docs", ORIGIN, "q"))
    assert "KBADMIN_PUBLIC_URL" in step.told


# --- In a browser -----------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_connecting_a_program(tab: Page, own_address: str, add: Callable[..., Document]) -> None:
    add("refunds.md", "# Refunds\n\nA refund takes thirty days. Ask at the desk for a form.\n")
    tab.goto(f"{own_address}/admin/")
    tab.get_by_role("link", name="Connect").click()
    tab.get_by_role("link", name="MCP").click()
    tab.get_by_role("button", name="Make a key").click()
    key = tab.locator("#issued-key").inner_text()
    expect(tab.locator("#code-1")).to_have_text(f"{own_address}/mcp")
    expect(tab.locator("#code-2")).to_contain_text(key)
    tab.get_by_role("button", name="Play what this client does").click()
    expect(tab.locator(".kb-played-good")).to_have_count(3)
    expect(tab.get_by_text("Everything that this client does works.")).to_be_visible()
    # The key is still there to be copied, and that of the test is gone.
    expect(tab.locator("#issued-key")).to_have_text(key)
    assert ApiKey.objects.count() == 1
