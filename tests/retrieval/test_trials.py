"""Other settings beside those of a collection: built, measured, switched to or discarded."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from retrieval import evaluation_runs, indexing, reindex, sync, trials
from retrieval.embeddings import embeddings_of
from retrieval.evaluation_runs import Evaluator
from retrieval.exceptions import ReindexRefused, TrialRefused
from retrieval.models import Chunk, Collection, EvaluationRun, Index, Judgment, Trial
from retrieval.search import search
from retrieval.types import SearchRequest
from retrieval.worker import WorkerProcess
from tests.conftest import index_everything

pytestmark = pytest.mark.django_db

LONG = "\n\n".join(f"Paragraph {number} says how to move file {number}." for number in range(30))
#: Words and no meaning at all: questions that say it otherwise are lost.
WORDS = {"mode": "lexical"}


@pytest.fixture
def golden(add: Callable[..., Any], collection: Collection) -> Collection:
    for name, text in (
        ("tar.md", "Extract files from an archive into a directory."),
        ("docker.md", "List all running containers."),
        ("cat.md", "The cat sleeps upon the sofa."),
    ):
        document = add(name, f"# {name}\n\n{text}\n\n{LONG}")
        Judgment.objects.create(collection=collection, question=text, document=document)
    collection.refresh_from_db()
    return collection


def drain() -> None:
    """What a worker does until nothing is due."""
    evaluator = Evaluator("test")
    busy = True
    while busy:
        index_everything()
        index = reindex.claim("test")
        busy = index is not None
        if index is not None:
            reindex.step(index)
        busy = evaluator.step() or trials.step() or busy


def found(question: str) -> str:
    return search(SearchRequest(question, "docs")).hits[0].external_id


def fresh(trial: Trial) -> Any:
    return Trial.objects.select_related("index", "before", "after", "collection").get(pk=trial.pk)


def leftovers(collection: Collection) -> list[str]:
    """Chunks and lexical rows that no index stands behind."""
    from django.db import connection

    indexes = Index.objects.filter(collection=collection)
    cuts = {index.chunking for index in indexes}
    chunks = Chunk.objects.filter(document__collection=collection).exclude(chunking__in=cuts)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM retrieval_lexical")
        words = cursor.fetchone()[0]
    surplus = words - Chunk.objects.filter(document__collection=collection).count()
    return [*map(str, chunks), *(["words"] * surplus)]


def is_in_chroma(store: Any, name: str) -> bool:
    from retrieval.exceptions import VectorCollectionMissing

    store.forget(name)
    try:
        store.count(name)
    except VectorCollectionMissing:
        return False
    return True


def test_a_second_index_is_measured_beside_the_live_one_and_then_waits(golden):
    live = golden.live_index
    trial = trials.start(golden, index={"chunk_size": 32}, name="small")
    with WorkerProcess() as worker:
        worker.drain()
    trial = fresh(trial)
    assert trial.state == "waiting"
    assert not trial.problem
    assert {"mean", "low", "high", "won", "lost", "same"} == trial.verdict.keys()
    assert trial.index.state == "ready"
    assert (trial.before.index, trial.after.index) == (live, trial.index)
    assert trial.after.settings["index"]["chunk_size"] == 32
    assert (trial.before.name, trial.after.name) == ("A: small", "B: small")
    golden.refresh_from_db()
    assert (golden.live_index, golden.chunk_size) == (live, 256)
    assert {Chunk.objects.get(pk=hit.chunk_id).chunking for hit in ask("containers")} == {
        live.chunking
    }


def ask(question: str) -> Any:
    return search(SearchRequest(question, "docs", top_k=5)).hits


def test_b_goes_live_at_once_with_what_came_in_meanwhile_and_can_be_rolled_back(
    golden, add, embedded
):
    before = golden.live_index
    trial = trials.start(golden, index={"chunk_size": 32}, retrieval_settings={"min_score": 0.01})
    drain()
    add("late.md", "# late\n\nA zebra arrived.")
    add("tar.md", "# tar\n\nA walrus took its place.")
    assert found("zebra") == "late.md"
    embedded.clear()
    assert trials.adopt(trial.pk).state == "adopted"
    golden.refresh_from_db()
    assert (golden.live_index, golden.chunk_size) == (fresh(trial).index, 32)
    assert golden.retrieval_settings == {"min_score": 0.01}
    assert embedded == []
    assert (found("zebra"), found("walrus")) == ("late.md", "tar.md")
    assert sync.compare(golden.live_index).is_clean
    assert golden.live_index.replaces == before
    with pytest.raises(TrialRefused):
        trials.adopt(trial.pk)
    reindex.rollback(golden)
    drain()
    golden.refresh_from_db()
    assert golden.live_index == before
    assert found("zebra") == "late.md"


def test_what_b_lacks_is_filled_in_before_it_goes_live(golden, add):
    trial = trials.start(golden, index={"chunk_size": 32})
    drain()
    built = fresh(trial).index
    # As if it had been away while a document came in.
    Index.objects.filter(pk=built.pk).update(state="retired")
    add("late.md", "# late\n\nA zebra arrived.")
    Index.objects.filter(pk=built.pk).update(state="ready")
    assert trials.adopt(trial.pk).state == "switching"
    golden.refresh_from_db()
    assert golden.live_index != built
    drain()
    golden.refresh_from_db()
    assert (golden.live_index, fresh(trial).state) == (built, "adopted")
    assert found("zebra") == "late.md"
    assert sync.compare(built).is_clean


def test_settings_of_search_are_tried_on_the_same_index(golden):
    trial = trials.start(golden, retrieval_settings=WORDS)
    assert Index.objects.count() == 1
    drain()
    trial = fresh(trial)
    assert (trial.before.mode, trial.after.mode) == ("hybrid", "lexical")
    assert trial.before.index == trial.after.index == golden.live_index
    golden.refresh_from_db()
    assert golden.retrieval_settings == {}
    assert trials.adopt(trial.pk).state == "adopted"
    golden.refresh_from_db()
    assert golden.retrieval_settings == WORDS


def test_discarding_b_leaves_nothing_in_chroma_the_word_index_or_the_tables(golden, store, add):
    chunks, rows = Chunk.objects.count(), Index.objects.count()
    trial = trials.start(golden, index={"chunk_size": 32})
    drain()
    built = fresh(trial).index
    assert is_in_chroma(store, built.physical_name)
    assert Chunk.objects.count() > chunks
    trials.discard(trial.pk)
    with pytest.raises(TrialRefused):
        trials.discard(trial.pk)
    add("late.md", "# late\n\nA zebra arrived.")
    drain()
    assert not is_in_chroma(store, built.physical_name)
    assert (Index.objects.count(), Chunk.objects.count()) == (rows, chunks + 1)
    assert leftovers(golden) == []
    assert fresh(trial).state == "discarded"
    assert EvaluationRun.objects.done().count() == 2
    assert found("zebra") == "late.md"


def test_cancelling_in_the_middle_of_the_build_leaves_nothing(golden, store, monkeypatch):
    chunks = Chunk.objects.count()
    monkeypatch.setattr(reindex, "FILL_BATCH", 1)
    trial = trials.start(golden, index={"chunk_size": 32})
    claimed = reindex.claim("builder")
    assert claimed is not None
    assert reindex.step(claimed)
    really = embeddings_of

    def discard_meanwhile(*args):
        monkeypatch.undo()
        trials.discard(trial.pk)
        drain()
        return really(*args)

    monkeypatch.setattr(indexing, "embeddings_of", discard_meanwhile)
    reindex.step(claimed)
    assert not reindex.step(claimed)
    assert not is_in_chroma(store, claimed.physical_name)
    assert Chunk.objects.count() == chunks
    assert leftovers(golden) == []
    assert not Index.objects.filter(pk=claimed.pk).exists()


def test_a_document_on_its_way_while_b_is_discarded_leaves_nothing_of_b(
    golden, store, add, monkeypatch
):
    trial = trials.start(golden, index={"chunk_size": 32})
    drain()
    built = fresh(trial).index
    add("late.md", "# late\n\nA zebra arrived.", index=False)
    revisions = indexing.claim("worker")
    really = indexing._write

    def write_then_discard(*args):
        really(*args)
        monkeypatch.undo()
        trials.discard(trial.pk)
        reindex.drop(Index.objects.get(pk=built.pk))

    monkeypatch.setattr(indexing, "_write", write_then_discard)
    indexing.process("worker", revisions)
    drain()
    assert found("zebra") == "late.md"
    assert not is_in_chroma(store, built.physical_name)
    assert leftovers(golden) == []
    assert sync.compare(golden.live_index).is_clean


def test_cancelling_the_reindex_gives_the_trial_up(golden):
    trial = trials.start(golden, index={"chunk_size": 32})
    reindex.cancel(fresh(trial).index)
    assert fresh(trial).state == "discarded"
    assert not Index.objects.filter(state="building").exists()


def test_a_worker_that_was_killed_in_the_middle_is_replaced(golden, monkeypatch):
    monkeypatch.setattr(reindex, "FILL_BATCH", 1)
    trial = trials.start(golden, index={"chunk_size": 32})
    index = reindex.claim("killed")
    assert index is not None
    reindex.step(index)
    Index.objects.filter(pk=index.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    while (again := reindex.claim("other")) and reindex.step(again):
        pass
    assert trials.step()
    assert not trials.step()
    assert evaluation_runs.claim("killed") == fresh(trial).before
    EvaluationRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    drain()
    trial = fresh(trial)
    assert trial.state == "waiting"
    assert trial.verdict
    assert EvaluationRun.objects.count() == 2


def test_a_run_that_fails_makes_the_trial_wait_with_a_sentence(golden):
    trial = trials.start(golden, index={"chunk_size": 32}, is_gate=True)
    Judgment.objects.all().delete()
    drain()
    trial = fresh(trial)
    assert trial.state == "waiting"
    assert "has no golden set" in trial.problem
    assert not trials.passed(trial)
    Judgment.objects.create(
        collection=golden,
        question="containers",
        document=golden.documents.get(external_id="docker.md"),
    )
    trials.measure_again(trial.pk)
    drain()
    assert fresh(trial).state == "adopted"


def test_one_thing_is_tried_at_a_time(golden):
    trials.start(golden, index={"chunk_size": 32})
    for tried in (
        lambda: reindex.start(golden, space="l2"),
        lambda: trials.start(golden, index={}),
    ):
        with pytest.raises((ReindexRefused, TrialRefused)):
            tried()
    drain()
    with pytest.raises(ReindexRefused):
        reindex.start(golden, space="l2")


def test_what_cannot_be_tried_is_refused(golden, shelf_without_questions):
    with pytest.raises(TrialRefused, match="Change one"):
        trials.start(golden)
    with pytest.raises(TrialRefused, match="Change one"):
        trials.start(golden, retrieval_settings=golden.retrieval_settings)
    with pytest.raises(TrialRefused, match="is empty"):
        trials.start(shelf_without_questions, index={"chunk_size": 32})
    with pytest.raises(TrialRefused):
        trials.adopt(0)


@pytest.fixture
def shelf_without_questions(model: Any) -> Collection:
    other = Collection.objects.create(slug="other", title="Other", embedding_model=model)
    other.open_first_index()
    return other


class TestGate:
    @pytest.fixture(autouse=True)
    def gated(self, golden: Collection) -> None:
        golden.is_gated = True
        golden.save()

    def test_what_is_not_worse_goes_live_by_itself(self, golden):
        index = trials.reindex_or_try(golden, chunk_size=64)
        drain()
        golden.refresh_from_db()
        assert (golden.live_index, golden.chunk_size) == (index, 64)
        assert Trial.objects.get().state == "adopted"

    def test_what_is_worse_waits_until_somebody_decides(self, golden):
        # Nothing reaches such a score, so every question is lost.
        trial = trials.start(golden, retrieval_settings={"min_score": 1.0}, is_gate=True)
        drain()
        trial = fresh(trial)
        assert (trial.state, trial.verdict["lost"]) == ("waiting", 3)
        assert trials.is_worse(trial)
        golden.refresh_from_db()
        assert golden.retrieval_settings == {}
        trials.adopt(trial.pk)
        golden.refresh_from_db()
        assert golden.retrieval_settings == {"min_score": 1.0}

    def test_a_worse_index_stays_beside_the_live_one(self, golden):
        live = golden.live_index
        trial = trials.start(
            golden, index={"chunk_size": 64}, retrieval_settings={"min_score": 1.0}, is_gate=True
        )
        drain()
        golden.refresh_from_db()
        assert (golden.live_index, golden.retrieval_settings) == (live, {})
        assert fresh(trial).index.state == "ready"

    @pytest.mark.parametrize(("tolerance", "is_worse"), [(0.0, True), (0.05, False)])
    def test_it_may_fall_as_far_as_it_is_allowed(self, golden, tolerance, is_worse):
        trial = Trial(collection=golden, tolerance=tolerance, verdict={"mean": -0.05})
        assert trials.is_worse(trial) is is_worse

    @pytest.mark.django_db(transaction=True)
    def test_the_command_waits_for_the_verdict(self, golden, monkeypatch):
        call_command("reindex", "docs", chunk_size=64)
        golden.refresh_from_db()
        assert golden.chunk_size == 64
        monkeypatch.setattr(trials, "is_worse", lambda trial: True)
        with pytest.raises(CommandError, match="does not go live by itself"):
            call_command("reindex", "docs", chunk_size=32)
        golden.refresh_from_db()
        assert golden.chunk_size == 64

    def test_a_rollback_does_not_wait(self, golden):
        first = golden.live_index
        trials.reindex_or_try(golden, chunk_size=64)
        drain()
        golden.refresh_from_db()
        reindex.rollback(golden)
        drain()
        golden.refresh_from_db()
        assert golden.live_index == first

    def test_a_damaged_live_index_is_replaced_while_something_is_tried(self, golden):
        trial = trials.start(golden, index={"chunk_size": 64})
        live = golden.live_index
        copy = reindex.rebuild_damaged(live)
        assert copy != trial.index
        drain()
        golden.refresh_from_db()
        assert golden.live_index == copy
        assert fresh(trial).state == "waiting"

    def test_a_damaged_index_on_trial_is_built_again_and_stays_on_trial(self, golden):
        trial = trials.start(golden, index={"chunk_size": 64})
        drain()
        live = golden.live_index
        copy = reindex.rebuild_damaged(fresh(trial).index)
        assert fresh(trial).index == copy
        drain()
        golden.refresh_from_db()
        assert golden.live_index == live
        assert fresh(trial).index.state == "ready"

    def test_thresholds_find_nothing_else(self):
        pair = {"hybrid": {"cjk": {"low": 0.1, "high": 0.2}}}
        assert not trials.ranks_otherwise({}, {"thresholds": pair})
        assert trials.ranks_otherwise({}, {"thresholds": pair, "context": 1})
