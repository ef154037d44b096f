"""Evaluation runs that are asked for in the browser and made by a worker, a step at a time.

A run stands on a row with a lease. The answers so far live in the memory of the worker that
asks; if that is killed, another begins anew. They are stored in one transaction, or not at all.
"""

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings
from django.db import transaction
from django.utils import timezone

from retrieval import evaluation
from retrieval.evaluation import GOLDEN_SET, Measuring
from retrieval.exceptions import KnowledgeBaseError
from retrieval.leases import free_of_others
from retrieval.models import Collection, EvaluationRun, Index
from retrieval.questions import Question, QuestionSet
from retrieval.retrieval_settings import as_json, parse_stored
from retrieval.types import RetrievalSettings

logger = logging.getLogger(__name__)

#: Seconds that a step may take before documents that wait have their turn.
STEP = 1.0
#: Workers that may die over a run before it is given up.
MAX_ATTEMPTS = 3


def request(
    collection: Collection,
    *,
    questions: QuestionSet | None = None,
    settings: RetrievalSettings | None = None,
    index: Index | None = None,
    top_k: int = 10,
    name: str = "",
) -> EvaluationRun:
    """Have a run made: of the golden set, as it is when a worker begins, or of other questions.

    `settings` and `index` are those of the collection if they are not given.
    """
    return EvaluationRun.objects.create(
        collection=collection,
        name=name,
        index=index,
        top_k=top_k,
        questions_source=questions.source[:500] if questions else GOLDEN_SET,
        question_count=len(questions.questions) if questions else 0,
        state=EvaluationRun.State.QUEUED,
        wanted={
            "questions": _packed(questions) if questions else None,
            "settings": as_json(settings) if settings else None,
            "index": index.pk if index else None,
        },
    )


def cancel(pk: int) -> bool:
    """Stop a run; nothing of it is kept. Returns whether it was unfinished."""
    deleted, _rows = EvaluationRun.objects.unfinished().filter(pk=pk).delete()
    return bool(deleted)


def claim(owner: str) -> EvaluationRun | None:
    """The run that was asked for first and that nobody makes, with a lease."""
    if not EvaluationRun.objects.claimable().exists():
        return None  # nearly always: without a lock
    with transaction.atomic():
        run = free_of_others(EvaluationRun.objects.claimable()).first()
        if run is None:
            return None
        run.attempts += 1
        if run.attempts > MAX_ATTEMPTS:
            run.state = EvaluationRun.State.FAILED
            run.failure_message = f"The worker died {MAX_ATTEMPTS} times while it made this."
            run.lease_owner, run.lease_until, run.wanted = "", None, {}
        else:
            run.state = EvaluationRun.State.RUNNING
            run.lease_owner = owner
            run.lease_until = timezone.now() + timedelta(seconds=django_settings.LEASE_SECONDS)
        run.save(
            update_fields=[
                *("attempts", "state", "failure_message"),
                *("lease_owner", "lease_until", "wanted"),
            ]
        )
    return run if run.is_unfinished else None


def _asking(run: EvaluationRun) -> Measuring:
    collection, wanted = run.collection, run.wanted
    stored = wanted["questions"]
    questions = _unpacked(stored) if stored else evaluation.judgments_as_questions(collection)
    return evaluation.measured(
        collection,
        questions,
        settings=parse_stored(wanted["settings"]) if wanted["settings"] is not None else None,
        index_id=wanted["index"],
        top_k=run.top_k,
    )


@dataclass(slots=True)
class Evaluator:
    """Makes the runs that are asked for, one after the other, a step at a time."""

    owner: str
    _run: EvaluationRun | None = None
    _steps: Measuring | None = None

    def step(self) -> bool:
        """Ask for about a second; returns whether there was anything to do."""
        if self._run is None:
            self._run = claim(self.owner)
            if self._run is None:
                return False
        run = self._run
        try:
            if self._steps is None:
                self._steps = _asking(run)
            self._advance(run, self._steps)
        except KnowledgeBaseError as error:
            logger.warning("evaluation run %s: %s", run.pk, error.message)
            self._mine(run).update(
                state=EvaluationRun.State.FAILED,
                failure_message=error.message,
                wanted={},
                lease_owner="",
                lease_until=None,
            )
            self._forget()
        return True

    def give_back(self) -> None:
        """What was begun cannot go on: let it begin anew."""
        self._forget()
        EvaluationRun.objects.all().held_by(self.owner).release()

    def _advance(self, run: EvaluationRun, steps: Measuring) -> None:
        until = time.monotonic() + STEP
        done, total = 0, 0
        while time.monotonic() < until:
            try:
                done, total = next(steps)
            except StopIteration as end:
                self._finish(run, *end.value)
                return
        if not self._mine(run).update(progress_done=done, progress_total=total):
            self._forget()  # cancelled, or given to another worker

    @transaction.atomic
    def _finish(self, run: EvaluationRun, facts: dict[str, Any], answers: list[Any]) -> None:
        kept = self._mine(run).update(
            **facts,
            state=EvaluationRun.State.DONE,
            wanted={},
            progress_done=len(answers),
            progress_total=len(answers),
            lease_owner="",
            lease_until=None,
        )
        if kept:
            evaluation.store_answers(run, answers)
        self._forget()

    def _mine(self, run: EvaluationRun) -> Any:
        return EvaluationRun.objects.filter(pk=run.pk).held_by(self.owner)

    def _forget(self) -> None:
        self._run = self._steps = None


# --- Questions of a file, on their row ------------------------------------------------------


def _packed(questions: QuestionSet) -> dict[str, Any]:
    return {
        "source": questions.source,
        "empty": questions.empty,
        "unanswerable": questions.unanswerable,
        "items": [
            [item.question, sorted(item.relevant), item.passage, item.place]
            for item in questions.questions
        ],
    }


def _unpacked(stored: dict[str, Any]) -> QuestionSet:
    return QuestionSet(
        tuple(
            Question(question, frozenset(relevant), passage=passage, place=place)
            for question, relevant, passage, place in stored["items"]
        ),
        source=stored["source"],
        empty=stored["empty"],
        unanswerable=stored["unanswerable"],
    )
