"""The plugin doctor in a real Chromium."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from tests.kbadmin.test_browser import browser, log_in, tab
from tests.kbadmin.test_doctor import manifest, site
from tests.web_server import Site

__all__ = ["browser", "site", "tab"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_plugin_is_checked_mended_and_checked_again(
    tab: Page,
    live_server: Any,
    site: Site,
) -> None:
    tab.goto(f"{live_server.url}/admin/")
    tab.get_by_role("link", name="Plugin doctor").click()
    tab.get_by_label("Address", exact=True).last.fill(f"{site.url}/ai-plugin.json")
    tab.get_by_role("button", name="Check", exact=True).click()
    expect(tab.get_by_role("heading", name="to mend")).to_be_in_viewport()
    expect(tab.locator(".kb-findings").first).to_contain_text("KB101 logo-url-case")
    expect(tab.locator("img.kb-preview-logo")).to_have_count(2)
    width = tab.locator("img.kb-preview-logo").first.evaluate("image => image.naturalWidth")
    assert width > 0
    tab.locator(".kb-exchange summary", has_text="Preflight").click()
    expect(tab.locator(".kb-exchange[open] pre")).to_contain_text(f"OPTIONS {site.url}/search")

    mended = tab.locator("#kb-mended-text-manifest").inner_text()
    assert f"{site.url}/logo.png" in mended
    tab.locator(".kb-kind", has_text="Text").click()
    expect(tab.get_by_label("Address", exact=True).last).to_be_hidden()
    tab.locator("#id_text").fill(mended)
    tab.get_by_role("button", name="Check", exact=True).click()
    expect(tab.locator(".kb-doctor-head")).to_contain_text("pasted text")
    expect(tab.get_by_text("KB101")).to_have_count(0)
    expect(tab.locator("#id_text")).to_have_value(mended)


def test_the_kinds_are_chosen_by_keyboard(
    tab: Page,
    live_server: Any,
) -> None:
    tab.goto(f"{live_server.url}/admin/plugin-doctor/")
    tab.locator("[name=kind][value=url]").focus()
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("#id_text")).to_be_visible()
    tab.keyboard.press("ArrowLeft")
    expect(tab.locator("#id_text")).to_be_hidden()


def test_it_works_without_scripts(
    browser: Browser,
    live_server: Any,
    boss: User,
) -> None:
    context = browser.new_context(locale="en", java_script_enabled=False)
    page = context.new_page()
    log_in(page, live_server.url)
    page.goto(f"{live_server.url}/admin/plugin-doctor/")
    page.locator(".kb-kind", has_text="Text").click()
    page.locator("#id_text").fill(manifest().replace('"v1",', '"v1",,'))
    page.get_by_label("Ask the servers too").uncheck()
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.locator(".kb-findings").first).to_contain_text("line 2, column 26")
    page.get_by_role("link", name="Done in the mended text").click()
    expect(page.locator("#kb-mended-manifest")).to_be_in_viewport()
    context.close()


def test_checks_are_found_again_and_compared(tab: Page, live_server: Any, site: Site) -> None:
    address = f"{live_server.url}/admin/plugin-doctor/"
    for logo in ("/logo.png", "/Logo.png"):
        status, headers, body = site.pages["/ai-plugin.json"]
        changed = body.replace(b"/Logo.png", logo.encode()).replace(b"/logo.png", logo.encode())
        site.pages["/ai-plugin.json"] = (status, headers, changed)
        tab.goto(address)
        tab.get_by_label("Address", exact=True).last.fill(f"{site.url}/ai-plugin.json")
        tab.get_by_role("button", name="Check", exact=True).click()
        expect(tab.locator("#kb-report-title")).to_be_in_viewport()
    tab.goto(address)
    first = tab.locator("#kb-checks .kb-row").first
    expect(first).to_contain_text("+1 −0")
    first.locator(".kb-check-change").click()
    expect(tab.locator(".kb-findings").first).to_contain_text("KB101 logo-url-case")
    expect(tab.locator(".kb-diff-added").first).to_contain_text("/Logo.png")
    tab.locator(".kb-check-unchanged summary").click()
    tab.locator(".kb-check-pair a").last.click()
    expect(tab.locator("img.kb-preview-logo")).to_have_count(2)
    tab.get_by_role("button", name="Check again").click()
    expect(tab.get_by_role("link", name="What changed")).to_contain_text("+0 −0")
