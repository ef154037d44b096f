"""The page of evaluation: runs started, watched, read and compared."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from playwright.sync_api import Page, expect

from retrieval.models import (
    Collection,
    Document,
    EvaluationAnswer,
    EvaluationRun,
    Judgment,
)
from tests.kbadmin.test_browser import browser, tab

__all__ = ["browser", "tab"]

pytestmark = pytest.mark.django_db

URL = "/admin/evaluation/"
COMPARE = f"{URL}compare/"
METRICS = ("recall@1", "recall@5", "recall@10", "hit@1", "hit@5", "MRR@10", "nDCG@10")
Make = Callable[..., EvaluationRun]


@pytest.fixture
def make(collection: Collection) -> Make:
    """A finished run whose questions have these ranks; None is not found."""

    def make(name: str, *ranks: int | None, mode: str = "hybrid") -> EvaluationRun:
        run = EvaluationRun.objects.create(
            collection=collection,
            name=name,
            index=collection.live_index,
            mode=mode,
            questions_source="golden set",
            question_count=len(ranks),
            metrics={key: {"mean": 0.5, "low": 0.25, "high": 0.75} for key in METRICS},
            settings={"retrieval": {"dense_weight": {"cjk": 0.3}, "min_score": 0.1, "context": 1}},
        )
        EvaluationAnswer.objects.bulk_create(
            EvaluationAnswer(
                run=run,
                order=order,
                question=f"question {order}",
                question_hash=f"{order:032x}",
                relevant=["a.md"],
                found=[*(f"{n}.md" for n in range((rank or 4) - 1)), *(["a.md"] if rank else [])],
                ranks=[rank] if rank else [],
                confidence="low",
            )
            for order, rank in enumerate(ranks)
        )
        return run

    return make


def settings(**changed: object) -> dict[str, Any]:
    given = {"mode": "hybrid", "top_k": 5, "min_score": 0, "context": 0, **changed}
    return {"collection": "docs", **{f"a-{name}": value for name, value in given.items()}}


def test_an_empty_page_says_what_a_run_is(page: Client, collection: Collection) -> None:
    html = page.get(URL).content.decode()
    assert "Nothing was measured yet" in html
    assert "Fill the golden set" in html
    assert page.get(URL, {"collection": "nowhere"}).status_code == 404


def test_a_run_of_the_golden_set_is_queued_with_what_is_tried(
    page: Client, collection: Collection, add: Callable[..., Document]
) -> None:
    Judgment.objects.create(collection=collection, question="How?", document=add())
    tried = {**settings(mode="lexical", top_k=7, cjk="0.2"), "name": "words"}
    answer = page.post(URL, tried, follow=True)
    run = EvaluationRun.objects.get()
    assert (run.state, run.name, run.top_k) == ("queued", "words", 7)
    assert run.wanted["settings"]["mode"] == "lexical"
    html = answer.content.decode()
    assert "Waiting for a worker" in html
    assert "No worker runs" in html
    assert "evaluate" in LogEntry.objects.latest("pk").change_message

    bar = page.get(f"{URL}progress/?collection=docs&n=1")
    assert "words" in bar.content.decode()
    page.post(f"{URL}{run.pk}/delete/")
    assert not EvaluationRun.objects.exists()
    bar = page.get(f"{URL}progress/?collection=docs&n=1")
    assert bar["HX-Refresh"] == "true"


def test_a_file_of_questions_is_asked_instead(page: Client, collection: Collection) -> None:
    file = SimpleUploadedFile("set.csv", b"question,document\nHow?,refunds.md\n")
    page.post(URL, {**settings(), "file": file})
    run = EvaluationRun.objects.get()
    assert (run.questions_source, run.question_count) == ("set.csv", 1)
    assert run.wanted["questions"]["items"][0][:2] == ["How?", ["refunds.md"]]


@pytest.mark.parametrize(
    ("changed", "data", "said"),
    [
        ({}, None, "The golden set is empty"),
        ({}, b"nothing", "must be a header"),
        ({"top_k": 0}, b"question,document\nHow?,a.md\n", "greater than or equal to 1"),
        ({"mode": "psychic"}, b"question,document\nHow?,a.md\n", "psychic"),
    ],
)
def test_what_cannot_be_run_is_told_and_not_queued(
    page: Client, collection: Collection, changed: dict[str, Any], data: bytes | None, said: str
) -> None:
    given = settings(**changed)
    if data is not None:
        given["file"] = SimpleUploadedFile("set.csv", data)
    answer = page.post(URL, given)
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert not EvaluationRun.objects.exists()


def test_runs_are_charted_and_listed_by_their_questions(page: Client, make: Make) -> None:
    make("first", 1, 2)
    make("second", 1, 1)
    EvaluationRun.objects.filter(pk=make("other", 3).pk).update(questions_source="set.csv")
    answer = page.get(URL, {"collection": "docs", "questions": "golden set"})
    assert answer.context["series"]["names"] == ["first", "second"]
    assert answer.context["series"]["metrics"]["MRR@10"]["low"] == [0.25, 0.25]
    assert [run.name for run in answer.context["runs"]] == ["second", "first"]
    assert "set.csv" in answer.content.decode()
    answer = page.get(URL, {"collection": "docs", "questions": "set.csv"})
    assert answer.context["series"]["names"] == ["other"]


def test_a_failed_run_says_why_and_can_be_removed(page: Client, make: Make) -> None:
    run = make("first")
    EvaluationRun.objects.update(state="failed", failure_message="Nothing answers.")
    assert "Nothing answers." in page.get(URL).content.decode()
    page.post(f"{URL}{run.pk}/delete/")
    assert not EvaluationRun.objects.exists()


@pytest.mark.parametrize(
    ("found", "shown"),
    [("all", {0, 1, 2}), ("first", {0}), ("low", {1}), ("missed", {2}), ("odd", {0, 1, 2})],
)
def test_a_run_shows_its_answers(page: Client, make: Make, found: str, shown: set[int]) -> None:
    run = make("first", 1, 3, None)
    answer = page.get(f"{URL}{run.pk}/", {"found": found})
    assert {row.order for row, _url in answer.context["rows"]} == shown
    link = answer.context["rows"][0][1]
    assert "a-mode=hybrid" in link
    assert "a-cjk=0.3" in link
    assert page.get(link).status_code == 200


def test_two_runs_are_compared_question_by_question(page: Client, make: Make) -> None:
    before, after = make("one", 1, 2, None, 1), make("two", 2, 1, 3, 1, mode="lexical")
    keys = f"{COMPARE}?before={before.pk}&after={after.pk}"
    answer = page.get(keys)
    assert answer.context["outcome"] == "lost"
    counts = {str(label): count for label, count, _url, _shown in answer.context["filters"]}
    assert counts == {"Lost": 1, "Won": 2, "Unchanged": 1}
    html = answer.content.decode()
    assert "rank 1 → rank 2" in html
    assert "no certain difference" in html
    assert [line[0] for line in answer.context["settings"]] == ["Search by"]
    won = page.get(f"{keys}&outcome=won")
    assert [change.before for change, _url in won.context["rows"]] == [2, None]
    link = won.context["rows"][0][1]
    assert "compare=1" in link
    assert "b-mode=lexical" in link
    assert page.get(link).status_code == 200


def test_runs_that_cannot_be_compared_say_so(page: Client, make: Make) -> None:
    one, none = make("one", 1), make("none")
    keys = f"before={one.pk}&after={none.pk}"
    assert "no question in common" in page.get(f"{COMPARE}?{keys}").content.decode()
    for after in ("", "x", "999999", str(one.pk)):
        answer = page.get(f"{COMPARE}?before={one.pk}&after={after}", follow=True)
        assert "Choose two different runs" in answer.content.decode()
    EvaluationRun.objects.filter(pk=none.pk).update(state="queued")
    assert page.get(f"{URL}{none.pk}/").status_code == 404


def test_permissions_are_asked(client: Client, make: Make) -> None:
    run = make("first", 1)
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    for address in (URL, f"{URL}{run.pk}/", COMPARE):
        assert client.get(address).status_code == 403, address
    clerk.user_permissions.add(Permission.objects.get(codename="view_evaluationrun"))
    assert "Start a run" not in client.get(URL).content.decode()
    assert client.post(URL, settings()).status_code == 403
    assert client.post(f"{URL}{run.pk}/delete/").status_code == 403
    assert client.get(f"{URL}{run.pk}/delete/").status_code == 405
    assert EvaluationRun.objects.exists()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_runs_are_read_and_compared_in_a_browser(tab: Page, live_server: Any, make: Make) -> None:
    make("old weights", 1, 2, None)
    make("new weights", 1, 1, 1)
    tab.goto(f"{live_server.url}/admin/")
    tab.get_by_role("link", name="Evaluation").first.click()
    chart = tab.locator("#evaluation-chart")
    expect(chart).to_be_visible()
    painted = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
    assert chart.evaluate(painted)
    tab.get_by_role("button", name="Compare the chosen two").click()
    expect(tab.get_by_role("heading", name="Question by question")).to_be_visible()
    expect(tab.locator(".kb-evaluation-tabs")).to_contain_text("Won (2)")
    expect(tab.get_by_text("not found → rank 1")).to_be_visible()
    tab.get_by_role("link", name="old weights").click()
    tab.get_by_role("link", name="Not found").click()
    expect(tab.locator(".kb-row")).to_have_count(1)
    tab.get_by_role("link", name="question 2").click()
    tab.wait_for_url("**/admin/playground/**")
