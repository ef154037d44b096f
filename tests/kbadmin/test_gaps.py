"""The gaps report: what people ask and nobody has written down, and the page for it."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from retrieval import usage
from retrieval.feedback import gaps
from retrieval.models import (
    Collection,
    Document,
    ReviewItem,
    ReviewQuestion,
    ReviewSighting,
    Search,
)

URL, EXPORT, UPLOAD = "/admin/gaps/", "/admin/gaps/export.csv", "/admin/upload/"
Topic = Callable[..., ReviewItem]


@pytest.fixture
def topic(collection: Collection) -> Topic:
    """A group of questions: topic("How …?", {days ago: times}, people=2)."""

    def make(
        question: str,
        asked: dict[int, int],
        *,
        of: Collection | None = None,
        people: int = 1,
        **fields: Any,
    ) -> ReviewItem:
        now = timezone.now()
        times = sum(asked.values())
        item = ReviewItem.objects.create(
            collection=of or collection,
            question=question,
            first_asked_at=now - timedelta(days=max(asked)),
            last_asked_at=now - timedelta(days=min(asked)),
            **{"asked": times, "none_count": times, "harm": times, **fields},
        )
        for ago, number in asked.items():
            for person in range(people):
                ReviewSighting.objects.create(
                    item=item,
                    day=usage.today() - timedelta(days=ago),
                    asker=f"p{person}",
                    times=number if person == 0 else 0,
                )
        return item

    return make


def listed(page: Client, **asked: str) -> dict[str, str]:
    """Question → trend."""
    lines = page.get(URL, asked).context["lines"]
    return {line.topic.item.question: line.topic.trend.value for line in lines}


def exported(page: Client, **asked: str) -> list[dict[str, str]]:
    response = page.get(EXPORT, asked)
    assert response.streaming
    text = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(text)))


def test_topics_are_new_growing_steady_or_gone(page: Client, topic: Topic) -> None:
    topic("new?", {3: 1})
    topic("growing?", {40: 1, 5: 3})
    topic("steady?", {40: 3, 5: 3})
    topic("gone?", {45: 2})
    topic("long gone?", {200: 2})
    assert listed(page) == {"steady?": "steady", "growing?": "growing", "new?": "new"}
    assert listed(page, trend="new") == {"new?": "new"}
    assert listed(page, trend="growing") == {"growing?": "growing"}
    assert listed(page, trend="gone") == {"gone?": "gone"}
    numbers = [choice.number.number for choice in page.get(URL).context["choices"]]
    assert numbers == [3, 1, 1, 1]


def test_only_what_the_documents_do_not_answer(page: Client, topic: Topic) -> None:
    topic("none?", {1: 1})
    topic("doubtful?", {1: 1}, none_count=0, low_count=1)
    topic("said to be missing?", {1: 1}, none_count=0, reason="missing")
    topic("only voted on?", {1: 1}, none_count=0)
    topic("not ours?", {1: 1}, reason="not_ours")
    topic("closed?", {1: 1}, state="rejected", is_open=False)
    assert set(listed(page)) == {"none?", "doubtful?", "said to be missing?"}


def test_times_people_and_weeks_are_those_of_the_range(page: Client, topic: Topic) -> None:
    topic("Who pays postage?", {40: 4, 8: 2, 1: 3}, people=2)
    (line,) = page.get(URL).context["lines"]
    found = line.topic
    assert (found.asked, found.asked_before, found.people) == (5, 4, 2)
    assert sum(found.weeks.values()) == 5
    assert [bar.times for bar in line.bars] == list(found.weeks.values())
    html = page.get(URL).content.decode()
    assert "asked 5 times · 2 people" in html
    table = html.partition("Times asked per week")[2].partition("</table>")[0]
    assert table.count("<tr>") == len(found.weeks)


def test_one_collection_and_a_range_of_one_s_own(
    page: Client, collection: Collection, topic: Topic
) -> None:
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=collection.embedding_model
    )
    topic("here?", {1: 1}), topic("there?", {1: 1}, of=other)
    assert set(listed(page, collection="other")) == {"there?"}
    day = (usage.today() - timedelta(days=5)).isoformat()
    assert listed(page, first=day, last=day) == {}
    other.deleted_at = timezone.now()
    other.save()
    assert set(listed(page)) == {"here?"}


def test_weak_answers_are_told_by_week(page: Client, collection: Collection) -> None:
    for confidence in ("high", "low", "none", "none"):
        Search.objects.create(
            collection=collection, query="q", channel="api", top_k=4, confidence=confidence
        )
    Search.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    weeks = [week for week in page.get(URL).context["weeks"] if week.searches]
    assert [(week.weak, week.searches, week.share) for week in weeks] == [(3, 4, 75.0)]


def test_pages_follow_each_other(
    page: Client, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps.read_page, "__defaults__", ("", "", 2, None))
    for number in range(1, 4):
        topic(f"q{number}?", {1: number})
    context = page.get(URL).context
    assert [line.topic.item.question for line in context["lines"]] == ["q3?", "q2?"]
    context = page.get(context["after_url"]).context
    assert [line.topic.item.question for line in context["lines"]] == ["q1?"]
    assert not context["after_url"]


def test_only_the_worst_are_looked_through_and_that_is_said(
    page: Client, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "The export holds all" not in page.get(URL).content.decode()
    monkeypatch.setattr(gaps, "LOOKED_AT", 1)
    monkeypatch.setattr(gaps.select, "__defaults__", ("", 1))
    monkeypatch.setattr(gaps.read_page, "__defaults__", ("", "", 2, 1))
    topic("worse?", {1: 2}), topic("bad?", {1: 1})
    assert set(listed(page)) == {"worse?"}
    assert "The export holds all" in page.get(URL).content.decode()
    assert len(exported(page)) == 2


@pytest.mark.parametrize(
    "asked", [{"after": "x"}, {"days": "8"}, {"collection": "nothing"}, {"after": "nan~1"}]
)
def test_nonsense_is_refused_in_words(page: Client, topic: Topic, asked: dict[str, str]) -> None:
    topic("q?", {1: 1})
    response = page.get(URL, asked)
    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()
    if "after" not in asked:
        assert page.get(EXPORT, asked).status_code == 400


# --- Export ---------------------------------------------------------------------------------


def test_the_export_holds_every_topic_of_the_choice(
    page: Client, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "BATCH", 2)
    for number in range(1, 6):
        topic(f"邮费谁付 {number}?", {1: number})
    topic("gone?", {45: 2})
    rows = exported(page)
    assert [row["asked"] for row in rows] == ["5", "4", "3", "2", "1"]
    assert rows[0]["question"] == "邮费谁付 5?"
    assert sum(int(rows[0][name]) for name in rows[0] if name.startswith("week_")) == 5
    assert [row["question"] for row in exported(page, trend="gone")] == ["gone?"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "  =", "\r="])
def test_no_question_is_run_by_a_spreadsheet(page: Client, topic: Topic, start: str) -> None:
    topic(f'{start}HYPERLINK("https://evil.example")', {1: 1})
    (row,) = exported(page)
    assert row["question"].startswith("'")


# --- Writing the page -----------------------------------------------------------------------


def test_a_page_is_begun_with_the_questions_as_headings(page: Client, topic: Topic) -> None:
    other = Collection.objects.create(
        slug="another", title="Another", embedding_model=Collection.objects.get().embedding_model
    )
    item = topic("Who pays\npostage?", {1: 3}, of=other)
    for number, text in enumerate(("Who pays postage?", "Is shipping free?", "# <b>Postage?")):
        ReviewQuestion.objects.create(
            item=item, collection=other, key=str(number), text=text, asked=9 - number
        )
    (line,) = page.get(URL).context["lines"]
    response = page.get(line.write_url)
    form = response.context["form"]
    assert form["title"].value() == "Who pays postage"
    assert form["text"].value() == (
        "# Who pays postage?\n\n## Is shipping free?\n\n## <b>Postage?\n\n"
    )
    html = response.content.decode()
    assert f'<option value="{other.pk}" selected>' in html
    assert 'data-open="text"' in html
    assert "<b>Postage" not in html

    begun = {"collection": other.pk, "title": "Postage", "text": form["text"].value()}
    refused = page.post(UPLOAD, begun)
    assert refused.status_code == 400
    assert "only headings yet" in refused.content.decode()
    assert not Document.objects.exists()
    page.post(UPLOAD, {**begun, "text": form["text"].value() + "Nobody, it is free."})
    assert Document.objects.get().collection == other
    item.refresh_from_db()
    assert item.is_open


def test_a_question_that_is_not_there_leaves_the_form_empty(page: Client, topic: Topic) -> None:
    topic("q?", {1: 1})
    for wanted in ("0", "x", "9" * 30, "٣"):
        response = page.get(UPLOAD, {"write": wanted})
        assert response.status_code == 200
        assert not response.context["form"]["text"].value()


def test_who_may_see_it(client: Client, topic: Topic) -> None:
    item = topic("Who pays postage?", {1: 1})
    reader = User.objects.create_user("reader", password="x", is_staff=True)

    def allow(name: str) -> None:
        reader.user_permissions.add(Permission.objects.get(codename=name))
        client.force_login(reader)

    allow("add_document")
    assert client.get(URL).status_code == client.get(EXPORT).status_code == 403
    assert "postage" not in client.get(UPLOAD, {"write": item.pk}).content.decode()
    reader.user_permissions.clear()
    allow("view_feedback")
    html = client.get(URL).content.decode()
    assert "Who pays postage?" in html
    assert "Write this page" not in html
    assert client.get(UPLOAD, {"write": item.pk}).status_code == 403


# --- Costs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{}, {"trend": "growing", "days": "90"}])
def test_its_queries_are_few_and_do_not_grow(
    page: Client, topic: Topic, asked: dict[str, str], django_assert_max_num_queries: Any
) -> None:
    topic("first?", {100: 1, 1: 2})
    page.get(URL)
    with CaptureQueriesContext(connection) as few:
        page.get(URL, asked)
    for number in range(40):
        topic(f"q{number}?", {100: 1, number % 20: number + 2}, people=3)
    with django_assert_max_num_queries(25) as many:
        page.get(URL, asked)
    assert len(many) == len(few)
    assert not [query["sql"] for query in many if "OFFSET" in query["sql"]]
