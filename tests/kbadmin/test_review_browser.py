"""The queue in a real Chromium, by keyboard."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from retrieval.models import Collection, ReviewItem, ReviewQuestion
from tests.kbadmin.test_browser import browser, log_in, tab
from tests.kbadmin.test_review import make, told

__all__ = ["browser", "tab", "told"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def three(collection: Collection) -> list[ReviewItem]:
    return [
        make(collection, text, harm=3 - place)
        for place, text in enumerate(("First?", "Second?", "Third?"))
    ]


def test_the_queue_is_worked_through_by_keyboard(
    tab: Page, live_server: Any, boss: User, three: list[ReviewItem]
) -> None:
    first, second, third = three
    tab.goto(f"{live_server.url}/admin/")
    tab.keyboard.press("g")
    tab.keyboard.press("f")
    tab.wait_for_url("**/admin/review/")
    links = tab.locator(".kb-review-row a.kb-name")
    tab.keyboard.press("j")
    expect(links.nth(0)).to_be_focused()
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    tab.keyboard.press("k")
    expect(links.nth(1)).to_be_focused()
    tab.keyboard.press("r")
    expect(tab.get_by_text("1 question was rejected.")).to_be_visible()
    second.refresh_from_db()
    assert second.state == "rejected"
    # The next one took its place.
    expect(tab.locator(".kb-review-row")).to_have_count(2)
    expect(links.nth(1)).to_be_focused()
    tab.get_by_role("button", name="Undo").click()
    expect(tab.locator(".kb-review-row")).to_have_count(3)

    tab.keyboard.press("j")
    tab.keyboard.press("x")
    expect(tab.locator(".kb-review-row").first).to_contain_text("boss")
    first.refresh_from_db()
    assert first.assignee == boss
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/admin/review/{first.pk}/")
    tab.keyboard.press("j")
    tab.wait_for_url(f"**/admin/review/{second.pk}/")
    tab.keyboard.press("n")
    expect(tab.locator("#id_notes")).to_be_focused()
    tab.keyboard.type("jrx: only typed")
    expect(tab.locator("#id_notes")).to_have_value("jrx: only typed")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_text("Saved.")).to_be_visible()
    second.refresh_from_db()
    assert (second.state, second.notes) == ("open", "jrx: only typed")
    third.refresh_from_db()
    assert third.state == "open"


def test_keys_are_told_and_do_nothing_while_somebody_types(
    tab: Page, live_server: Any, three: list[ReviewItem]
) -> None:
    tab.goto(f"{live_server.url}/admin/review/")
    tab.keyboard.press("/")
    expect(tab.locator("#searchbar")).to_be_focused()
    tab.keyboard.type("rx")
    expect(tab.locator("#searchbar")).to_have_value("rx")
    tab.locator("#searchbar").blur()
    tab.keyboard.press("?")
    dialog = tab.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("Assign to me")
    tab.keyboard.press("r")
    tab.keyboard.press("Escape")
    assert not ReviewItem.objects.exclude(state="open").exists()


def test_several_are_marked_and_rejected_at_once(
    tab: Page, live_server: Any, three: list[ReviewItem]
) -> None:
    tab.goto(f"{live_server.url}/admin/review/")
    tab.get_by_label("Mark all on this page").check()
    tab.get_by_label("Mark: Second?").uncheck()
    tab.locator("#id_reason").select_option("not_ours")
    tab.get_by_role("button", name="Reject").click()
    expect(tab.get_by_text("2 questions were rejected.")).to_be_visible()
    expect(tab.locator(".kb-review-row")).to_have_count(1)


def test_two_are_made_one_and_one_two_again(
    tab: Page, live_server: Any, three: list[ReviewItem]
) -> None:
    for item in three:
        ReviewQuestion.objects.create(
            item=item, collection=item.collection, key=str(item.pk), text=item.question, asked=1
        )
    tab.goto(f"{live_server.url}/admin/review/")
    for key in "jmjmc":
        tab.keyboard.press(key)
    expect(tab.get_by_text("These are one question now: First?")).to_be_visible()
    expect(tab.locator(".kb-review-row")).to_have_count(2)
    tab.get_by_role("link", name="Open it").click()
    tab.get_by_role("group").filter(has_text="Second?").locator("summary").click()
    tab.get_by_role("button", name="Make it a question of its own").locator("visible=true").click()
    expect(tab.get_by_text("This is a question of its own now: Second?")).to_be_visible()
    tab.get_by_role("link", name="Open it").click()
    expect(tab.locator(".kb-question")).to_have_text("Second?")


def test_a_correction_stands_beside_the_answer_without_scripts(
    browser: Browser, live_server: Any, boss: User, told: ReviewItem
) -> None:
    context = browser.new_context(locale="en", java_script_enabled=False)
    page = context.new_page()
    log_in(page, live_server.url)
    page.goto(f"{live_server.url}/admin/review/")
    page.get_by_role("link", name="Where is the key?").click()
    expect(page.locator(".kb-review-compared del").first).to_have_text("in")
    expect(page.locator(".kb-review-compared ins").first).to_have_text("below")
    page.locator("#id_reason").select_option("outdated")
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("1 question was rejected.")).to_be_visible()
    told.refresh_from_db()
    assert (told.state, told.reason) == ("rejected", "outdated")
    context.close()
