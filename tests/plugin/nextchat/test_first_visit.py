"""An empty browser profile opens NextChat: what it fetches, keeps and calls, step by step."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from playwright.sync_api import Page, expect

from plugin.links import source_link
from plugin.nextchat.files import id_of
from retrieval.models import Document, Search
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.browser import complaints_of
from tests.plugin.nextchat.standin import StandIn
from tests.plugin.nextchat.test_any_page import violations

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: As app/store/plugin.ts and app/masks/index.ts do it; a schema that cannot be fetched is dropped.
OPEN = """
async (known) => {
  const listed = await (await fetch("./plugins.json")).json();
  const plugins = [];
  for (const item of listed) {
    if (known.includes(item.id)) continue;
    try {
      plugins.push({ ...item, content: await (await fetch(item.schema)).text() });
    } catch {
      continue;
    }
  }
  const { cn = [], tw = [], en = [] } = await (await fetch("/masks.json")).json();
  const masks = [...cn, ...tw, ...en].map((mask, at) => ({ ...mask, id: 100000 + at }));
  return { plugins, mask: masks.find((mask) => mask.id === 100000) };
}
"""
#: As its tools are made of a document, and called.
CALL = """
async ({ plugin, name, body }) => {
  const spec = JSON.parse(plugin.content);
  const tools = Object.entries(spec.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })));
  const tool = tools.find((one) => one.operationId === name);
  const headers = { "Content-Type": "application/json", "X-Base-URL": spec.servers[0].url };
  if (plugin.authType === "bearer") headers.Authorization = `Bearer ${plugin.authToken}`;
  headers["X-API-Key"] = "lost on the way";
  const response = await fetch(`/api/proxy${tool.path}`, {
    method: tool.method.toUpperCase(), headers, body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`AxiosError: Request failed with status ${response.status}`);
  return response.json();
}
"""
ANSWERS = {
    "refunds.md": "# Refunds\n\nA refund may take thirty days. Ask the desk for a form.\n",
    "hours.md": "# Hours\n\nThe desk is open from nine to five, on Fridays until noon.\n",
}


@pytest.fixture
def documents(add: Callable[..., Document]) -> None:
    for name, text in ANSWERS.items():
        add(name, text)


def opened(page: Page, nextchat: StandIn, known: list[str]) -> Any:
    page.goto(nextchat.url)
    # Once its service worker is there, NextChat loads itself anew.
    page.wait_for_function("navigator.serviceWorker.controller")
    page.wait_for_load_state("load")
    return page.evaluate(OPEN, known)


def test_the_knowledge_base_is_on_and_answers(
    documents: None, page: Page, nextchat: StandIn, settings: Any
) -> None:
    call_command("nextchat_files", str(nextchat.public), "--with-key")
    first = opened(page, nextchat, [])
    (plugin,) = first["plugins"]
    assert first["mask"]["plugin"] == [plugin["id"]]
    assert first["mask"]["modelConfig"]["providerName"] == "OpenAI"

    def tool(name: str, **body: Any) -> Any:
        return page.evaluate(CALL, {"plugin": plugin, "name": name, "body": body})

    found = tool("search", query="How long may a refund take?")
    assert "thirty days" in found["results"][0]["text"]
    target, headers = nextchat.sent[-1]
    assert target == f"{settings.PLUGIN_SERVER_URL}/nextchat/search"
    assert not [name for name in headers if name.startswith("x-")]

    read = tool("fetchPassage", chunk_id=found["results"][0]["chunk_id"])
    assert "Ask the desk" in read["text"]
    mistaken = tool("search", query="x", collection="nope")
    assert "docs" in mistaken["what_to_do"]
    told = tool("submitFeedback", query_id=found["feedback_up"], rating="up")
    assert told["status"] == "recorded"
    assert Search.objects.filter(channel="nextchat").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_source_of_an_answer_opens_where_it_stands(
    documents: None, page: Page, kbadmin: str, scheme: Any
) -> None:
    hit = search(SearchRequest(query="How long may a refund take?", collection="docs")).hits[0]
    complaints = complaints_of(page)
    page.emulate_media(color_scheme=scheme)
    page.goto(source_link(hit))
    expect(page.locator("#quoted")).to_contain_text("thirty days")
    expect(page.locator("#quoted")).to_be_in_viewport()
    assert violations(page) == []
    damaged = page.url.split("#")[0][:-1]
    assert complaints == []
    page.goto(damaged)
    expect(page.get_by_role("heading")).to_have_text("This link does not work")
    assert violations(page) == []


def test_a_browser_that_knows_the_plugin_learns_of_a_new_document_only(
    transactional_db: None, page: Page, nextchat: StandIn, settings: Any
) -> None:
    call_command("nextchat_files", str(nextchat.public))
    (plugin,) = opened(page, nextchat, [])["plugins"]
    assert opened(page, nextchat, [plugin["id"]])["plugins"] == []
    settings.PLUGIN_SERVER_URL = "http://elsewhere:8001"
    assert id_of() != plugin["id"]
    call_command("nextchat_files", str(nextchat.public))
    (changed,) = opened(page, nextchat, [plugin["id"]])["plugins"]
    assert "http://elsewhere:8001/nextchat" in changed["content"]


def test_without_its_origin_among_the_allowed_nothing_is_installed(
    transactional_db: None, page: Page, nextchat: StandIn, settings: Any
) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["http://another.example"]
    call_command("nextchat_files", str(nextchat.public))
    assert opened(page, nextchat, [])["plugins"] == []


def test_a_wrong_key_is_all_that_reaches_the_model_as_a_bare_status(
    transactional_db: None, page: Page, nextchat: StandIn
) -> None:
    call_command("nextchat_files", str(nextchat.public))
    (plugin,) = opened(page, nextchat, [])["plugins"]
    with pytest.raises(Exception, match="status 401"):
        page.evaluate(CALL, {"plugin": plugin, "name": "search", "body": {"query": "x"}})
