"""The whole loop as people live it: asked, found wanting, corrected, accepted, proven, taken back.

Real processes and a real browser; nothing here reaches into them but by HTTP and, to compare what
is stored, by reading the database and Chroma.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from django.conf import settings
from django.test import override_settings
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from playwright.sync_api import Browser, Page, expect

from plugin.links import vote_link
from retrieval.embedding import Bundle
from tests.browser import complaints_of
from tests.fake_model import FakeModel, say, serve_model
from tests.kbadmin.test_browser import browser
from tests.retrieval.installation import Installation, installed

__all__ = ["browser"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PLACES = "SELECT id, chunk_id FROM retrieval_aliasplace ORDER BY id"
KEY = "kb_loop_0123456789abcdefghijklmnop"
PASSWORD = "a long password"
#: Seconds until something that a worker does must have happened.
PATIENCE = 60
PREPARE = f"""
from django.core.management import call_command
from django.contrib.auth.models import Permission, User
from retrieval.models import ApiKey
ApiKey.issue("loop", "{KEY}")
user = User.objects.create_user("ann", password="{PASSWORD}", is_staff=True)
user.user_permissions.set(Permission.objects.filter(codename__in=[
    "view_feedback", "change_feedback", "add_document", "change_document", "change_chunk",
]))
call_command("ingest", PAGES, collection="docs")
"""
UNINDEXED = "SELECT count(*) FROM retrieval_document WHERE live_revision_id IS NULL"
PAGES = {
    "printing.md": "# Printing\n\nThe printer stands on the second floor. Paper is in the cupboard "
    "beside it. Send large jobs overnight.",
    "holidays.md": "# Holidays\n\nAsk for holidays two weeks ahead, by mail to your manager.",
    "coffee.md": "# Coffee\n\nThe coffee machine is cleaned every Friday by the kitchen team.",
    "visitors.md": "# Visitors\n\nVisitors sign the book at the front desk and wear a badge while "
    "they are in the building.",
    "laptops.md": "# Laptops\n\nA broken laptop is exchanged at the help desk. Bring your charger.",
    "zh/printing.md": "# 打印\n\n打印机在二楼，纸张放在旁边的柜子里。大批量的文件请在夜间打印。",
    "zh/holidays.md": "# 休假\n\n请提前两周通过邮件向经理申请休假。每年有三十天假期。",
    "zh/visitors.md": "# 访客\n\n访客在前台登记，在楼内必须佩戴胸牌。",
    "zh/laptops.md": "# 笔记本电脑\n\n电脑损坏时，请到一楼服务台更换，并带上充电器。",
}


@dataclass(frozen=True)
class Story:
    question: str
    correction: str
    paraphrases: tuple[str, str]

    @property
    def asked(self) -> tuple[str, ...]:
        return (self.question, *self.paraphrases)


STORIES = [
    pytest.param(
        Story(
            "Where can I park my bicycle?",
            "Bicycles stand in the cellar; take the ramp in the yard. The door opens with 4711.",
            ("bike parking", "Is there a place where bicycles are parked?"),
        ),
        id="english",
    ),
    pytest.param(
        Story(
            "访客怎么连接无线网络？",
            "请选择名为“宾客”的信号，密码是向日葵，每周一更换。",
            ("客人怎么用无线网络", "无线网络的密码是多少"),
        ),
        id="chinese",
    ),
]


# --- The installation --------------------------------------------------------------------------


@dataclass
class Served:
    installation: Installation
    llm: FakeModel
    url: str

    def post(self, path: str, body: Any) -> Any:
        answer = httpx.post(
            self.url + path,
            json=body,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def words(self) -> list[Any]:
        return self.installation.rows(
            "SELECT rowid, scope, title, headings, body FROM retrieval_lexical ORDER BY rowid"
        )

    def vectors(self) -> list[str]:
        return sorted(self.installation.in_chroma())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("loop")
    for name, text in PAGES.items():
        path = folder / "pages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    prepare = f"PAGES = {str(folder / 'pages')!r}\n{PREPARE}"
    with serve_model() as llm, installed(folder / "data", bundle, prepare) as installation:
        installation.environment |= {
            "KBADMIN_UPSTREAM_URL": llm.url,
            # So links that are signed here are links of its answers.
            "SECRET_KEY": settings.SECRET_KEY,
        }
        installation.start("worker")
        url = installation.serve()
        deadline = time.monotonic() + PATIENCE
        while installation.rows(UNINDEXED) != [(0,)]:
            assert time.monotonic() < deadline, "the worker does not index"
            time.sleep(0.1)
        yield Served(installation, llm, url)


# --- Asking on every way -----------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What one question is answered with, but for what is never the same twice."""

    channel: str
    chunks: tuple[int, ...]
    scores: tuple[float, ...]
    confidence: str
    text: str  #: of the first passage


