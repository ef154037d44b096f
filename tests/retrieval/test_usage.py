"""Searches summed up by day: each is counted once, whoever counts, however often."""

from datetime import date, datetime, timedelta

import pytest
from django.utils import timezone

from retrieval import usage
from retrieval.models import Collection, Search, SearchDay
from retrieval.worker import WorkerProcess

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(shelf):
    """Log a search as if it had been asked some days ago."""

    def ask(
        days_ago=0.0,
        confidence="high",
        ms=10.0,
        results=1,
        collection=None,
        query="What is it?",
        documents=(),
    ):
        search = Search.objects.create(
            collection=collection or shelf,
            query=query,
            channel="api",
            top_k=4,
            confidence=confidence,
            result_count=results,
            results=[{"document_id": pk, "rank": 1} for pk in documents],
            total_ms=ms,
        )
        Search.objects.filter(pk=search.pk).update(
            created_at=timezone.now() - timedelta(days=days_ago, seconds=10)
        )
        return Search.objects.get(pk=search.pk)

    return ask


def sum_up_all():
    for _ in range(100):
        if not usage.sum_up_next():
            return
    raise AssertionError("it never ends")


def month() -> tuple[date, date]:
    return usage.today() - timedelta(days=29), usage.today()


def counts(collection=None):
    found = usage.daily(*month(), collection)
    return {
        day: (tally.high, tally.low, tally.none, tally.empty) for day, tally in found.days.items()
    }


def test_what_is_summed_up_and_what_is_not_are_counted_together(ask):
    for days_ago, confidence, results in (
        (20, "high", 4),
        (20, "none", 0),
        (3, "low", 4),
        (3, "none", 2),
    ):
        ask(days_ago, confidence, results=results)
    before = counts()
    sum_up_all()
    assert counts() == before
    assert sorted(before.values()) == [(0, 1, 1, 0), (1, 0, 1, 1)]
    newest = ask(0)
    total = usage.daily(*month()).total
    assert (total.searches, total.weak, total.empty) == (5, 3, 1)
    assert usage.day_of(newest.created_at) in counts()


def test_a_second_run_changes_nothing(ask):
    ask(2), ask(2, "low"), ask(0)
    sum_up_all()
    rows = list(SearchDay.objects.order_by("day", "collection").values("day", "high", "low"))
    sum_up_all()
    assert (
        list(SearchDay.objects.order_by("day", "collection").values("day", "high", "low")) == rows
    )


def test_a_day_that_is_not_over_grows(ask):
    first = ask(0)
    sum_up_all()
    day = usage.day_of(first.created_at)
    assert SearchDay.objects.get(day=day, collection=None).high == 1
    later = Search.objects.create(
        collection=first.collection, query="x", channel="api", top_k=1, confidence="high"
    )
    Search.objects.filter(pk=later.pk).update(
        created_at=SearchDay.objects.get(day=day, collection=None).until
    )
    assert usage.daily(day, day).total.searches == 2
    SearchDay.objects.update(until=timezone.now() - timedelta(seconds=30))
    sum_up_all()
    assert usage.daily(day, day).total.searches == 2


def test_collections_are_counted_apart(ask, shelf):
    other = Collection.objects.create(
        slug="other", title="Other", embedding_model=shelf.embedding_model
    )
    ask(2), ask(2), ask(2, collection=other)
    for _ in range(2):
        assert usage.daily(*month(), shelf.pk).total.searches == 2
        assert usage.daily(*month(), other.pk).total.searches == 1
        assert usage.daily(*month()).total.searches == 3
        sum_up_all()


def test_only_the_days_asked_for_are_counted(ask):
    ask(5), ask(3), ask(1)
    for _ in range(2):
        day = usage.today() - timedelta(days=3)
        found = usage.daily(day - timedelta(days=1), day + timedelta(days=1))
        assert found.total.searches == 1
        sum_up_all()


def test_days_are_those_of_the_installation_s_time_zone(ask, settings):
    settings.TIME_ZONE = "Asia/Shanghai"
    search = ask()
    late = datetime.fromisoformat("2026-03-01T18:30:00+00:00")
    Search.objects.filter(pk=search.pk).update(created_at=late)
    for _ in range(2):
        assert list(usage.daily(date(2026, 3, 1), date(2026, 3, 2)).days) == [date(2026, 3, 2)]
        sum_up_all()


def test_more_than_can_be_counted_is_said(ask, monkeypatch):
    monkeypatch.setattr(usage, "UNSUMMED_COUNTED", 3)
    for _ in range(3):
        ask(2)
    assert not usage.daily(*month()).is_capped
    ask(2)
    found = usage.daily(*month())
    assert found.is_capped
    assert found.total.searches == 3
    sum_up_all()
    found = usage.daily(*month())
    assert not found.is_capped
    assert found.total.searches == 4


def test_percentiles_are_near_the_exact_ones(ask):
    tally = usage.Tally()
    for ms in range(1, 1001):
        tally.add("high", 1, float(ms))
    assert tally.percentile(0.5) == pytest.approx(500, rel=0.03)
    assert tally.percentile(0.95) == pytest.approx(950, rel=0.03)
    assert usage.Tally().percentile(0.5) is None


def test_latencies_survive_the_sum(ask):
    for ms in (5, 50, 500):
        ask(2, ms=ms)
    before = usage.daily(*month()).total
    sum_up_all()
    assert usage.daily(*month()).total.latencies == before.latencies


def test_questions_are_the_same_but_for_case_and_spaces(ask, shelf):
    ask(2, "low", query="Where is it?")
    ask(1, query="what is  it?"), ask(0, "low", query="What is it?")
    found = usage.questions(usage.read(Search.objects.order_by("-created_at"), 10))
    assert [(q.newest.query, q.times, q.newest.is_weak) for q in found] == [
        ("What is it?", 2, True),
        ("Where is it?", 1, True),
    ]


def test_a_document_counts_once_for_each_answer(ask):
    ask(documents=[1, 1, 2]), ask(documents=[2])
    broken = ask()
    Search.objects.filter(pk=broken.pk).update(results=[{"document_id": "x"}, 3])
    assert usage.documents(usage.read(Search.objects.all(), 10, with_results=True)) == {2: 2, 1: 1}


@pytest.mark.django_db(transaction=True)
def test_the_worker_sums_up_a_day_at_a_time(ask):
    ask(3), ask(2)
    with WorkerProcess() as worker:
        worker._sum_up_when_due()
        assert SearchDay.objects.filter(collection=None).count() == 1
        worker._sum_up_when_due()
        worker._sum_up_when_due()
    assert SearchDay.objects.filter(collection=None).count() == 2
