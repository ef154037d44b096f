"""The worker process, in this process and in real ones that are killed."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from retrieval import sync, worker
from retrieval.ingest import accept
from retrieval.models import Document, Revision, Worker
from retrieval.worker import WorkerProcess, release_abandoned
from tests.retrieval.conftest import live_rows
from tests.retrieval.installation import installed

committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queue(transactional_db, collection):
    """Accept documents that then wait: queue("a.md", "text", …)."""

    def put(**texts):
        for name, text in texts.items():
            accept(
                collection,
                external_id=f"{name}.md",
                filename=f"{name}.md",
                data=text.encode(),
                origin=Document.Origin.UPLOAD,
            )
        return collection

    return put


def states():
    return set(Revision.objects.values_list("state", flat=True))


@committed
def test_a_worker_registers_works_and_signs_off(queue, in_chroma):
    collection = queue(a="# A\n\nThe zebra sleeps.", b="# B\n\nThe giraffe eats.")
    with WorkerProcess() as process:
        row = Worker.objects.get(name=process.name)
        assert row.is_alive
        assert row.pid == os.getpid()
        process.drain()
    row.refresh_from_db()
    assert not row.is_alive
    assert row.stopped_at is not None
    assert row.done_count == 2
    assert states() == {"indexed"}
    assert in_chroma(collection) == live_rows(collection)


@committed
def test_whether_a_worker_of_this_machine_is_alive_can_be_asked(db):
    def check():
        call_command("worker", "--check")

    with pytest.raises(CommandError, match="No worker"):
        check()
    with WorkerProcess() as process:
        check()
        Worker.objects.filter(name=process.name).update(host="another")
        with pytest.raises(CommandError, match="No worker"):
            check()
        Worker.objects.filter(name=process.name).update(host=process.host)
        check()
    with pytest.raises(CommandError, match="No worker"):
        check()


@committed
def test_there_is_nothing_to_do_twice(queue):
    queue(a="text")
    with WorkerProcess() as process:
        assert process.work_once() is True
        process.drain()
        assert process.work_once() is False


@committed
def test_looking_at_empty_queues_takes_no_lock(queue, django_assert_max_num_queries):
    queue(a="text")
    with WorkerProcess() as process:
        process.drain()
        with django_assert_max_num_queries(16) as looked:
            assert process.work_once() is False
    # In SQLite a transaction has the only lock, which uploads and the log wait for.
    assert {query["sql"].split()[0] for query in looked.captured_queries} == {"SELECT"}


@committed
def test_the_heart_beats_and_extends_leases_during_long_work(queue, monkeypatch, settings):
    monkeypatch.setattr(worker, "HEARTBEAT", timedelta(seconds=0.1))
    queue(a="text")
    with WorkerProcess() as process:
        from retrieval import indexing

        indexing.claim(process.name)
        Revision.objects.update(lease_until=timezone.now() - timedelta(seconds=5))
        Worker.objects.update(seen_at=timezone.now() - timedelta(hours=1))
        extended = Revision.objects.filter(lease_until__gt=timezone.now())
        wait_until(extended.exists, seconds=10)
        assert Worker.objects.get().is_alive


@committed
def test_what_a_stopped_worker_held_is_free_at_once(queue):
    queue(a="text")
    from retrieval import indexing

    with WorkerProcess() as process:
        indexing.claim(process.name)
        assert states() == {"parsing"}
    assert states() == {"queued"}
    assert Revision.objects.get().crashes == 0


@committed
def test_a_worker_that_fails_frees_what_it_held(queue):
    queue(a="text")
    from retrieval import indexing

    with pytest.raises(ZeroDivisionError), WorkerProcess() as process:
        indexing.claim(process.name)
        raise ZeroDivisionError
    assert states() == {"queued"}


@committed
def test_running_it_repairs_chroma_first_and_then_indexes(queue, store, in_chroma, monkeypatch):
    collection = queue(a="# A\n\nThe zebra sleeps.")
    with WorkerProcess() as process:
        process.drain()
    collection.refresh_from_db()
    store.drop(collection.live_index.physical_name)
    queue(b="# B\n\nThe giraffe eats.")
    process = WorkerProcess()
    really = process.work_once

    def work_once():
        busy = really()
        if not busy:
            process.stopping.set()
        return busy

    monkeypatch.setattr(process, "work_once", work_once)
    with process:
        process.run()
    assert in_chroma(collection) == live_rows(collection)
    assert len(live_rows(collection)) == 2


@committed
def test_a_repair_that_cannot_be_done_now_is_tried_again_soon(queue, monkeypatch):
    from retrieval.exceptions import VectorStoreUnavailable

    queue(a="text")

    def away(*args):
        raise VectorStoreUnavailable("Chroma is away.")

    monkeypatch.setattr(sync, "is_damaged", away)
    with WorkerProcess() as process:
        process._reconcile_when_due()
        wait = process._reconcile_at - time.monotonic()
    assert 0 < wait <= worker.RECONCILE_RETRY


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@committed
def test_what_a_dead_process_held_is_given_back(queue):
    from retrieval import indexing

    queue(a="text")
    Worker.objects.create(name="dead", host="here", pid=dead_pid())
    indexing.claim("dead")
    assert release_abandoned("elsewhere") == 0
    assert states() == {"parsing"}
    assert release_abandoned("here") == 1
    assert states() == {"queued"}
    assert Worker.objects.get(name="dead").stopped_at is not None
    assert release_abandoned("here") == 0


@committed
def test_what_a_living_process_holds_stays_its_own(queue):
    from retrieval import indexing

    queue(a="text")
    Worker.objects.create(name="alive", host="here", pid=os.getpid())
    indexing.claim("alive")
    assert release_abandoned("here") == 0
    assert states() == {"parsing"}


# --- Real processes ----------------------------------------------------------------------


@pytest.fixture
def installation(tmp_path, bundle):
    with installed(tmp_path / "data", bundle) as installation:
        yield installation


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(installation, tmp_path):
    """Law 3, with real processes and signals, several times in a row."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(40):
        prose = "The backup of the server is copied to another disk every night. " * 40
        (notes / f"{number:02}.md").write_text(f"# Note {number}\n\nSubject {number}. {prose}\n")
    installation.run("ingest", str(notes), "--collection", "docs")

    def done():
        ((count,),) = installation.rows(
            "SELECT count(*) FROM retrieval_revision WHERE state = 'indexed'"
        )
        return count

    def embedded():
        return installation.rows("SELECT count(*) FROM retrieval_embedding")[0][0]

    assert done() == 0
    # Once while it holds its first batch, once after the first vectors are stored.
    for reached in (
        lambda: installation.rows("SELECT 1 FROM retrieval_revision WHERE state = 'embedding'"),
        lambda: embedded() > 0,
    ):
        worker = installation.start("worker")
        wait_until(reached)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert done() < 40, "the worker was too quick to be killed in the middle"
    vectors = embedded()
    worker = installation.start("worker")
    wait_until(lambda: done() == 40, seconds=120)
    assert embedded() >= vectors
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0

    chunks = [str(pk) for (pk,) in installation.rows("SELECT id FROM retrieval_chunk")]
    assert len(chunks) > 40
    assert sorted(installation.in_chroma()) == sorted(chunks)
    words = [str(pk) for (pk,) in installation.rows("SELECT rowid FROM retrieval_lexical_docsize")]
    assert sorted(words) == sorted(chunks)
    hashes = {digest for (digest,) in installation.rows("SELECT text_hash FROM retrieval_chunk")}
    stored = installation.rows("SELECT text_hash FROM retrieval_embedding")
    assert sorted(digest for (digest,) in stored) == sorted(hashes)
    assert installation.rows("SELECT 1 FROM retrieval_revision WHERE lease_owner <> ''") == []