def by_search(served: Served, question: str) -> Answer:
    answer = served.post("/search", {"query": question})
    assert not answer["degraded"]
    results = answer["results"]
    return Answer(
        "search",
        tuple(result["chunk_id"] for result in results),
        tuple(result["score"] for result in results),
        answer["confidence"],
        results[0]["text"] if results else "",
    )


def by_mcp(served: Served, questions: tuple[str, ...]) -> list[Answer]:
    async def ask() -> list[Any]:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
            transport = streamable_http_client(f"{served.url}/mcp", http_client=http)
            async with Client(transport) as client:
                return [await client.call_tool("search", {"query": each}) for each in questions]

    # In a thread: Playwright's own loop runs in this one.
    with ThreadPoolExecutor(1) as pool:
        results = pool.submit(anyio.run, ask).result()
    answers = []
    for result in results:
        assert not result.is_error, result
        answer = json.loads(result.content[0].text)
        keys = [found["id"] for found in answer["results"]]
        text = answer["passages"][keys[0]] if keys else ""
        answers.append(Answer("mcp", tuple(map(int, keys)), (), answer["confidence"], text))
    return answers


def by_gateway(served: Served, question: str) -> Answer:
    """Its text is what the language model was given as passage 1."""
    served.llm.script = say("As it says", " [1].")
    messages = [{"role": "user", "content": question}]
    answer = served.post("/v1/chat/completions", {"model": "docs", "messages": messages})
    found = answer["kbadmin"]
    _before, _mark, told = served.llm.system().partition("\n[1] ")
    return Answer(
        "gateway",
        tuple(source["chunk_id"] for source in found["sources"]),
        tuple(source["score"] for source in found["sources"]),
        found["confidence"],
        told.partition("\n[2] ")[0],
    )


def link_below(served: Served, question: str) -> str:
    """Ask it; the address at which the answer can be voted down."""
    query_id = served.post("/search", {"query": question})["query_id"]
    with override_settings(PUBLIC_URL=served.url):
        return vote_link(query_id, "down")


def everywhere(served: Served, questions: tuple[str, ...]) -> list[Answer]:
    return [
        *(by_search(served, question) for question in questions),
        *by_mcp(served, questions),
        *(by_gateway(served, question) for question in questions),
    ]


# --- People ------------------------------------------------------------------------------------


@contextmanager
def visitor(browser: Browser) -> Iterator[Page]:
    """A browser of somebody's own; what its console complains of fails the test."""
    context = browser.new_context(locale="en")
    page = context.new_page()
    complaints = complaints_of(page)
    yield page
    context.close()
    assert complaints == []


def vote_down(page: Page, link: str, story: Story) -> None:
    page.goto(link)
    expect(page.locator(".question")).to_have_text(story.question)
    expect(page.get_by_label("Not helpful")).to_be_checked()
    page.get_by_label("What would be right?").fill(story.correction)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()


