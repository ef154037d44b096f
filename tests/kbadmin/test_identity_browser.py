"""The plugin's own page in a real Chromium."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from plugin import identity
from tests.kbadmin.test_browser import browser, log_in, tab
from tests.kbadmin.test_identity import public
from tests.plugin.test_logo import picture

__all__ = ["browser", "public", "tab"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def logo_file(tmp_path: Path) -> Path:
    path = tmp_path / "logo.jpg"
    path.write_bytes(picture(size=(300, 100), kind="JPEG"))
    return path


def test_it_is_judged_while_somebody_types_mended_and_saved(
    tab: Page, live_server: Any, logo_file: Path
) -> None:
    tab.goto(f"{live_server.url}/admin/")
    tab.locator("a[href='/admin/plugin/']").first.click()
    expect(tab.get_by_role("heading", name="Right for every program")).to_be_visible()
    tab.get_by_role("textbox", name="Name for people").fill("Acme notes")
    expect(tab.locator(".kb-preview-dark strong")).to_have_text("Acme notes")

    tab.get_by_role("textbox", name="Name for the model").fill("acme notes")
    said = tab.locator("#said-name_for_model")
    expect(said).to_contain_text("KB136")
    expect(tab.get_by_role("heading", name="1 error to mend")).to_be_visible()
    expect(tab.get_by_role("status").filter(has_text="1 error to mend")).to_have_count(1)
    expect(tab.get_by_role("button", name="Save anyway")).to_be_visible()
    said.get_by_role("button", name="Write “acme_notes”").click()
    expect(tab.get_by_role("textbox", name="Name for the model")).to_have_value("acme_notes")
    expect(said).not_to_contain_text("KB136")
    expect(tab.get_by_role("button", name="Save", exact=True)).to_be_visible()

    tab.get_by_label("Logo", exact=True).set_input_files(logo_file)
    made = tab.locator("#identity-logo img")
    expect(made).to_have_attribute("src", re.compile("^data:image/png"))
    assert made.evaluate("image => image.naturalWidth") == 512
    preview = tab.locator(".kb-preview-light img")
    expect(preview).to_have_attribute("src", re.compile("^data:image/png"))
    tab.get_by_role("textbox", name="Description for people").fill(
        "Answers from the notes of Acme."
    )
    expect(tab.locator(".kb-preview-light .kb-preview-text")).to_have_text(
        "Answers from the notes of Acme."
    )
    # The picture stays where what surrounds it has changed.
    expect(preview).to_have_attribute("src", re.compile("^data:image/png"))

    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("Saved. Programs are told from now on.")).to_be_visible()
    expect(tab.get_by_text("Changed Name for people")).to_be_visible()
    assert identity.current().name_for_human == "Acme notes"
    assert identity.current().logo_hash

    tab.get_by_role("button", name="Default: Name for people").click()
    expect(tab.get_by_role("textbox", name="Name for people")).to_have_value(
        identity.NAME_FOR_HUMAN
    )
    expect(tab.get_by_role("button", name="Default: Name for people")).to_be_hidden()
    tab.get_by_role("button", name="Use the default logo").click()
    expect(tab.locator("#identity-logo img")).to_have_attribute("src", re.compile("^/static/"))
    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("Saved. Programs are told from now on.")).to_be_visible()
    assert identity.current().name_for_human == identity.NAME_FOR_HUMAN
    assert identity.current().logo_hash == ""

    tab.get_by_role("link", name="Back to the defaults").click()
    tab.get_by_role("button", name="Back to the defaults").click()
    expect(tab.get_by_text("Everything is as it came with kbadmin.")).to_be_visible()
    assert identity.current() == identity.default()


def test_what_is_not_saved_is_not_left_without_a_question(tab: Page, live_server: Any) -> None:
    asked: list[str] = []

    def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    tab.on("dialog", stay)
    tab.goto(f"{live_server.url}/admin/plugin/")
    tab.get_by_role("textbox", name="Name for people").press_sequentially("x")
    tab.get_by_role("link", name="Plugin doctor").click()
    tab.wait_for_url("**/plugin-doctor/")
    assert asked == ["beforeunload"]


def test_it_works_without_scripts(
    browser: Browser, live_server: Any, boss: User, logo_file: Path
) -> None:
    context = browser.new_context(locale="en", java_script_enabled=False)
    page = context.new_page()
    log_in(page, live_server.url)
    page.goto(f"{live_server.url}/admin/plugin/")
    page.get_by_role("textbox", name="Name for the model").fill("acme notes")
    page.get_by_label("Logo", exact=True).set_input_files(logo_file)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Nothing is saved yet.")).to_be_visible()
    expect(page.locator("#said-name_for_model")).to_contain_text("KB136")
    page.get_by_role("button", name="Save anyway").click()
    expect(page.get_by_text("Saved. Programs are told from now on.")).to_be_visible()
    assert identity.current().name_for_model == "acme notes"
    assert identity.current().logo_hash
    page.get_by_role("link", name="Whole report").click()
    page.get_by_role("button", name="Apply: write “acme_notes”").click()
    expect(page.get_by_text("Mended.")).to_be_visible()
    page.goto(f"{live_server.url}/admin/plugin/")
    page.get_by_role("button", name="Use the default logo").click()
    assert identity.current().logo_hash == ""
    context.close()
