"""Pictures of every page of a kbadmin of its own, filled with what such a thing is filled with.

    python -m tests.screenshots [WORD ...] [--language en|zh] [--theme light|dark] [--width N]

They go to build/screenshots/<language>-<theme>-<width>-<page>.png. WORDs choose the pages
whose names hold one of them. Ends with exit code 1 if a page is missing or complains in the
browser's console.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Page as Tab

from benchmarks.notes import SHARED_NOTES
from benchmarks.system import (
    ROOT,
    copy_model,
    environment,
    free_port,
    run,
    running,
    shell,
    wait_until_indexed,
)
from tests.browser import CHROMIUM, FLAGS

FOLDER = ROOT / "build" / "screenshots"
LANGUAGES = {"en": "en", "zh": "zh-CN"}
THEMES = ("light", "dark")
WIDTHS = (1440, 390)
HEIGHT = 900
TALLEST = 6000
PASSWORD, KEY = "a long password", "kb_only-for-these-pictures"
NOTES_PER_LANGUAGE = 120
#: Asked again and again over a month; the last ones have no answer.
QUESTIONS = (
    "How do I connect NextChat?",
    "怎样连接 NextChat？",
    "Which file formats can be uploaded?",
    "How is a backup made?",
    "Why did my document fail?",
    "如何备份？",
    "What does degraded mean?",
    "Change the embedding model",
    "Where are API keys kept?",
    "How long are deleted documents kept?",
    "Who won the football match?",
    "vegetarian lasagne",
)


@dataclass(frozen=True, slots=True)
class Look:
    language: str
    theme: str
    width: int

    def __str__(self) -> str:
        return f"{self.language}-{self.theme}-{self.width}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of names of pages (all)")
    parser.add_argument("--language", choices=LANGUAGES, action="append")
    parser.add_argument("--theme", choices=THEMES, action="append")
    parser.add_argument("--width", type=int, action="append")
    given = parser.parse_args()
    looks = [
        Look(*each)
        for each in product(
            given.language or LANGUAGES, given.theme or THEMES, given.width or WIDTHS
        )
    ]
    # Stopped by `kill` or `timeout`, it must not leave its processes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="kbadmin-pictures-") as name,
        started(Path(name)) as (
            address,
            env,
        ),
    ):
        fill(address, env, Path(name))
        pages = json.loads(shell(PAGES, env))
        complaints = take(address, pages, looks, given.words)
    for complaint in complaints:
        print(complaint)
    print(f"{'FAILED' if complaints else 'done'}: the pictures are in {FOLDER}")
    return 1 if complaints else 0


# --- A kbadmin with something in it ----------------------------------------------------------


@contextmanager
def started(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Its address and its environment, as `make run` would start it."""
    print("starting …", flush=True)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    env = environment(folder / "data", free_port()) | {
        "PORT": str(port),
        "KBADMIN_ADMIN_PASSWORD": PASSWORD,
        "KBADMIN_API_KEY": KEY,
        "WEB_CONCURRENCY": "1",
        "LOG_LEVEL": "ERROR",
    }
    (folder / "data").mkdir()
    copy_model(folder / "data" / "models")
    with running(["manage.py", "start"], env):
        wait_for(f"{address}/readyz")
        wait_until_indexed(env)
        yield address, env


