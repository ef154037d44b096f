"""The quality audit: what it finds, how a worker makes it, what its page shows."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from retrieval import quality, reports
from retrieval.exceptions import VectorStoreUnavailable
from retrieval.models import Chunk, Index, IndexReport, Worker
from retrieval.vector_store import VectorRecord, VectorStore
from retrieval.worker import WorkerProcess
from tests.kbadmin.conftest import make_report

Fill = Callable[..., list[Chunk]]
QUALITY = IndexReport.Kind.QUALITY


def url(name: str, index: Index) -> str:
    return reverse(f"admin:inspector_{name}", args=[index.collection_id])


def give(store: VectorStore, index: Index, chunk: Chunk, vector: np.ndarray) -> None:
    record = VectorRecord(chunk.vector_id, chunk.text_hash, vector.astype(np.float32))
    store.replace(index.physical_name, [record])


def test_every_fault_is_found_and_led_to(
    page: Client, index: Index, fill: Fill, chroma_store: VectorStore
) -> None:
    chunks = fill(documents=12)
    missing, zero, odd, empty, short, chinese, long, twin, *_fine, other = chunks
    chroma_store.delete(index.physical_name, [missing.vector_id])
    give(chroma_store, index, zero, np.zeros(384))
    give(chroma_store, index, odd, np.full(384, 0.5))
    Chunk.objects.filter(pk=empty.pk).update(text=" \n\t ")
    Chunk.objects.filter(pk=short.pk).update(text="See above.")
    # As wide as twenty letters: this is a sentence.
    Chunk.objects.filter(pk=chinese.pk).update(text="如何设置防火墙规则呢")
    Chunk.objects.filter(pk=long.pk).update(token_count=257)
    Chunk.objects.filter(pk=twin.pk).update(text_hash=other.text_hash)
    report = make_report(index, QUALITY)
    assert report.state == IndexReport.State.DONE
    assert report.data["chunks"] == 12
    assert {name: ids for name, ids in report.data["examples"].items() if ids} == {
        "missing": [missing.pk],
        "zero_norm": [zero.pk],
        "odd_norm": [odd.pk],
        "empty": [empty.pk],
        "too_short": [short.pk],
        "over_limit": [long.pk],
        "duplicates": [twin.pk, other.pk],
    }
    assert report.data["counts"]["duplicates"] == 1
    response = page.get(url("quality", index))
    html = response.content.decode()
    assert "12 records were looked at." in html
    for name in ("Odd norms", "Vectors of zero", "Over the token limit", "2 chunks with this text"):
        assert name in html
    assert f"record/?id={odd.pk}" in html


def test_what_is_well_is_said_to_be(page: Client, index: Index, fill: Fill) -> None:
    fill(documents=2)
    make_report(index, QUALITY)
    html = page.get(url("quality", index)).content.decode()
    assert "Nothing is wrong with any of them." in html
    assert "Norms of the vectors: 1.0000 to 1.0000" in html


def test_only_what_is_searched_is_audited(index: Index, fill: Fill) -> None:
    _searched, disabled, deleted = fill(documents=3)
    Chunk.objects.filter(pk=disabled.pk).update(enabled=False)
    deleted.document.tombstone()
    assert make_report(index, QUALITY).data["chunks"] == 1


def test_vectors_that_are_not_normalised_are_not_all_odd() -> None:
    norms = np.random.default_rng(1).normal(10, 1, 1000).astype(np.float32)
    norms[3] = 100
    norms[5] = np.nan
    norms[7] = 0
    assert np.flatnonzero(quality.odd(norms)).tolist() == [3]


def test_an_index_that_is_empty_has_no_faults(index: Index, chroma_store: VectorStore) -> None:
    report = make_report(index, QUALITY)
    assert (report.data["chunks"], sum(report.data["counts"].values())) == (0, 0)


# --- How it is made ---------------------------------------------------------------------


def test_it_is_asked_for_watched_and_shown(page: Client, index: Index, fill: Fill) -> None:
    fill()
    assert "Run</button>" in page.get(url("quality", index)).content.decode()
    html = page.post(url("report", index), {"kind": "quality"}, follow=True).content.decode()
    assert "Waiting for a worker" in html
    assert "No worker runs" in html
    assert "every 2s" in html
    IndexReport.objects.update(state="running", progress_done=3, progress_total=4)
    progress = url("progress", index) + "?kind=quality"
    html = page.get(progress).content.decode()
    assert "A worker is at it: 75 %" in html
    IndexReport.objects.update(state="queued")
    make_report(index, QUALITY)
    assert page.get(progress)["HX-Refresh"] == "true"
    html = page.get(url("quality", index)).content.decode()
    assert "Run again" in html
    assert "just now" in html


def test_asked_twice_it_is_made_once(page: Client, index: Index) -> None:
    for _ in range(2):
        page.post(url("report", index), {"kind": "quality"})
    assert IndexReport.objects.count() == 1


def test_what_is_no_report_is_not_found(page: Client, index: Index) -> None:
    assert page.post(url("report", index), {"kind": "horoscope"}).status_code == 404
    assert page.get(url("report", index)).status_code == 405


def test_a_worker_makes_what_is_asked_for(index: Index, fill: Fill) -> None:
    fill()
    report = reports.request(index, QUALITY)
    with WorkerProcess() as worker:
        while worker.work_once():
            pass
    report.refresh_from_db()
    assert (report.state, report.data["chunks"]) == ("done", 1)
    assert Worker.objects.count() == 1


def test_the_last_result_stays_until_the_next_is_there(
    page: Client, index: Index, fill: Fill
) -> None:
    fill()
    made_at = make_report(index, QUALITY).made_at
    report = reports.request(index, QUALITY)
    assert (report.made_at, report.data["chunks"]) == (made_at, 1)
    page.post(url("report", index), {"kind": "quality", "cancel": "1"})
    report.refresh_from_db()
    assert (report.state, report.data["chunks"]) == ("done", 1)


def test_a_cancelled_first_run_leaves_nothing(page: Client, index: Index) -> None:
    reports.request(index, QUALITY)
    page.post(url("report", index), {"kind": "quality", "cancel": "1"})
    assert not IndexReport.objects.exists()
    html = page.post(url("report", index), {"kind": "quality", "cancel": "1"}, follow=True)
    assert "It was done already." in html.content.decode()


def test_a_run_that_was_cancelled_in_the_middle_is_dropped(
    index: Index, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(documents=3)
    monkeypatch.setattr(reports, "STEP", 0)
    report = reports.request(index, QUALITY)
    maker = reports.ReportMaker("test")
    assert maker.step()
    reports.cancel(index, QUALITY)
    assert maker.step()
    assert not maker.step()
    assert not IndexReport.objects.filter(pk=report.pk).exists()


def test_chroma_away_is_said_and_can_be_tried_again(
    page: Client, index: Index, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()

    class Away:
        def fetch(self, name: str, ids: list[str]) -> None:
            raise VectorStoreUnavailable("Chroma does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(quality, "vector_store", Away)
        report = make_report(index, QUALITY)
    assert (report.state, report.made_at) == ("failed", None)
    html = page.get(url("quality", index)).content.decode()
    assert "Chroma does not answer." in html
    assert "Run again" in html
    assert make_report(index, QUALITY).state == "done"


def test_what_a_killed_worker_began_another_begins_anew(index: Index, fill: Fill) -> None:
    fill()
    report = reports.request(index, QUALITY)
    assert reports.claim("dead") == report
    assert reports.claim("other") is None
    IndexReport.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert reports.claim("other") == report


def test_what_kills_every_worker_is_given_up(index: Index) -> None:
    report = reports.request(index, QUALITY)
    for _ in range(reports.MAX_ATTEMPTS):
        assert reports.claim("dead") == report
        IndexReport.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert reports.claim("other") is None
    report.refresh_from_db()
    assert report.state == "failed"
    assert "died" in report.failure_message


def test_its_page_costs_the_same_with_many_examples(page: Client, index: Index, fill: Fill) -> None:
    counts = []
    for documents in (1, 30):
        fill(documents=documents, name=f"n{documents}")
        Chunk.objects.update(text="too short", token_count=999, text_hash="a" * 32)
        make_report(index, QUALITY)
        with CaptureQueriesContext(connection) as queries:
            page.get(url("quality", index))
        counts.append(len(queries))
    assert counts[0] == counts[1]
