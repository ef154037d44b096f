"""Each client's own sequence, played against a running server, and its faults told."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from plugin.rehearsal import Facts, Step, rehearse
from retrieval.models import ApiKey, Document
from tests.kbadmin.test_browser import browser, tab
from tests.web_server import serve

__all__ = ["browser", "tab"]

ORIGIN = "http://localhost:3000"


@pytest.fixture
def boss(transactional_db: None) -> User:
    return User.objects.create_superuser("boss", password="a long password")


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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["nextchat", "nextchat-plugin", "mcp", "code"])
def test_what_the_client_does_works(facts: Facts, name: str) -> None:
    steps = rehearse(name, facts)
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
