"""static/feedback.js on a page of somebody else's."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from plugin.links import vote_link, vote_token
from retrieval.models import Feedback, Search
from tests import axe
from tests.browser import complaints_of
from tests.kbadmin.test_accessibility import RUN, STILL
from tests.web_server import Site, serve

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Open = Callable[..., Page]


@pytest.fixture
def site(settings: Any, kbadmin: str) -> Iterator[Site]:
    with serve() as site:
        settings.CORS_ALLOWED_ORIGINS = [site.url]
        yield site


@pytest.fixture
def open_page(page: Page, site: Site, kbadmin: str) -> Open:
    def opened(attributes: str, body: str = "{script}", lang: str = "en") -> Page:
        script = f'<script src="{kbadmin}/static/feedback.js" {attributes} defer></script>'
        html = (
            f'<!DOCTYPE html><html lang="{lang}"><meta charset="utf-8"><title>FAQ</title>'
            f'<meta name="color-scheme" content="light dark">'
            f"<main><h1>FAQ</h1>{body.format(script=script)}</main></html>"
        )
        # As strict as a page can be that takes a script from here.
        policy = f"default-src 'none'; script-src {kbadmin}; connect-src {kbadmin}"
        page.goto(site.page("/faq", html, Content_Security_Policy=policy))
        return page

    return opened


def test_a_page_votes_by_the_id_of_a_search(open_page: Open, searches: list[Search]) -> None:
    page = open_page(f'data-query-id="{searches[0].pk}"')
    page.get_by_role("button", name="Not helpful").click()
    page.get_by_label("What would be right?").fill("Sixty days.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    expect(page.get_by_role("textbox")).to_be_hidden()
    page.wait_for_timeout(500)
    row = Feedback.objects.get()
    assert (row.search, row.rating, row.correction) == (searches[0], -1, "Sixty days.")


@pytest.mark.parametrize("whole", [True, False])
def test_a_page_votes_by_a_link_or_its_token(
    open_page: Open, searches: list[Search], whole: bool
) -> None:
    token = (vote_link if whole else vote_token)(str(searches[1].pk), "up")
    page = open_page(f'data-token="{token}"')
    page.get_by_role("button", name="👍 Helpful").click()
    expect(page.get_by_role("status")).to_have_text("Thank you.")
    assert Feedback.objects.get().search == searches[1]
    page.reload()
    pressed = page.get_by_role("button", name="👍 Helpful")
    expect(pressed).to_have_attribute("aria-pressed", "true")


def test_two_answers_on_one_page_are_two_votes(
    open_page: Open, searches: list[Search], kbadmin: str
) -> None:
    first, second = searches
    other = f'<script src="{kbadmin}/static/feedback.js" data-query-id="{second.pk}" defer>'
    page = open_page(
        f'data-query-id="{first.pk}" data-target="#there"',
        '<p>One.</p><div id="there"></div>{script}' + f"<p>Two.</p>{other}</script>",
    )
    page.locator("#there").get_by_role("button", name="👍 Helpful").click()
    expect(page.locator("#there").get_by_role("status")).to_have_text("Thank you.")
    last = page.locator("kbadmin-feedback").last
    last.get_by_role("button", name="Not helpful").click()
    expect(last.get_by_role("status")).to_have_text("Thank you.")
    votes = dict(Feedback.objects.values_list("search", "rating"))
    assert votes == {first.pk: 1, second.pk: -1}


def test_it_speaks_the_language_of_the_page(open_page: Open, searches: list[Search]) -> None:
    page = open_page(f'data-query-id="{searches[0].pk}"', lang="zh-CN")
    expect(page.get_by_role("button", name="没有帮助")).to_be_visible()


def violations(page: Page) -> list[tuple[str, str]]:
    page.evaluate(axe.source_or_skip())
    page.evaluate(STILL)
    return [
        (found["id"], node["html"][:200])
        for found in page.evaluate(RUN)["violations"]
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(open_page: Open, searches: list[Search], scheme: Any) -> None:
    page = open_page(f'data-query-id="{searches[0].pk}"')
    page.emulate_media(color_scheme=scheme)
    page.get_by_role("button", name="👍 Helpful").click()
    page.get_by_role("button", name="What would be right?").click()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "zh-CN"])
def test_the_page_behind_a_vote_link_is_accessible_and_votes_without_scripts(
    browser: Browser, kbadmin: str, searches: list[Search], scheme: Any, lang: str
) -> None:
    context = browser.new_context(locale=lang, color_scheme=scheme)
    page = context.new_page()
    complaints = complaints_of(page)
    page.goto(vote_link(str(searches[0].pk), "down"))
    assert violations(page) == []
    page.locator("#correction").fill("Sixty days.")
    page.locator("button[type=submit]").click()
    page.locator(".done").wait_for()
    assert violations(page) == []
    context.close()
    assert complaints == []
    row = Feedback.objects.get()
    assert (row.rating, row.correction, row.channel) == (-1, "Sixty days.", "link")


def test_it_is_served_to_every_origin() -> None:
    response = Client().get("/static/feedback.js", headers={"Origin": "https://faq.example"})
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == "*"
    assert response["Content-Type"].startswith("text/javascript")


def test_without_an_answer_it_shows_nothing(open_page: Open, searches: list[Search]) -> None:
    page = open_page("")
    assert page.evaluate("typeof kbadminFeedback.create") == "function"
    expect(page.locator("kbadmin-feedback")).to_have_count(0)
