"""The buttons below NextChat's answers, in a real Chromium, from another origin than kbadmin's."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from playwright.sync_api import Browser, Page, expect

from plugin.links import vote_link
from retrieval.models import Feedback, Search
from tests.browser import complaints_of
from tests.plugin.nextchat.standin import StandIn

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Show = Callable[..., None]


def asked(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text, "date": "11/22/2026, 9:00:00 PM"}


def answered(text: str, query_id: object = None, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "date": "11/22/2026, 9:00:01 PM", **more}
    if query_id:
        content = json.dumps({"query_id": str(query_id), "results": []})
        message["tools"] = [{"id": "1", "function": {"name": "search"}, "content": content}]
    return message


@pytest.fixture
def chat(page: Page, nextchat: StandIn) -> Page:
    call_command("nextchat_files", str(nextchat.public))
    page.goto(nextchat.url)
    # Once a service worker is there NextChat's pages are loaded anew, and so are these.
    page.wait_for_function("navigator.serviceWorker.controller")
    page.wait_for_load_state("load")
    return page


@pytest.fixture
def show(chat: Page) -> Show:
    return lambda *messages: chat.evaluate("messages => show(messages)", list(messages))


def buttons(page: Page) -> Any:
    return page.locator("kbadmin-feedback")


def vote(host: Any, name: str) -> None:
    host.get_by_role("button", name=name, exact=False).first.click()
    expect(host.get_by_role("status")).to_have_text("Thank you.")


def test_they_stand_once_below_each_answer_of_the_knowledge_base(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    first, second = searches
    show(
        answered("Hello! How can I help you?"),
        asked("one"),
        answered("Thirty days [1].", first.pk),
        asked("two"),
        answered("I made this up."),
        asked("three"),
        answered(f"At the gate. [👍 Yes]({vote_link(str(second.pk), 'up')})"),
    )
    expect(buttons(chat)).to_have_count(2)
    chat.wait_for_timeout(3000)
    expect(buttons(chat)).to_have_count(2)
    before = buttons(chat).evaluate_all("all => all.map(e => e.previousElementSibling.innerText)")
    assert [text.strip() for text in before] == ["Thirty days [1].", "At the gate. 👍 Yes"]


def test_a_vote_and_what_would_be_right_arrive(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    show(asked("one"), answered("Thirty days.", searches[0].pk))
    vote(buttons(chat), "Helpful")
    row = Feedback.objects.get()
    assert (row.search, row.rating, row.channel) == (searches[0], 1, "button")

    buttons(chat).get_by_role("button", name="What would be right?").click()
    buttons(chat).get_by_label("What would be right?").fill("Sixty <b>days</b>.")
    buttons(chat).get_by_role("button", name="Send").click()
    expect(buttons(chat).get_by_role("textbox")).to_be_hidden()
    expect(buttons(chat).get_by_role("status")).to_have_text("Thank you.")
    chat.wait_for_timeout(500)
    row = Feedback.objects.get()
    assert (row.rating, row.correction) == (1, "Sixty <b>days</b>.")


def test_the_second_of_two_quick_clicks_counts(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    show(asked("one"), answered("Thirty days.", searches[0].pk))
    up, down = (buttons(chat).locator(".vote").nth(number) for number in (0, 1))
    up.click()
    down.click()
    expect(down).to_have_attribute("aria-pressed", "true")
    expect(up).to_have_attribute("aria-pressed", "false")
    expect(buttons(chat).get_by_role("textbox")).to_be_focused()
    chat.keyboard.press("Escape")
    expect(buttons(chat).get_by_role("textbox")).to_be_hidden()
    chat.wait_for_timeout(1000)
    assert Feedback.objects.get().rating == -1


def test_a_vote_by_the_visible_link_is_a_vote_on_that_answer(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    show(asked("one"), answered(f"At the gate. [👎 No]({vote_link(str(searches[1].pk), 'down')})"))
    vote(buttons(chat), "Helpful")
    row = Feedback.objects.get()
    assert (row.search, row.rating) == (searches[1], 1)


def test_what_is_typed_and_chosen_outlives_nextchats_drawing(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    messages = [asked("one"), answered("Thirty days.", searches[0].pk)]
    show(*messages)
    vote(buttons(chat), "Not helpful")
    buttons(chat).get_by_role("textbox").fill("Sixty")
    for redraw in (lambda: chat.evaluate("redraw()"), lambda: show(*messages)):
        redraw()
        chat.wait_for_timeout(1500)
        expect(buttons(chat)).to_have_count(1)
        expect(buttons(chat).get_by_role("textbox")).to_have_value("Sixty")
    chat.reload()
    show(*messages)
    expect(buttons(chat).locator(".vote").nth(1)).to_have_attribute("aria-pressed", "true")


def test_an_answer_that_still_streams_gets_them_when_it_is_done(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    show(asked("one"), answered("Thirty", searches[0].pk, streaming=True))
    chat.wait_for_timeout(1500)
    expect(buttons(chat)).to_have_count(0)
    show(asked("one"), answered("Thirty days.", searches[0].pk, streaming=False))
    expect(buttons(chat)).to_have_count(1)


def test_older_answers_that_are_not_drawn_confuse_nothing(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    first, second = searches
    show(
        asked("one"),
        answered("Same words.", first.pk, date="11/22/2026, 9:00:01 PM"),
        asked("two"),
        answered("Same words.", second.pk, date="11/22/2026, 9:07:01 PM"),
    )
    expect(buttons(chat)).to_have_count(2)
    # Only the older half is on the page, as after scrolling up.
    chat.evaluate("[...document.querySelector('main').children].slice(2).forEach(e => e.remove())")
    chat.evaluate("redraw()")
    expect(buttons(chat)).to_have_count(1)
    vote(buttons(chat), "Helpful")
    assert Feedback.objects.get().search == first


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_they_take_the_colours_of_the_theme(
    chat: Page, show: Show, searches: list[Search], theme: str
) -> None:
    chat.evaluate("theme => { document.body.className = theme }", theme)
    show(asked("one"), answered("Thirty days.", searches[0].pk))
    colours = (
        buttons(chat)
        .locator(".right")
        .evaluate("e => [getComputedStyle(e).color, getComputedStyle(document.body).color]")
    )
    assert colours[0] == colours[1]


def test_they_speak_the_language_that_nextchat_is_set_to(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    chat.evaluate("localStorage.setItem('lang', 'cn')")
    show(asked("一"), answered("三十天。", searches[0].pk))
    expect(buttons(chat).get_by_role("button", name="没有帮助")).to_be_visible()
    expect(buttons(chat).get_by_role("button", name="正确答案是什么")).to_be_visible()


def test_a_vote_that_cannot_be_sent_says_so_and_can_be_sent_again(
    chat: Page, show: Show, searches: list[Search], settings: Any, nextchat: StandIn
) -> None:
    settings.CORS_ALLOWED_ORIGINS = []
    link = vote_link(str(searches[0].pk), "up")
    show(asked("one"), answered(f"Thirty days. [👍 Yes]({link})"))
    buttons(chat).locator(".vote").first.click()
    expect(buttons(chat).get_by_role("status")).to_contain_text("could not be sent")
    expect(buttons(chat).get_by_role("link", name="Vote on a page")).to_have_attribute("href", link)
    assert Feedback.objects.count() == 0
    settings.CORS_ALLOWED_ORIGINS = [nextchat.url]
    # The browser remembers for a while what it may not do; another page asks anew.
    buttons(chat).get_by_role("button", name="Try again").click()
    expect(buttons(chat).get_by_role("status")).to_have_text("Thank you.", timeout=20_000)
    assert Feedback.objects.get().rating == 1


def test_a_search_that_is_gone_takes_no_votes(
    chat: Page, show: Show, searches: list[Search]
) -> None:
    show(asked("one"), answered("Thirty days.", searches[0].pk))
    expect(buttons(chat)).to_have_count(1)
    Search.objects.all().delete()
    buttons(chat).locator(".vote").first.click()
    expect(buttons(chat).get_by_role("status")).to_contain_text("no longer taken")


def test_nextchats_own_store_is_left_to_nextchat(chat: Page, searches: list[Search]) -> None:
    """A store that this script made would lack what NextChat looks for in it."""
    chat.evaluate("document.querySelector('main').append(draw({role: 'assistant', content: 'x'}))")
    chat.wait_for_timeout(1500)
    assert chat.evaluate("indexedDB.databases().then(all => all.length)") == 0


def test_nextchats_service_worker_is_registered_and_nothing_complains(
    browser: Browser, nextchat: StandIn
) -> None:
    call_command("nextchat_files", str(nextchat.public))
    context = browser.new_context()
    tab = context.new_page()
    complaints = complaints_of(tab)
    tab.goto(nextchat.url)
    tab.wait_for_function("navigator.serviceWorker.controller")
    tab.wait_for_load_state("load")
    tab.wait_for_function("window._SW_ENABLED")
    script = tab.evaluate("navigator.serviceWorker.controller.scriptURL")
    assert script == f"{nextchat.url}/serviceWorker.js"
    context.close()
    assert [text for text in complaints if "favicon" not in text and "404" not in text] == []
