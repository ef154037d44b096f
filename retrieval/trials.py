"""Other settings beside those that a collection has, measured on its golden set, then the choice.

A trial stands on rows: its index is built beside the live one (reindex.py) and stays in step with
it, its two runs are made by the worker (evaluation_runs.py). Each step is one transaction, so a
worker that is killed leaves nothing half-done. A gate is a trial that ends by itself if its
settings are not worse.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from django.db import transaction
from django.utils import timezone

from retrieval import evaluation_runs, reindex
from retrieval.evaluation import Comparison, compare
from retrieval.exceptions import KnowledgeBaseError, TrialRefused
from retrieval.leases import free_of_others
from retrieval.models import Collection, EvaluationRun, Index, Judgment, Trial
from retrieval.models.trial import GATED_METRIC
from retrieval.retrieval_settings import parse_stored

logger = logging.getLogger(__name__)

#: Documents that a question is answered with: metrics look at ten.
DEPTH = 10
NOT_WAITING = "It is not measured yet, or was decided already."
NOTHING_DIFFERS = "These settings are those that the collection has. Change one of them."


def check(collection: Collection) -> None:
    """Raises TrialRefused if nothing can be tried now."""
    if not Judgment.objects.filter(collection=collection).exists():
        raise TrialRefused(
            f"The golden set of {collection.slug} is empty: nothing tells which settings are "
            "better. Fill it first."
        )
    if Trial.objects.open().filter(collection=collection).exists():
        raise TrialRefused(
            f"Other settings of {collection.slug} are being tried already: switch to them or "
            "discard them first."
        )


def start(
    collection: Collection,
    *,
    index: Mapping[str, Any] | None = None,
    retrieval_settings: dict[str, Any] | None = None,
    name: str = "",
    is_gate: bool = False,
) -> Trial:
    """Begin to try settings: those of an index, as `reindex.start` takes them, and those of
    search, as the collection's row stores them; None leaves them as they are.

    Raises TrialRefused or ReindexRefused if it cannot be tried now.
    """
    with transaction.atomic():
        locked = Collection.objects.select_for_update(of=("self",)).get(pk=collection.pk)
        check(locked)
        if retrieval_settings == locked.retrieval_settings:
            retrieval_settings = None
        if index is None and retrieval_settings is None:
            raise TrialRefused(NOTHING_DIFFERS)
        built = None if index is None else reindex.start(locked, **index)
        return Trial.objects.create(
            collection=locked,
            name=name,
            is_gate=is_gate,
            tolerance=locked.gate_tolerance,
            has_index=built is not None,
            index=built,
            retrieval_settings=retrieval_settings,
        )


def reindex_or_try(collection: Collection, **changes: Any) -> Index:
    """Begin an index that goes live once it is built, or, where changes are gated, once the
    golden set is not answered worse with it.

    Raises TrialRefused or ReindexRefused if it cannot be begun now.
    """
    if collection.is_gated:
        built = start(collection, index=changes, is_gate=True).index
        assert built is not None  # noqa: S101 - it was asked for
        return built
    return reindex.start(collection, **changes)


def ranks_otherwise(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether stored settings of search find something else, so that a gate must look at them.

    Thresholds decide what an answer is called, not what it is.
    """
    now, then = parse_stored(before), parse_stored(after)
    return now != replace(then, thresholds=now.thresholds)


# --- What the worker does ---------------------------------------------------------------------


def step() -> bool:
    """Take the next trial one step further; returns whether there was anything to do."""
    given_up = Trial.objects.filter(state=Trial.State.DISCARDED, index__isnull=False)
    if not (Trial.objects.filter(state=Trial.State.MEASURING) | given_up).exists():
        return False  # nearly always: without a lock
    with transaction.atomic():
        trial = free_of_others(
            Trial.objects.open()
            .filter(state=Trial.State.MEASURING)
            .exclude(index__state=Index.State.BUILDING)
            .exclude(before__state__in=EvaluationRun.UNFINISHED)
            .exclude(after__state__in=EvaluationRun.UNFINISHED)
            .order_by("pk")
        ).first()
        if trial is not None:
            _advance(trial)
            return True
    trial = given_up.select_related("index__embedding_model", "index__collection").first()
    if trial is None or trial.index is None:
        return False
    reindex.drop(trial.index)
    return True


def _advance(trial: Trial) -> None:
    """The runs, then the verdict. Call it inside a transaction that holds the row."""
    if problem := _problem(trial):
        trial.problem = problem
    elif trial.before is None or trial.after is None:
        _measure(trial)
        return
    else:
        _judge(trial, trial.before, trial.after)
    trial.state = Trial.State.WAITING
    trial.save(update_fields=["state", "problem", "verdict"])
    if trial.is_gate and passed(trial):
        _switch(trial)


