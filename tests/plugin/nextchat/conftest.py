"""kbadmin and NextChat at two origins, and a browser in front of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from plugin.openapi import generated
from retrieval.models import Collection, EmbeddingModel, Search
from tests.kbadmin.test_browser import browser
from tests.plugin.nextchat.standin import StandIn, standing_in

__all__ = ["browser"]


@pytest.fixture
def kbadmin(live_server: Any, settings: Any) -> str:
    url = str(live_server.url)
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = url
    settings.CORS_ALLOWED_ORIGINS = []
    generated.cache_clear()
    return url


@pytest.fixture
def nextchat(kbadmin: str, settings: Any, tmp_path: Path) -> Iterator[StandIn]:
    with standing_in(tmp_path / "public") as chat:
        settings.NEXTCHAT_URL = chat.url
        settings.CORS_ALLOWED_ORIGINS = [chat.url]
        yield chat


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(locale="en-US")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.set_default_timeout(10_000)
    return page


@pytest.fixture
def searches(transactional_db: None) -> list[Search]:
    """Two searches that were answered: a vote needs no more."""
    model = EmbeddingModel.objects.create(
        name="m", revision="1", runtime="onnx", dimension=3, max_tokens=9
    )
    docs = Collection.objects.create(slug="docs", title="Docs", embedding_model=model)
    return [
        Search.objects.create(
            collection=docs, query=question, channel="nextchat", top_k=4, confidence="high"
        )
        for question in ("How long may a refund take?", "Where is lost property?")
    ]
