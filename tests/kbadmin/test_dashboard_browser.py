"""The charts of the first page as a browser draws them, and what stands there without."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from retrieval import usage
from retrieval.models import Document, Feedback, Search
from tests.kbadmin.test_browser import browser, log_in, tab

__all__ = ["browser", "tab"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: The opaque colours of a chart; the edges of what is drawn are half transparent.
COLOURS = """canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let at = 0; at < pixels.length; at += 4)
        if (pixels[at + 3] === 255) seen.add(pixels.slice(at, at + 3).join());
    return [...seen];
}"""


@pytest.fixture
def asked(add: Callable[..., Document]) -> None:
    document = add()
    for days_ago in range(20):
        for confidence in Search.Confidence.values:
            search = Search.objects.create(
                collection=document.collection,
                query="How are refunds paid?",
                channel="api",
                top_k=4,
                confidence=confidence,
                result_count=1,
                results=[{"document_id": document.pk}],
                total_ms=20 + days_ago,
            )
            Search.objects.filter(pk=search.pk).update(
                created_at=timezone.now() - timedelta(days=days_ago)
            )


def colours(tab: Page, chart: str) -> set[str]:
    return set(tab.locator(f"canvas[data-chart={chart}]").evaluate(COLOURS))


def test_the_charts_are_drawn_in_the_colours_of_the_theme(
    tab: Page, live_server: Any, asked: None
) -> None:
    tab.emulate_media(color_scheme="light")
    tab.goto(f"{live_server.url}/admin/")
    light = {chart: colours(tab, chart) for chart in ("searches", "latency")}
    assert len(light["searches"]) >= 3
    assert len(light["latency"]) >= 2
    # From the system's theme to the light one, and on to the dark one.
    tab.keyboard.press("Control+e")
    expect(tab.locator("html")).to_have_class("light")
    tab.keyboard.press("Control+e")
    expect(tab.locator("html")).to_have_class("dark")
    tab.wait_for_timeout(100)
    for chart, before in light.items():
        assert len(colours(tab, chart)) >= 2
        assert not colours(tab, chart) & before


def test_satisfaction_is_drawn(tab: Page, live_server: Any, asked: None) -> None:
    collection = Document.objects.get().collection
    for rating in (1, -1):
        Feedback.objects.create(collection=collection, question="q", channel="api", rating=rating)
    tab.goto(f"{live_server.url}/admin/")
    assert len(colours(tab, "satisfaction")) >= 1


def test_a_range_is_chosen_without_leaving_the_page(
    tab: Page, live_server: Any, asked: None
) -> None:
    tab.goto(f"{live_server.url}/admin/")
    number = tab.locator("#kb-usage .kb-figure-number").first
    expect(number).to_have_text("60")
    tab.evaluate("window.stayed = true")
    tab.get_by_role("link", name="7 days").click()
    expect(number).to_have_text("21")
    expect(tab.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    assert len(colours(tab, "searches")) >= 3
    day = (usage.today() - timedelta(days=3)).isoformat()
    tab.get_by_label("From").fill(day)
    tab.get_by_label("To", exact=True).fill(day)
    tab.get_by_role("button", name="Show").click()
    expect(number).to_have_text("3")
    assert f"first={day}" in tab.url
    assert tab.evaluate("window.stayed")


def test_without_scripts_the_numbers_are_a_table(
    browser: Browser, live_server: Any, boss: User, asked: None
) -> None:
    context = browser.new_context(java_script_enabled=False, locale="en")
    tab = context.new_page()
    log_in(tab, live_server.url)
    expect(tab.locator("canvas").first).to_be_hidden()
    tab.get_by_text("The same as a table").click()
    expect(tab.get_by_role("table").get_by_role("row")).to_have_count(21)
    tab.get_by_role("link", name="7 days").click()
    expect(tab.locator("#kb-usage .kb-figure-number").first).to_have_text("21")
    context.close()
