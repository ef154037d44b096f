"""A person's first afternoon with kbadmin: real processes, a real browser, no shortcuts."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from retrieval.embedding import Bundle
from tests.browser import complaints_of
from tests.conftest import stop
from tests.isolation import free_port
from tests.kbadmin.test_browser import browser
from tests.retrieval.installation import Installation
from tests.retrieval.parsers import samples

__all__ = ["browser"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PASSWORD = "a long password"
KEY = "kb_walk_0123456789abcdefghijklmnop"
QUESTION = "How long may a refund take?"
LONG = " ".join(
    f"Paragraph {number} of the travel policy names rule {number}: book train {number} early.\n\n"
    for number in range(120)
)
FILES = {
    "refunds.md": b"# Refunds\n\nA refund may take thirty days. Ask the desk for a form.\n",
    "hours.txt": b"The desk is open from nine to five, on Fridays until noon.\n",
    "parking.html": b"<h1>Parking</h1><p>Visitors park behind the house, in row seven.</p>",
    "safety.pdf": samples.simple_pdf("Extinguishers hang beside every lift."),
    "holidays.docx": samples.word(
        lambda document: document.add_paragraph("Every colleague has thirty days of holiday.")
    ),
    "welcome.pptx": samples.presentation([("Welcome", "Badges are at the gate.", "")]),
    "rooms.xlsx": samples.workbook({"Rooms": [["room", "seats"], ["Ada", 12], ["Grace", 30]]}),
    "phones.csv": b"question,answer\nWhom do I call about the heating?,Extension 4711.\n",
    "faq.jsonl": b'{"question": "Where is lost property?", "answer": "At the gate."}',
    "bundle.zip": samples.zipped({"inner/bikes.md": b"# Bikes\n\nBicycles sleep in the cellar.\n"}),
    "travel.md": b"# Travel\n\n" + LONG.encode(),
    "broken.pdf": b"%PDF-1.7\nthis is no PDF at all\n",
}


@pytest.fixture
def product(tmp_path: Path, bundle: Bundle) -> Iterator[Installation]:
    """kbadmin on an empty data folder, as `make run` starts it."""
    folder = tmp_path / "data"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / bundle.folder.name).symlink_to(bundle.folder)
    product = Installation(folder, f"http://127.0.0.1:{free_port()}")
    product.environment |= {"KBADMIN_ADMIN_PASSWORD": PASSWORD, "KBADMIN_API_KEY": KEY}
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "start"],
        cwd=Path(__file__).resolve().parents[2],
        env=product.environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 120
        while b"/admin/" not in (tmp_path / "log").read_bytes():
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield product
    finally:
        stop(process)
        log.close()


class Walk:
    def __init__(self, product: Installation, page: Page) -> None:
        self.product, self.page = product, page
        self.url = f"http://127.0.0.1:{product.port}"

    def go(self, path: str) -> None:
        self.page.goto(f"{self.url}/admin/{path}")

    def search(self, query: str) -> list[str]:
        """What a chat program gets: the texts."""
        answer = httpx.post(
            f"{self.url}/search",
            json={"query": query},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 200
        assert not answer.json()["degraded"]
        return [result["text"] for result in answer.json()["results"]]

    def in_chroma(self) -> tuple[str, list[str]]:
        """Address and record ids of the live index in Chroma, over plain HTTP."""
        ((name,),) = self.product.rows(
            "SELECT physical_name FROM retrieval_index WHERE state = 'live'"
        )
        base = f"{self.product.chroma_url}/api/v2/tenants/default_tenant/databases/default_database"
        with httpx.Client(trust_env=False, timeout=30) as client:
            address = f"{base}/collections/{client.get(f'{base}/collections/{name}').json()['id']}"
            found = client.post(f"{address}/get", json={"limit": 10_000, "include": []})
        return address, found.json()["ids"]


def test_a_first_afternoon(product: Installation, browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context(locale="en", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    complaints = complaints_of(page)
    walk = Walk(product, page)
    log_in(walk)
    upload_twelve(walk, tmp_path)
    replace_the_broken_one(walk, tmp_path)
    see_chunks(walk)
    try_questions(walk)
    keep_a_passage_out(walk)
    reindex_while_searching(walk)
    see_and_repair_drift(walk)
    change_to_chinese(walk)
    context.close()
    assert complaints == []


def log_in(walk: Walk) -> None:
    walk.go("")
    walk.page.fill("[name=username]", "admin")
    walk.page.fill("[name=password]", PASSWORD)
    walk.page.click("#login-form [type=submit]")
    expect(walk.page).to_have_url(f"{walk.url}/admin/")


def upload_twelve(walk: Walk, folder: Path) -> None:
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    walk.go("upload/")
    walk.page.set_input_files("#id_files", [folder / name for name in FILES])
    walk.page.click("#upload-send")
    walk.page.wait_for_url("**batch=**")
    bar = walk.page.locator("#upload-batch progress").first
    seen = [0.0]
    deadline = time.monotonic() + 120
    sentence = walk.page.locator(".kb-sentence")
    while "1 failed" not in sentence.inner_text():
        assert time.monotonic() < deadline, sentence.inner_text()
        seen.append(bar.evaluate("bar => bar.value"))
        walk.page.wait_for_timeout(100)
    assert seen == sorted(seen)
    expect(sentence).to_contain_text("added")
    broken = walk.page.locator("#upload-batch .kb-row").filter(has_text="broken.pdf")
    expect(broken).to_contain_text("PDF")
    expect(broken).to_contain_text("failed")


def replace_the_broken_one(walk: Walk, folder: Path) -> None:
    page = walk.page
    row = page.locator("#upload-batch .kb-row").filter(has_text="broken.pdf")
    row.get_by_role("link").first.click()
    expect(page.locator(".kb-banner-bad")).to_contain_text("could not be indexed")
    # What is broken stays broken, however often it is tried.
    page.locator(".kb-banner-bad").get_by_role("button", name="Retry").click()
    expect(page.get_by_text("The document is queued again.")).to_be_visible()
    document = page.url
    (folder / "broken.pdf").write_bytes(samples.simple_pdf("The mended page is about lifts."))
    walk.go("upload/")
    page.set_input_files("#id_files", [folder / "broken.pdf"])
    page.click("#upload-send")
    page.wait_for_url("**batch=**")
    expect(page.locator(".kb-sentence")).to_contain_text("1 ", timeout=60_000)
    expect(page.locator("#upload-batch .kb-row").first).to_contain_text("indexed", timeout=60_000)
    page.goto(document)
    expect(page.locator(".kb-banner-bad")).to_have_count(0)
    expect(page.locator("#text")).to_contain_text("The mended page is about lifts.")


def see_chunks(walk: Walk) -> None:
    page = walk.page
    walk.go("retrieval/document/?q=travel")
    page.locator("#result_list").get_by_role("link", name="Travel").click()
    passages = page.locator("[data-reader] [data-chunk]")
    assert passages.count() > 3
    passages.nth(2).click()
    chosen = page.locator(".kb-passage-one")
    expect(chosen).to_be_visible()
    assert int(chosen.locator("[data-field=tokens]").inner_text()) > 100


def ask(walk: Walk, question: str, more: str = "") -> None:
    walk.go("playground/?collection=docs" + more)
    walk.page.fill("#id_q", question)
    walk.page.get_by_role("button", name="Search", exact=True).click()
    expect(walk.page.locator(".kb-hit").first).to_be_visible()


def try_questions(walk: Walk) -> None:
    page = walk.page
    ask(walk, QUESTION)
    first = page.locator(".kb-hit").first
    expect(first).to_contain_text("thirty days")
    expect(first.locator("mark").first).to_be_visible()
    first.get_by_role("button", name="Mark as right answer").click()
    expect(first.get_by_role("button", name="Right answer")).to_contain_text("✓")
    page.locator("summary", has_text="Settings").click()
    page.get_by_role("button", name="Compare with other settings").click()
    expect(page.get_by_role("heading", name="Right")).to_be_attached()
    page.locator("select[name=b-mode]").select_option("lexical")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator(".kb-columns > .kb-card")).to_have_count(2)
    for side in page.locator(".kb-columns > .kb-card").all():
        expect(side.locator(".kb-hit").first).to_contain_text("thirty days")


def keep_a_passage_out(walk: Walk) -> None:
    page = walk.page
    assert "thirty days. Ask" in walk.search(QUESTION)[0]
    ask(walk, QUESTION)
    page.locator(".kb-hit").first.get_by_role("link").first.click()
    page.get_by_role("button", name="Keep out of search").click()
    assert not any("thirty days. Ask" in text for text in walk.search(QUESTION))
    page.get_by_role("button", name=re.compile("Undo|Let search return it")).first.click()
    assert "thirty days. Ask" in walk.search(QUESTION)[0]


def reindex_while_searching(walk: Walk) -> None:
    page = walk.page
    walk.go("retrieval/collection/")
    page.get_by_role("link", name="Docs", exact=True).first.click()
    page.locator("summary", has_text="Reindex").click()
    page.fill("[name=reindex-chunk_size]", "64")
    page.fill("[name=reindex-chunk_overlap]", "8")
    page.get_by_role("button", name="Start reindex").click()
    deadline = time.monotonic() + 120
    while "64 / 8" not in page.locator("#kb-index dl").first.inner_text():
        assert time.monotonic() < deadline, page.locator("#kb-index").inner_text()
        assert "thirty days" in walk.search(QUESTION)[0]
        page.wait_for_timeout(200)
    assert "thirty days" in walk.search(QUESTION)[0]
    expect(page.get_by_role("button", name="Roll back")).to_be_visible()


def see_and_repair_drift(walk: Walk) -> None:
    page = walk.page
    address, before = walk.in_chroma()
    with httpx.Client(trust_env=False, timeout=30) as client:
        assert client.post(f"{address}/delete", json={"ids": before[:3]}).is_success
    page.reload()
    expect(page.locator("#kb-index")).to_contain_text("differs")
    page.get_by_role("button", name="Compare and repair").click()
    deadline = time.monotonic() + 60
    while sorted(walk.in_chroma()[1]) != sorted(before):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    page.reload()
    expect(page.locator("#kb-index")).to_contain_text("3 missing")
    expect(page.locator("#kb-index")).not_to_contain_text("differs")


def change_to_chinese(walk: Walk) -> None:
    page = walk.page
    walk.go("")
    page.context.add_cookies([])
    page.locator("select[name=language], [name=language]").first.evaluate(
        "field => { field.value = 'zh-hans'; field.form.submit(); }"
    )
    expect(page.locator("html")).to_have_attribute("lang", re.compile("zh"))
    for path in ("", "upload/", "playground/", "status/", "retrieval/document/"):
        walk.go(path)
        expect(page.locator("#main, main").first).to_contain_text(re.compile("[\u4e00-\u9fff]"))