def log_in(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/admin/review/")
    page.fill("[name=username]", "ann")
    page.fill("[name=password]", PASSWORD)
    page.click("#login-form [type=submit]")
    page.wait_for_url("**/admin/review/")


def choose(page: Page, question: str) -> None:
    """Wait until a worker has put the question into the queue, and go to it by keyboard."""
    row = page.locator(".kb-review-row").filter(has_text=question).filter(has_text="1 correction")
    deadline = time.monotonic() + PATIENCE
    while not row.count():
        assert time.monotonic() < deadline, page.locator("#main, main").first.inner_text()
        page.reload()
    link = row.locator("a.kb-name")
    for _ in page.locator(".kb-review-row").all():
        page.keyboard.press("j")
        if link.evaluate("link => link === document.activeElement"):
            break
    expect(link).to_be_focused()


# --- The loop ----------------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES)
def test_a_correction_is_what_the_next_person_is_told(
    served: Served, browser: Browser, story: Story
) -> None:
    before = everywhere(served, story.asked)
    words, vectors = served.words(), served.vectors()
    places = served.installation.rows(PLACES)
    assert {answer.confidence for answer in before} <= {"none", "low"}
    link = link_below(served, story.question)
    with visitor(browser) as page:
        vote_down(page, link, story)

    with visitor(browser) as page:
        log_in(page, served)
        choose(page, story.question)
        page.keyboard.press("a")
        expect(page.locator("#id_answer")).to_have_value(story.correction)
        # The others were asked, too, but they are to be understood, not known by heart.
        page.locator("#id_questions").fill(story.question)
        page.get_by_role("button", name="Accept").click()
        proof = page.locator("#kb-proof")
        state = proof.locator(".kb-split").first
        expect(state).to_contain_text("final", timeout=PATIENCE * 1000)

        after = everywhere(served, story.asked)
        for answer in after:
            assert story.correction in answer.text, answer
            assert answer.confidence == "high", answer
        assert len({answer.chunks[0] for answer in after}) == 1
        line = proof.locator("tbody tr").first
        expect(line.locator("td").first).to_contain_text("not found")
        expect(line.locator("td").last).to_contain_text("#1 ·")
        expect(line.locator("td").last).to_contain_text("high")
        stored_before, stored_after, kept = stored(served, story.question)
        assert kept == "final"
        assert ranked(stored_before, story) == (None, before[0].confidence)
        assert ranked(stored_after, story) == (1, "high")

        page.get_by_role("button", name="Roll back").click()
        expect(proof).to_contain_text("After the rollback", timeout=PATIENCE * 1000)
        page.goto(f"{served.url}/admin/review/")
        choose(page, story.question)
    assert served.vectors() == vectors
    assert served.words() == words
    assert everywhere(served, story.asked) == before
    assert served.installation.rows(PLACES) == places


def stored(served: Served, question: str) -> tuple[Any, Any, str]:
    """What the database holds as proof of the newest acceptance for a question."""
    ((before, after, state, asked),) = served.installation.rows(
        "SELECT a.before, a.after, a.state, i.question FROM retrieval_acceptance AS a "
        "JOIN retrieval_reviewitem AS i ON i.id = a.item_id ORDER BY a.id DESC LIMIT 1"
    )
    assert asked == question
    return json.loads(before), json.loads(after), state


def ranked(measured: Any, story: Story) -> tuple[int | None, str]:
    """Rank of the correction among the stored hits of the question, and the confidence."""
    (answered,) = measured["questions"]
    assert answered["question"] == story.question
    ranks = [n for n, hit in enumerate(answered["hits"], 1) if story.correction in hit["text"]]
    return (min(ranks) if ranks else None), answered["confidence"]


def test_a_stranger_reads_nothing_but_the_question_voted_on(
    served: Served, browser: Browser
) -> None:
    mine, other = "Who cleans the coffee machine?", "What is the salary of my manager?"
    links = [link_below(served, question) for question in (mine, other)]
    told = "It is the kitchen team, says somebody."
    with visitor(browser) as page:
        page.goto(links[0])
        page.get_by_label("What would be right?").fill(told)
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    with httpx.Client(trust_env=False, timeout=30) as anonymous:
        page_of_mine = anonymous.get(links[0]).text
        assert mine in page_of_mine
        secrets = (other, told, "kitchen team", "coffee.md", served.url + "/admin")
        for secret in secrets:
            assert secret not in page_of_mine
        (mine_id, *mine_signed), (other_id, *other_signed) = (
            link.rpartition("/")[2].split(".") for link in links
        )
        forged = {
            ".".join([other_id, *mine_signed]),
            ".".join([mine_id, *other_signed]),
            ".".join([mine_id[:-1] + "x", *mine_signed]),
            mine_id,
            "1",
        }
        for token in forged:
            answer = anonymous.get(f"{served.url}/f/{token}")
            assert 400 <= answer.status_code < 500, token
            for secret in (mine, *secrets):
                assert secret not in answer.text
            sent = anonymous.post(f"{served.url}/f", json={"token": token, "rating": "down"})
            assert 400 <= sent.status_code < 500, token
        for path in ("review/", "review/1/", "review/1/proof/", "retrieval/document/"):
            answer = anonymous.get(f"{served.url}/admin/{path}")
            assert answer.status_code in (302, 403), path
            assert mine not in answer.text
    ((votes,),) = served.installation.rows(
        f"SELECT count(*) FROM retrieval_feedback WHERE question IN ('{mine}', '{other}')"
    )
    assert votes == 1