def _problem(trial: Trial) -> str:
    if trial.has_index and (trial.index is None or trial.index.state != Index.State.READY):
        reason = trial.index.failure_message if trial.index else ""
        return reason or "The index that was tried is gone."
    for run in (trial.before, trial.after):
        if run is not None and run.state == EvaluationRun.State.FAILED:
            return run.failure_message
    return ""


def _measure(trial: Trial) -> None:
    """Have both sides asked what the golden set asks."""
    for run in (trial.before, trial.after):
        if run is not None:
            run.delete()
    collection = trial.collection
    tried = trial.retrieval_settings
    trial.before = evaluation_runs.request(
        collection, index=collection.live_index, top_k=DEPTH, name=f"A: {trial}"
    )
    trial.after = evaluation_runs.request(
        collection,
        settings=None if tried is None else parse_stored(tried),
        index=trial.index or collection.live_index,
        top_k=DEPTH,
        name=f"B: {trial}",
    )
    trial.save(update_fields=["before", "after"])


def _judge(trial: Trial, before: EvaluationRun, after: EvaluationRun) -> None:
    try:
        found = compare(before, after)
    except KnowledgeBaseError as error:
        trial.problem = error.message
        return
    if before.degraded_count or after.degraded_count:
        trial.problem = "A part of the search was missing while it was measured. Measure it again."
    trial.verdict = _verdict(found)


def _verdict(found: Comparison) -> dict[str, Any]:
    return asdict(found.differences[GATED_METRIC]) | {
        "won": len(found.won),
        "lost": len(found.lost),
        "same": len(found.same),
    }


def passed(trial: Trial) -> bool:
    """Whether B was measured and is not worse than it may be."""
    return bool(trial.verdict) and not trial.problem and not is_worse(trial)


def is_worse(trial: Trial) -> bool:
    """Whether the mean has fallen further than it may; a rounding error is none."""
    return bool(trial.verdict) and trial.verdict["mean"] < -trial.tolerance - 1e-9


# --- What somebody decides --------------------------------------------------------------------


@transaction.atomic
def adopt(pk: int) -> Trial:
    """Let B take A's place: at once if its index is complete, else as soon as it is.

    Raises TrialRefused if there is nothing to switch to.
    """
    trial = _locked(pk)
    if trial.state != Trial.State.WAITING:
        raise TrialRefused(NOT_WAITING)
    gone = [Index.State.DAMAGED, Index.State.RETIRED]
    if trial.has_index and (trial.index is None or trial.index.state in gone):
        raise TrialRefused("The index that was tried is gone. Discard it and try again.")
    _switch(trial)
    return trial


def _switch(trial: Trial) -> None:
    index = trial.index
    if index is None:
        trial.collection.retrieval_settings = trial.retrieval_settings or {}
        trial.collection.save(update_fields=["retrieval_settings", "updated_at"])
        trial.state, trial.decided_at = Trial.State.ADOPTED, timezone.now()
    elif index.state == Index.State.READY and not reindex.unfilled(index).exists():
        reindex.switch(index)
        trial.refresh_from_db()
        return
    else:
        # What it lacks is filled in first; then it goes live like any other.
        Index.objects.filter(pk=index.pk).update(state=Index.State.BUILDING)
        trial.state = Trial.State.SWITCHING
    trial.save(update_fields=["state", "decided_at"])


@transaction.atomic
def measure_again(pk: int) -> Trial:
    """Ask the golden set once more, of the settings and documents as they are now.

    Raises TrialRefused unless it waits for a decision.
    """
    trial = _locked(pk)
    if trial.state != Trial.State.WAITING:
        raise TrialRefused(NOT_WAITING)
    for run in (trial.before, trial.after):
        if run is not None and run.state != EvaluationRun.State.DONE:
            run.delete()
    trial.before = trial.after = None
    trial.state, trial.problem, trial.verdict = Trial.State.MEASURING, "", {}
    trial.save(update_fields=["before", "after", "state", "problem", "verdict"])
    return trial


@transaction.atomic
def discard(pk: int) -> Trial:
    """Give B up; the worker drops its index. Runs that are done are kept.

    Raises TrialRefused if it was decided already.
    """
    trial = _locked(pk)
    if not trial.is_open:
        raise TrialRefused("It was decided already.")
    for run in (trial.before, trial.after):
        if run is not None:
            evaluation_runs.cancel(run.pk)
    trial.state, trial.decided_at = Trial.State.DISCARDED, timezone.now()
    trial.save(update_fields=["state", "decided_at"])
    if trial.index is not None:
        # From this commit on nothing is written to it.
        Index.objects.active().filter(pk=trial.index.pk).exclude(state=Index.State.LIVE).update(
            state=Index.State.RETIRED, retired_at=timezone.now(), failure_message="Discarded."
        )
    return trial


def _locked(pk: int) -> Trial:
    trial = Trial.objects.select_for_update().filter(pk=pk).first()
    if trial is None:
        raise TrialRefused("It is gone.")
    return trial
