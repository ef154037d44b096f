"""The map of the embeddings in a real Chromium: hover, click, keyboard, legend."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Position, expect

from retrieval.models import Chunk, Index, IndexReport, Worker
from tests.kbadmin.conftest import make_report
from tests.kbadmin.test_browser import browser, tab  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Fill = Callable[..., list[Chunk]]
#: Where the script draws the point of some number, in pixels of the canvas.
PLACE = """async (canvas, number) => {
  const answer = await (await fetch(document.getElementById("kb-map").dataset.points)).json();
  const xs = answer.points.map((p) => p.x), ys = answer.points.map((p) => p.y);
  const span = (all) => Math.max(...all) - Math.min(...all) || 1;
  const point = answer.points[number];
  return [
    16 + ((point.x - Math.min(...xs)) / span(xs)) * (canvas.clientWidth - 32),
    canvas.clientHeight - 16
      - ((point.y - Math.min(...ys)) / span(ys)) * (canvas.clientHeight - 32),
  ];
}"""


@pytest.fixture
def shown(tab: Page, live_server: Any, index: Index, fill: Fill) -> list[Chunk]:  # noqa: F811
    chunks = fill(documents=5)
    make_report(index, IndexReport.Kind.MAP)
    tab.goto(f"{live_server.url}/admin/collections/{index.collection_id}/inspector/map/")
    expect(tab.locator("#kb-map[data-ready]")).to_be_visible()
    return chunks


def place(canvas: Locator, number: int) -> Position:
    x, y = canvas.evaluate(PLACE, number)
    return {"x": x, "y": y}


def test_a_point_shows_its_text_and_opens_its_record(
    tab: Page,  # noqa: F811
    shown: list[Chunk],
) -> None:
    canvas, tip = tab.locator("#map-canvas"), tab.locator("#map-tip")
    expect(tip).to_be_hidden()
    canvas.hover(position=place(canvas, 2))
    expect(tip).to_contain_text(shown[2].text)
    tab.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    canvas.click(position=place(canvas, 2))
    tab.wait_for_url(f"**/inspector/record/?id={shown[2].pk}")
    expect(tab.locator(".kb-text").first).to_contain_text(shown[2].text)


def test_the_keyboard_goes_from_point_to_point(
    tab: Page,  # noqa: F811
    shown: list[Chunk],
) -> None:
    tab.locator("#map-canvas").focus()
    tab.keyboard.press("ArrowRight")
    said = tab.locator("#map-said")
    expect(said).to_contain_text("says of apples")
    first = said.text_content()
    seen = {first}
    for key in ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"):
        tab.keyboard.press(key)
        seen.add(said.text_content())
    assert len(seen) > 1
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/inspector/record/?id=*")


def test_the_legend_picks_a_group_out(tab: Page, shown: list[Chunk]) -> None:  # noqa: F811
    entries = tab.locator("#map-legend button")
    expect(entries).to_have_count(5)
    tab.select_option("#map-by", "source")
    expect(entries).to_have_count(1)
    tab.select_option("#map-by", "document")
    expect(entries).to_have_count(5)
    canvas, tip = tab.locator("#map-canvas"), tab.locator("#map-tip")
    entry = entries.filter(has_text=str(shown[1].document))
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "true")
    canvas.hover(position=place(canvas, 2))
    expect(tip).to_be_hidden()
    canvas.hover(position=place(canvas, 1))
    expect(tip).to_contain_text(shown[1].text)


def test_a_report_is_watched_until_it_is_there(
    tab: Page,  # noqa: F811
    live_server: Any,
    index: Index,
    fill: Fill,
) -> None:
    fill()
    Worker.objects.create(name="w", host="h", pid=1)
    tab.goto(f"{live_server.url}/admin/collections/{index.collection_id}/inspector/quality/")
    tab.get_by_role("button", name="Run").click()
    expect(tab.get_by_text("Waiting for a worker")).to_be_visible()
    make_report(index, IndexReport.Kind.QUALITY)
    expect(tab.get_by_role("button", name="Run again")).to_be_visible()
    expect(tab.get_by_text("Nothing is wrong with any of them.")).to_be_visible()


def test_no_page_of_the_inspector_complains(
    tab: Page,  # noqa: F811
    live_server: Any,
    index: Index,
    shown: list[Chunk],
) -> None:
    root = f"{live_server.url}/admin/collections/{index.collection_id}/inspector/"
    for path in ("", f"record/?id={shown[0].pk}", "differences/", "quality/", "map/?from=0"):
        for width in (1440, 390):
            tab.set_viewport_size({"width": width, "height": 900})
            response = tab.goto(root + path)
            assert response is not None
            assert response.status == 200
            wider = "document.documentElement.scrollWidth - window.innerWidth"
            assert tab.evaluate(wider) <= 0, f"{path} is wider than {width} pixels"


def test_without_scripts_the_map_is_a_list(
    browser: Browser,  # noqa: F811
    live_server: Any,
    tab: Page,  # noqa: F811
    index: Index,
    shown: list[Chunk],
) -> None:
    context = browser.new_context(
        java_script_enabled=False, storage_state=tab.context.storage_state()
    )
    plain = context.new_page()
    root = f"{live_server.url}/admin/collections/{index.collection_id}/inspector/"
    plain.goto(f"{root}map/")
    plain.get_by_text("The points as a list").click()
    plain.get_by_role("link", name=str(shown[0].document)).click()
    assert plain.url == f"{root}record/?id={shown[0].pk}"
    context.close()