def wait_for(address: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def fill(address: str, env: Mapping[str, str], folder: Path) -> None:
    print("filling …", flush=True)
    shell(PEOPLE, env)
    notes = folder / "notes"
    notes.mkdir()
    copy_notes(notes)
    (notes / "scanned-contract.pdf").write_bytes(b"%PDF-1.7\nnot really a PDF\n")
    (notes / "empty-minutes.md").write_text("---\ntitle: Minutes\n---\n")
    # Broken ones are what it is for, so it ends with an error.
    try:
        run(["manage.py", "ingest", str(notes), "--collection", "handbook", "--wait"], env)
    except Exception as error:  # noqa: BLE001 - whatever it is, the pictures show it
        print(f"  {error}")
    for number, question in enumerate(QUESTIONS * 4):
        answer = post(f"{address}/search", {"query": question, "top_k": 4})
        if number % 5 == 0:
            rating = "down" if number % 3 == 0 else "up"
            comment = "That was yesterday’s address." if rating == "down" else ""
            post(
                f"{address}/feedback",
                {"query_id": answer["query_id"], "rating": rating, "comment": comment},
            )
    # The log is written beside the answers.
    time.sleep(2)
    shell(MONTH, env)
    shell(CHECKS, env)
    while shell(UNFINISHED, env) != "0":
        time.sleep(0.5)


def copy_notes(target: Path) -> None:
    """Some of the shared notes; where they are not, the repository's own texts."""
    if not SHARED_NOTES.is_dir():
        for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"):
            shutil.copy(path, target / f"{path.parent.name}-{path.name}")
        return
    for folder in sorted(SHARED_NOTES.iterdir()):
        chosen = islice(sorted(folder.rglob("*.md")), NOTES_PER_LANGUAGE)
        for path in chosen:
            shutil.copy(path, target / f"{folder.name}-{path.name}")


def post(address: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        address,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


PEOPLE = """
from django.contrib.auth.models import Group, Permission, User
from retrieval.collections import create_collection
group = Group.objects.create(name="Editors")
group.permissions.set(Permission.objects.filter(content_type__app_label="retrieval"))
clerk = User.objects.create_user("clerk", "clerk@example.org", "a long password", is_staff=True)
clerk.user_permissions.add(Permission.objects.get(codename="view_search"))
User.objects.create_user("mei", "mei@example.org", first_name="Mei", is_staff=True)
create_collection(slug="handbook", title="Handbook · 手册")
"""
MONTH = """
from datetime import timedelta
from django.utils import timezone
from django.contrib.auth.models import User
from retrieval import evaluation_runs, reports
from retrieval.admin import versions
from retrieval.types import Mode, RetrievalSettings
from retrieval.models import Document, Feedback, Index, IndexReport, Judgment, Revision, Search
for index in Index.objects.filter(state="live"):
    for kind in IndexReport.Kind:
        reports.request(index, kind)
versions.record(User.objects.get(username="clerk").pk, list(Revision.objects.order_by("-pk")[:8]))
for number, row in enumerate(Search.objects.order_by("created_at")):
    at = timezone.now() - timedelta(hours=number * number * 0.3)
    Search.objects.filter(pk=row.pk).update(created_at=at)
    Feedback.objects.filter(search=row).update(created_at=at + timedelta(minutes=3))
collection = Document.objects.searchable().first().collection
for question, name in (
    ("How do I connect NextChat?", "connect-nextchat"),
    ("怎样连接 NextChat？", "connect-nextchat"),
    ("Which file formats can be uploaded?", "formats-and-front-matter"),
    ("Why did my document fail?", "failed-documents"),
    ("Change the embedding model", "embedding-model"),
    ("Where are API keys kept?", "api-keys-and-security"),
    ("Can I run it in a container?", "docker"),
    ("I sent a vote and nothing happened", "feedback-endpoint"),
):
    document = collection.documents.searchable().filter(external_id__contains=name).first()
    Judgment.objects.create(collection=collection, document=document, question=question)
for mode in ("dense", "lexical", "hybrid"):
    settings = RetrievalSettings(mode=Mode(mode))
    evaluation_runs.request(collection, settings=settings, name=f"Only {mode}")
"""
CHECKS = """
from django.contrib.auth.models import User
from kbadmin.pages.doctor import DoctorForm, run
from plugin.doctor import history
user = User.objects.get(username="clerk")
broken = '{"schema_version": "v1", "name_for_human": "Our notes", "api": {"type": "openapi"}}'
for given in ({"kind": "own"}, {"kind": "text", "text": broken}, {"kind": "own"}):
    form = DoctorForm(given)
    assert form.is_valid(), form.errors
    history.keep(run(form).kept, given["kind"], "", user)
"""
UNFINISHED = """
from retrieval.models import EvaluationRun, IndexReport
print(IndexReport.objects.unfinished().count() + EvaluationRun.objects.unfinished().count())
"""
PAGES = """
import json
from tests.kbadmin.pages_of_admin import LOGIN, FORBIDDEN, keys, pages
found = keys() | {"question": "How+do+I+connect+NextChat%3F"}
def row(page, who):
    used = [name for name in found if "{" + name + "}" in page.address]
    missing = [name for name in used if not found[name]]
    return [page.name, page.address.format_map(found), page.status, who, missing]
print(json.dumps(
    [row(LOGIN, ""), row(FORBIDDEN, "clerk")]
    + [row(page, "admin") for page in pages() if not page.variant]
))
"""


# --- The pictures ------------------------------------------------------------------------------


def take(address: str, pages: list[list[Any]], looks: list[Look], words: list[str]) -> list[str]:
    """Take them all; returns what was wrong."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for look in looks:
            print(f"{look} …", flush=True)
            tabs = {who: open_tab(browser, look, address, who) for who in ("", "clerk", "admin")}
            for name, path, status, who, missing in pages:
                if words and not any(word in name for word in words):
                    continue
                if missing:
                    complaints.append(f"{look} {name}: there is no {', '.join(missing)}")
                    continue
                complaints += [
                    f"{look} {name}: {said}"
                    for said in picture(tabs[who], address + path, status, look, name)
                ]
            for tab in tabs.values():
                tab.context.close()
        browser.close()
    return list(dict.fromkeys(complaints))


def open_tab(browser: Browser, look: Look, address: str, who: str) -> Tab:
    context = browser.new_context(
        locale=LANGUAGES[look.language],
        color_scheme="dark" if look.theme == "dark" else "light",
        viewport={"width": look.width, "height": HEIGHT},
    )
    tab = context.new_page()
    if who:
        tab.goto(f"{address}/admin/login/")
        tab.fill("[name=username]", who)
        tab.fill("[name=password]", PASSWORD)
        tab.click("#login-form [type=submit]")
        tab.wait_for_url("**/admin/")
    return tab


def picture(tab: Tab, address: str, status: int, look: Look, name: str) -> list[str]:
    """Take one; returns what the page complained of."""
    said: list[str] = []
    refused = f"status of {status}"  # what the browser says of a page that is meant to refuse
    on_console: Any = lambda line: (  # noqa: E731 - to be taken off again
        said.append(line.text) if line.type == "error" and refused not in line.text else None
    )
    on_error: Any = lambda error: said.append(str(error))  # noqa: E731
    tab.on("console", on_console)
    tab.on("pageerror", on_error)
    response = tab.goto(address)
    if response is None or response.status != status:
        said.append(f"answered {response.status if response else 'nothing'}")
    tab.evaluate("document.fonts.ready")
    # Charts are drawn and colours change within this time.
    tab.wait_for_timeout(400)
    if (wider := tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")) > 0:
        said.append(f"{wider} pixels wider than the window")
    # What sticks to the bottom of the window would lie across the middle of a long page.
    tall = min(tab.evaluate("document.documentElement.scrollHeight"), TALLEST)
    tab.set_viewport_size({"width": look.width, "height": max(tall, HEIGHT)})
    tab.screenshot(path=FOLDER / f"{look}-{name}.png", full_page=True)
    tab.set_viewport_size({"width": look.width, "height": HEIGHT})
    tab.remove_listener("console", on_console)
    tab.remove_listener("pageerror", on_error)
    return said


if __name__ == "__main__":
    sys.exit(main())
