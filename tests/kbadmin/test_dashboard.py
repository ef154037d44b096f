"""The first page: what needs somebody, the steps of a newcomer, how the notes are asked."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from kbadmin.pages import parts, usage_report
from retrieval import usage
from retrieval.exceptions import VectorStoreUnavailable
from retrieval.feedback import numbers
from retrieval.models import (
    Acceptance,
    ApiKey,
    Chunk,
    Collection,
    Document,
    Feedback,
    Index,
    ReviewItem,
    Search,
    Worker,
)
from tests.kbadmin.conftest import Add

URL = "/admin/"
Ask = Callable[..., Search]


class Store:
    def __init__(self, is_there: bool) -> None:
        self.is_there = is_there

    def heartbeat(self) -> None:
        if not self.is_there:
            raise VectorStoreUnavailable("Chroma does not answer.")


@pytest.fixture(autouse=True)
def chroma_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def chroma_is(is_there: bool) -> None:
        monkeypatch.setattr(parts, "impatient_store", lambda: Store(is_there))

    chroma_is(True)
    return chroma_is


@pytest.fixture(autouse=True)
def model_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "bundle_of", lambda model: object())


@pytest.fixture
def ask(collection: Collection) -> Ask:
    """Log a search as if it had been asked some days ago."""

    def ask(
        query: str = "How are refunds paid?",
        confidence: str = "high",
        days_ago: float = 0,
        documents: tuple[int, ...] = (),
        of: Collection | None = None,
        **values: Any,
    ) -> Search:
        search = Search.objects.create(
            collection=of or collection,
            query=query,
            channel="api",
            top_k=4,
            confidence=confidence,
            result_count=len(documents),
            results=[{"document_id": pk, "rank": 1, "score": 0.5} for pk in documents],
            **{"total_ms": 20.0, **values},
        )
        Search.objects.filter(pk=search.pk).update(
            created_at=timezone.now() - timedelta(days=days_ago, seconds=30)
        )
        return search

    return ask


def sentences(page: Client) -> list[str]:
    return [item.sentence for item in page.get(URL).context["attention"].items]


# --- What needs attention ------------------------------------------------------------------


def test_nothing_to_do_is_a_calm_sentence(page: Client, add: Add) -> None:
    add()
    html = page.get(URL).content.decode()
    assert "All is well" in html


def test_failures_come_with_their_reasons_and_one_retry_for_all(page: Client, add: Add) -> None:
    add("a.pdf", "failed", "No text in it.")
    html = page.get(URL).content.decode()
    assert "1 document could not be indexed." in html
    assert "No text in it." in html
    assert reverse("admin:retrieval_document_retry_all") not in html
    add("b.pdf", "failed", "Broken.")
    html = page.get(URL).content.decode()
    assert "2 documents could not be indexed." in html
    page.post(reverse("admin:retrieval_document_retry_all"))
    assert "could not be indexed" not in page.get(URL).content.decode()


def test_a_retry_comes_back_to_this_page(page: Client, add: Add) -> None:
    document = add("a.pdf", "failed", "No text in it.")
    html = page.get(URL).content.decode()
    assert '<input type="hidden" name="next" value="/admin/">' in html
    url = reverse("admin:retrieval_document_retry", args=[document.pk])
    assert page.post(url, {"next": URL})["Location"] == URL


def test_a_chroma_that_is_away_is_told(
    page: Client, add: Add, chroma_is: Callable[[bool], None]
) -> None:
    add()
    chroma_is(False)
    (sentence,) = sentences(page)
    assert "Chroma: It does not answer" in sentence


def test_a_worker_is_missed_only_where_work_waits(page: Client, add: Add) -> None:
    add()
    assert sentences(page) == []
    add("new.md", "queued")
    (sentence,) = sentences(page)
    assert "so nothing is indexed" in sentence
    Worker.objects.create(name="w", host="h", pid=1)
    assert sentences(page) == []


def test_a_model_that_is_missing_is_told(
    page: Client, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add()
    monkeypatch.setattr(parts, "bundle_of", lambda model: None)
    (sentence,) = sentences(page)
    assert "Not prepared on this machine" in sentence


def test_an_index_that_drifted_can_be_compared_again(
    page: Client, collection: Collection, add: Add
) -> None:
    add()
    index = Index.objects.filter(collection=collection)
    drift = {"missing": 3, "stale": 0, "orphaned": 1}
    index.update(checked_at=timezone.now(), drift=drift)
    (item,) = page.get(URL).context["attention"].items
    assert item.is_post
    assert item.url == reverse("admin:retrieval_collection_reconcile", args=[collection.pk])
    assert item.detail == "3 missing, 0 stale, 1 orphaned records."
    index.update(drift=dict.fromkeys(drift, 0))
    assert sentences(page) == []


def test_a_damaged_index_is_told(page: Client, collection: Collection, add: Add) -> None:
    add()
    Index.objects.filter(collection=collection).update(state=Index.State.DAMAGED)
    assert sentences(page)[0].startswith("The index of Handbook is damaged")


def test_waiting_feedback_leads_to_the_queue(
    page: Client, collection: Collection, add: Add
) -> None:
    add()
    for number in range(2):
        ReviewItem.objects.create(collection=collection, question=str(number), down_count=1)
    (item,) = page.get(URL).context["attention"].items
    assert item.sentence == "2 questions with a bad answer or a vote wait for a review."
    assert len(page.get(item.url).context["lines"]) == 2


def test_weak_answers_lead_to_the_playground_until_there_is_a_good_one(
    page: Client, add: Add, ask: Ask
) -> None:
    document = add()
    ask("Who pays postage?", "none", 2)
    ask("who pays  postage?", "low", 1, (document.pk,))
    ask("How are refunds paid?", "high", 1, (document.pk,))
    ask("Long ago", "none", 30)
    (item,) = page.get(URL).context["attention"].items
    assert "who pays  postage?" in item.sentence
    assert item.detail == "Handbook: What was found fits it only in part. Asked 2 times."
    assert item.url == "/admin/playground/?collection=docs&q=who+pays++postage%3F"
    ask("Who pays postage?", "high", 0, (document.pk,))
    assert sentences(page) == []


def test_a_reader_is_offered_only_what_they_may_do(
    client: Client, collection: Collection, add: Add, ask: Ask, chroma_is: Callable[[bool], None]
) -> None:
    add("a.pdf", "failed", "No text in it.")
    ask("Who pays postage?", "none")
    ReviewItem.objects.create(collection=collection, question="q", down_count=1)
    chroma_is(False)
    reader = User.objects.create_user("reader", password="x", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_document"))
    client.force_login(reader)
    response = client.get(URL)
    html = response.content.decode()
    assert "No text in it." in html
    assert reverse("admin:status") not in html
    assert reverse("admin:retrieval_document_retry_all") not in html
    assert "Retry" not in html
    assert "wait for a review" not in html
    assert "Who pays postage?" not in html
    assert "total" not in response.context


# --- The first steps -----------------------------------------------------------------------


def test_a_newcomer_is_led_from_upload_to_try_to_connect(
    page: Client, collection: Collection, add: Add, ask: Ask
) -> None:
    def done() -> int:
        return page.get(URL).content.decode().count("kb-step-done")

    html = page.get(URL).content.decode()
    assert done() == 0
    assert "Needs attention" not in html
    add()
    assert done() == 1
    assert reverse("admin:playground") in page.get(URL).content.decode()
    search = ask()
    Search.objects.filter(pk=search.pk).update(channel="playground")
    assert done() == 2
    key, _secret = ApiKey.issue("NextChat")
    assert done() == 2
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now())
    assert "kb-steps" not in page.get(URL).content.decode()


def test_the_address_for_chat_programs_is_shown(
    page: Client, collection: Collection, settings: Any
) -> None:
    settings.PLUGIN_SERVER_URL = "https://notes.example"
    html = page.get(URL).content.decode()
    assert "https://notes.example/openapi.json" in html
    assert "https://notes.example/.well-known/ai-plugin.json" in html


# --- Figures -------------------------------------------------------------------------------


def test_documents_and_chunks_are_counted_by_state(page: Client, add: Add) -> None:
    add("a.md", chunks=3), add("b.md", "queued"), add("c.md", "failed", "x")
    add("d.md", "skipped")
    Chunk.objects.filter(order=1).update(enabled=False)
    context = page.get(URL).context
    names = ("searchable", "working", "failed", "kept_out", "chunks", "switched_off")
    assert [context[name].number for name in names] == [1, 1, 1, 1, 2, 1]


def test_answers_are_summed_up_over_the_range(page: Client, add: Add, ask: Ask) -> None:
    document = add()
    ask(documents=(document.pk,)), ask("b", "low", 2, (document.pk,)), ask("c", "none", 2)
    ask("d", "none", 20)
    context = page.get(URL, {"days": 7}).context
    assert context["total"].searches == 3
    assert context["weak_share"] == pytest.approx(66.7, abs=0.1)
    assert context["empty_share"] == pytest.approx(33.3, abs=0.1)
    assert context["p50"] == pytest.approx(20, rel=0.03)
    assert len(context["series"]["days"]) == 7
    assert sum(context["series"]["none"]) == 1
    assert page.get(URL, {"days": 90}).context["total"].searches == 4


def test_top_questions_and_documents(page: Client, add: Add, ask: Ask) -> None:
    one, two, gone = add("one.md"), add("two.md"), add("gone.md")
    for _ in range(3):
        ask("Which one?", documents=(one.pk, gone.pk))
    ask("Or two?", documents=(two.pk, one.pk))
    gone.tombstone()
    context = page.get(URL).context
    assert [(q.text, q.times) for q in context["top_questions"]] == [
        ("Which one?", 3),
        ("Or two?", 1),
    ]
    assert context["top_documents"] == [(one, 4), (two, 1)]


def test_a_sample_is_called_one(
    page: Client, add: Add, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    add()
    monkeypatch.setattr(usage_report, "SAMPLE", 2)
    monkeypatch.setattr(usage, "UNSUMMED_COUNTED", 2)
    ask("a"), ask("b")
    assert "newest 2 searches" not in page.get(URL).content.decode()
    ask("c")
    html = page.get(URL).content.decode()
    assert "those of the newest 2 searches of the range" in html
    assert "only the newest 2 searches are counted" in html


def test_one_collection_can_be_looked_at(
    page: Client, collection: Collection, add: Add, ask: Ask
) -> None:
    add()
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=collection.embedding_model
    )
    ask(), ask("Elsewhere?", of=other)
    context = page.get(URL, {"collection": "other"}).context
    assert context["total"].searches == 1
    assert [q.text for q in context["top_questions"]] == ["Elsewhere?"]
    assert "collection=other" in context["presets"][0][1]


def test_a_range_of_one_s_own(page: Client, add: Add, ask: Ask) -> None:
    add()
    ask(days_ago=10), ask(days_ago=3)
    day = (usage.today() - timedelta(days=10)).isoformat()
    context = page.get(URL, {"first": day, "last": day}).context
    assert context["series"]["days"] == [day]
    assert context["total"].searches == 1


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"days": "8"}, "Choose 7, 30 or 90 days."),
        ({"days": "x' OR 1"}, "Choose 7, 30 or 90 days."),
        ({"first": "2026-02-30", "last": "2026-03-01"}, "Write a day as 2030-12-31."),
        ({"first": "2026-02-01"}, "Give both days"),
        ({"first": "2026-02-02", "last": "2026-02-01"}, "must not be after"),
        ({"first": "2020-01-01", "last": "2026-01-01"}, "at most 366 days"),
        ({"first": "9999-12-31", "last": "9999-12-31"}, "in the future"),
        ({"first": "0001-01-01", "last": "0001-01-01"}, "Nothing is known"),
        ({"collection": "nothing"}, "This collection does not exist."),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_in_words(
    page: Client, add: Add, ask: Ask, asked: dict[str, str], sentence: str
) -> None:
    add()
    ask()
    response = page.get(URL, asked)
    assert response.status_code == 400
    assert sentence in response.content.decode()
    assert response.context["total"].searches == 1


def test_other_parameters_do_not_disturb(page: Client, add: Add, ask: Ask) -> None:
    add()
    ask()
    assert page.get(URL, {"utm": "1"}).status_code == 200


def test_the_numbers_are_also_a_table(page: Client, add: Add, ask: Ask) -> None:
    add()
    ask(confidence="low")
    html = page.get(URL).content.decode()
    table = html.partition('<table class="kb-table">')[2].partition("</table>")[0]
    assert table.count('<th scope="row">') == 1
    assert "20 ms" in table
    data = html.partition('<script id="usage-series" type="application/json">')[2]
    assert sum(json.loads(data.partition("</script>")[0])["low"]) == 1


def test_days_without_questions_say_what_to_do(page: Client, add: Add, ask: Ask) -> None:
    add()
    assert "Nobody has asked yet" in page.get(URL).content.decode()
    ask(days_ago=20)
    html = page.get(URL, {"days": "7"}).content.decode()
    assert "Nothing was asked in these days" in html


def test_what_happened_last(page: Client, collection: Collection, add: Add) -> None:
    add("old.md")
    retired = Index.objects.get(collection=collection)
    Index.objects.filter(pk=retired.pk).update(state=Index.State.RETIRED)
    live = collection.open_first_index()
    Index.objects.filter(pk=live.pk).update(replaces=retired)
    names = [activity.name for activity in page.get(URL).context["recent"]]
    assert names == ["New index of Handbook", "old.md"]


# --- Feedback ------------------------------------------------------------------------------


def vote(of: Collection, rating: int, days_ago: float = 0) -> Feedback:
    row = Feedback.objects.create(collection=of, question="q", channel="api", rating=rating)
    at = timezone.now() - timedelta(days=days_ago)
    Feedback.objects.filter(pk=row.pk).update(created_at=at)
    return row


def close_item(of: Collection, state: str, after: timedelta, days_ago: float = 0) -> None:
    at = timezone.now() - timedelta(days=days_ago)
    item = ReviewItem.objects.create(
        collection=of,
        question="q",
        state=state,
        is_open=False,
        first_asked_at=at - after,
        closed_at=at,
    )
    if state == "accepted":
        for final in ("undone", "final"):
            Acceptance.objects.create(item=item, kind="answer", state=final, final_at=at)


def test_satisfaction_is_told_by_week_and_by_collection(
    page: Client, collection: Collection, add: Add, ask: Ask
) -> None:
    add()
    ask()
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=collection.embedding_model
    )
    vote(collection, 1), vote(collection, 1, 14), vote(collection, -1, 14)
    vote(other, -1), vote(other, 1, 60)
    context = page.get(URL).context
    assert (context["satisfaction"].up, context["satisfaction"].down) == (2, 2)
    assert [votes.satisfaction for _, votes in context["satisfaction_weeks"]] == [50.0, 50.0]
    shares = {place.title: place.votes.satisfaction for place in context["satisfaction_places"]}
    assert shares == {"Handbook": pytest.approx(66.7, abs=0.1), "Other": 0.0}
    of_one = page.get(URL, {"collection": "docs"})
    assert of_one.context["satisfaction"].number == 3
    series = of_one.context["satisfaction_series"]
    assert [share for share in series["share"] if share is not None] == [50.0, 100.0]
    table = of_one.content.decode().partition("Votes of each week")[2].partition("</table>")[0]
    assert table.count('<th scope="row">') == 2
    assert "100 %" in table
    assert page.get(URL, {"days": 90}).context["satisfaction"].number == 5


def test_only_the_newest_votes_are_counted_and_that_is_said(
    page: Client, collection: Collection, add: Add, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    add()
    ask()
    monkeypatch.setattr(numbers, "VOTES_READ", 2)
    vote(collection, -1), vote(collection, 1)
    assert "only the newest" not in page.get(URL).content.decode()
    vote(collection, 1)
    response = page.get(URL)
    assert response.context["satisfaction"].satisfaction == 100
    assert "only the newest 2 are counted" in response.content.decode()


def test_reviews_are_counted_and_timed(
    page: Client, collection: Collection, add: Add, ask: Ask
) -> None:
    add()
    ask()
    ReviewItem.objects.create(collection=collection, question="open")
    close_item(collection, "accepted", timedelta(hours=5))
    close_item(collection, "rejected", timedelta(hours=3))
    close_item(collection, "accepted", timedelta(hours=26), 20)
    close_item(collection, "accepted", timedelta(hours=90), 40)
    context = page.get(URL, {"days": 7}).context
    assert context["open_items"].number == 1
    assert context["improved"].number == 1
    assert context["time_to_close"].replace("\xa0", " ") == "5 hours"
    assert page.get(URL, {"days": 90}).context["improved"].number == 3


def test_no_feedback_is_a_calm_sentence(page: Client, add: Add, ask: Ask) -> None:
    add()
    ask()
    html = page.get(URL).content.decode()
    assert "No feedback in these days" in html
    assert 'data-chart="satisfaction"' not in html


def test_feedback_is_told_only_to_who_may_see_it(
    client: Client, collection: Collection, add: Add, ask: Ask
) -> None:
    add()
    ask("Who pays postage?")
    vote(collection, 1)
    reader = User.objects.create_user("reader", password="x", is_staff=True)

    def allow(name: str) -> str:
        reader.user_permissions.add(Permission.objects.get(codename=name))
        client.force_login(reader)
        return str(client.get(URL).content.decode())

    assert "Satisfaction" not in allow("view_document")
    html = allow("view_feedback")
    assert "Satisfaction per collection" in html
    assert "Who pays postage?" not in html


# --- Costs ---------------------------------------------------------------------------------


def fill(add: Add, ask: Ask, collection: Collection, number: int) -> None:
    known = Document.objects.count()
    for n in range(known, known + number):
        document = add(f"{n}.md")
        add(f"{n}.pdf", "failed", "No text.")
        ask(f"question {n}?", "low", n % 25, (document.pk,))
        vote(collection, 1, n % 25)
        close_item(collection, "accepted", timedelta(hours=n))
        ReviewItem.objects.create(collection=collection, question="q", down_count=1)
        other = Collection.objects.create(
            slug=f"c{n}", title="x", embedding_model=collection.embedding_model
        )
        index = other.open_first_index()
        Index.objects.filter(pk=index.pk).update(
            checked_at=timezone.now(), drift={"missing": 1}, replaces=collection.live_index_id
        )


@pytest.mark.parametrize("asked", [{}, {"days": "90"}, {"collection": "docs"}])
def test_its_queries_are_few_and_do_not_grow(
    page: Client,
    add: Add,
    ask: Ask,
    collection: Collection,
    asked: dict[str, str],
    django_assert_max_num_queries: Any,
) -> None:
    fill(add, ask, collection, 1)
    page.get(URL)  # fills caches, such as content types
    with CaptureQueriesContext(connection) as few:
        page.get(URL, asked)
    fill(add, ask, collection, 40)
    with django_assert_max_num_queries(53) as many:
        page.get(URL, asked)
    assert len(many) == len(few)
    assert not [q["sql"] for q in many if "OFFSET" in q["sql"]]
