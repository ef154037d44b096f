"""The upload page in a real Chromium: dropping, pasting, previewing, sending."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from retrieval import factories
from retrieval.embedding import Bundle
from retrieval.models import Collection, Document, EmbeddingModel
from tests import axe
from tests.kbadmin.test_browser import browser, tab

__all__ = ["browser", "tab"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: Dispatches what a browser does when files are dragged over the page and dropped there.
DRAG = """([kind, names]) => {
  const bag = new DataTransfer();
  for (const name of names) bag.items.add(new File([`# ${name}`], name));
  document.querySelector("h1, h2, body").dispatchEvent(
    new DragEvent(kind, {dataTransfer: bag, bubbles: true, cancelable: true}));
}"""
#: A folder, as it is handed out for a drop: a hundred entries at a time.
DROP_FOLDER = """() => {
  const file = (path) => ({isFile: true, name: path.split("/").pop(), fullPath: path,
    file: (done) => done(new File([`# ${path}`], path.split("/").pop()))});
  const folder = (path, children) => ({isFile: false, name: path.split("/").pop(),
    fullPath: path, createReader: () => ({readEntries: (done) => done(children.splice(0, 100))})});
  const many = Array.from({length: 130}, (_, n) => file(`/notes/many/${n}.md`));
  const tree = folder("/notes", [file("/notes/a.md"), file("/notes/photo.jpg"),
    file("/notes/.hidden.md"), folder("/notes/.git", [file("/notes/.git/x.md")]),
    folder("/notes/many", many)]);
  const event = new DragEvent("drop", {bubbles: true, cancelable: true});
  Object.defineProperty(event, "dataTransfer", {value: {types: ["Files"], files: [],
    items: [{webkitGetAsEntry: () => tree}]}});
  document.body.dispatchEvent(event);
}"""
PASTE = """([text, selector]) => {
  const bag = new DataTransfer();
  bag.setData("text/plain", text);
  document.querySelector(selector).dispatchEvent(
    new ClipboardEvent("paste", {clipboardData: bag, bubbles: true, cancelable: true}));
}"""
LONG = "# Rules\n\n" + " ".join(f"Rule {n} pays within {n} days." for n in range(90))


@pytest.fixture
def upload(tab: Page, live_server: Any, collection: Collection) -> Page:
    tab.goto(f"{live_server.url}/admin/upload/")
    return tab


def sent(upload: Page) -> set[str]:
    upload.click("#upload-send")
    upload.wait_for_url("**batch=**")
    return set(Document.objects.values_list("external_id", flat=True))


def test_files_are_dropped_anywhere(upload: Page) -> None:
    target = upload.locator("#upload-drop-page")
    expect(target).to_be_hidden()
    upload.evaluate(DRAG, ["dragenter", ["a.md"]])
    expect(target).to_be_visible()
    upload.evaluate(DRAG, ["dragleave", ["a.md"]])
    expect(target).to_be_hidden()
    upload.evaluate(DRAG, ["dragenter", ["a.md"]])
    upload.evaluate(DRAG, ["drop", ["a.md", "b.md"]])
    expect(target).to_be_hidden()
    expect(upload.locator(".kb-chosen-row")).to_have_count(2)
    upload.evaluate(DRAG, ["drop", ["c.md"]])
    expect(upload.locator("#upload-text")).to_have_text("3 files chosen")
    upload.get_by_role("button", name="Remove: b.md").click()
    expect(upload.locator("#upload-text")).to_have_text("2 files chosen")
    assert sent(upload) == {"a.md", "c.md"}


def test_a_folder_is_walked_and_keeps_its_paths(upload: Page) -> None:
    upload.evaluate(DROP_FOLDER)
    said = upload.locator("#upload-text")
    expect(said).to_contain_text("131 files chosen")
    expect(said).to_contain_text("cannot be read: 1 (notes/photo.jpg)")
    expect(upload.locator(".kb-chosen-row")).to_have_count(100)
    expect(upload.locator("#upload-chosen")).to_contain_text("31 more files")
    names = sent(upload)
    assert len(names) == 131
    assert {"notes/a.md", "notes/many/129.md"} <= names


def test_a_text_is_pasted_anywhere(upload: Page) -> None:
    upload.evaluate(PASTE, ["Paid within 14 days.", "body"])
    expect(upload.locator("#id_text")).to_have_value("Paid within 14 days.")
    expect(upload.locator("#id_title")).to_be_focused()
    expect(upload.locator("#upload-text")).to_contain_text("Give it a title")
    upload.keyboard.type("Refunds")
    assert sent(upload) == {"Refunds.md"}


def test_addresses_are_pasted_anywhere(upload: Page) -> None:
    upload.evaluate(PASTE, ["https://a.example/x\nhttps://b.example/y", "body"])
    expect(upload.locator("#id_addresses")).to_be_focused()
    assert sent(upload) == {"https://a.example/x", "https://b.example/y"}
    expect(upload.locator(".kb-is-queued")).to_have_count(2)


def test_what_is_pasted_into_a_field_stays_there(upload: Page) -> None:
    upload.click("#tab-files")
    upload.evaluate(PASTE, ["https://a.example/x", "#id_title"])
    expect(upload.locator("#tab-files")).to_have_attribute("aria-selected", "true")


def test_a_list_of_addresses_is_taken_from_a_file(upload: Page, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("https://a.example/\n")
    upload.get_by_role("tab", name="Web addresses").click()
    upload.set_input_files("#id_address_file", listed)
    expect(upload.locator("#id_addresses")).to_have_value("https://a.example/")


def test_the_tabs_are_used_by_keyboard(upload: Page) -> None:
    upload.get_by_role("tab", name="Files").focus()
    upload.keyboard.press("ArrowRight")
    expect(upload.get_by_role("tab", name="Text")).to_be_focused()
    expect(upload.get_by_role("tabpanel", name="Text")).to_be_visible()
    expect(upload.get_by_role("tabpanel", name="Files")).to_be_hidden()
    upload.keyboard.press("Tab")
    expect(upload.locator("#id_collection")).to_be_focused()


def test_nothing_chosen_is_said(upload: Page) -> None:
    upload.click("#upload-send")
    expect(upload.get_by_role("status")).to_contain_text("Choose at least one file")


def test_cuts_are_seen_before_they_are_made(
    upload: Page, bundle: Bundle, tmp_path: Path, collection: Collection
) -> None:
    EmbeddingModel.objects.update(revision=bundle.revision, runtime=bundle.runtime)
    factories.reset()
    path = tmp_path / "rules.md"
    path.write_text(LONG)
    upload.set_input_files("#id_files", path)
    upload.get_by_role("button", name="Preview: rules.md").click()
    cuts = upload.locator(".kb-cut")
    expect(cuts).to_have_count(3, timeout=20_000)
    expect(upload.get_by_label("Chunk size")).to_have_value("256")
    upload.get_by_label("Chunk size").fill("64")
    expect(upload.locator(".kb-preview-total")).to_contain_text(re.compile(r"1\d chunks"))
    expect(upload.locator(".kb-cut .kb-shared")).to_have_count(0)
    upload.get_by_label("Chunk overlap").fill("24")
    expect(upload.locator(".kb-cut .kb-shared").first).to_be_visible()
    expect(upload.get_by_role("link", name="Reindex with 64 / 24")).to_be_visible()
    assert not Document.objects.exists()
    upload.keyboard.press("Escape")
    expect(upload.locator("#upload-preview")).to_be_hidden()
    expect(upload.get_by_role("button", name="Preview: rules.md")).to_be_focused()
    assert sent(upload) == {"rules.md"}


def test_who_types_a_size_before_the_preview_is_there_replaces_what_comes(
    upload: Page, bundle: Bundle
) -> None:
    EmbeddingModel.objects.update(revision=bundle.revision, runtime=bundle.runtime)
    factories.reset()
    upload.evaluate(PASTE, [LONG, "body"])
    upload.locator("#upload-preview-text").click()
    size = upload.get_by_label("Chunk size")
    expect(size).to_be_focused()
    expect(size).to_have_value("256", timeout=20_000)
    upload.keyboard.type("64")
    expect(size).to_have_value("64")
    expect(upload.locator(".kb-preview-total")).to_contain_text(re.compile(r"1\d chunks"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_state_of_the_page_can_be_used_by_everybody(
    upload: Page, bundle: Bundle, theme: str
) -> None:
    EmbeddingModel.objects.update(revision=bundle.revision, runtime=bundle.runtime)
    factories.reset()
    script = axe.source_or_skip()
    upload.emulate_media(color_scheme="dark" if theme == "dark" else "light")

    def look(state: str) -> list[tuple[str, str, str]]:
        upload.evaluate("document.getAnimations().forEach(animation => animation.finish())")
        upload.evaluate(script)
        found = upload.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            (state, violation["id"], node["html"][:200])
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]

    upload.evaluate(PASTE, [LONG, "body"])
    bad = look("text")
    upload.locator("#upload-preview-text").click()
    upload.get_by_label("Chunk size").fill("64")
    upload.get_by_label("Chunk overlap").fill("24")
    expect(upload.locator(".kb-cut .kb-shared").first).to_be_visible(timeout=20_000)
    bad += look("preview")
    upload.get_by_role("tab", name="Web addresses").click()
    upload.fill("#id_addresses", "https://a.example/\nnonsense")
    upload.evaluate(DRAG, ["drop", ["a.md", "b.md"]])
    bad += look("files")
    sent(upload)
    bad += look("progress")
    assert bad == []


def test_rows_never_move_backwards(upload: Page, set_state: Any) -> None:
    upload.evaluate(DRAG, ["drop", ["a.md", "b.md"]])
    sent(upload)
    first = Document.objects.get(external_id="a.md")
    bar = upload.locator("#upload-batch .kb-row", has_text="a.md").locator("progress")
    set_state(first, "embedding")
    expect(bar).to_have_js_property("value", 50)
    set_state(first, "queued")
    expect(upload.locator(".kb-is-queued")).to_have_count(2)
    expect(bar).to_have_js_property("value", 50)


def test_leaving_warns_only_while_bytes_are_sent(upload: Page) -> None:
    asked = "() => !window.dispatchEvent(new Event('beforeunload', {cancelable: true}))"
    upload.evaluate(DRAG, ["drop", ["a.md"]])
    assert upload.evaluate(asked) is False
    held: list[Any] = []
    upload.route("**/admin/upload/", lambda route: held.append(route))
    upload.click("#upload-send")
    expect(upload.locator("#upload-send")).to_be_disabled()
    assert upload.evaluate(asked) is True
    held[0].continue_()
    upload.wait_for_url("**batch=**")
    assert upload.evaluate(asked) is False
