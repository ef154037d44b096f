"""How well a collection answers: ask questions whose answers are known, measure, compare.

Every question goes through the one search path. Hits are passages; metrics are about
documents: passages count for their document, in the order of its best one.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.conf import settings as django_settings
from django.db import transaction

from retrieval.exceptions import InvalidQuestions, InvalidRequest
from retrieval.hashing import text_hash
from retrieval.lookup import find_collection, index_of
from retrieval.metrics import Interval, measure, paired_difference, summarise
from retrieval.models import (
    Collection,
    Document,
    EvaluationAnswer,
    EvaluationRun,
    Index,
    Judgment,
    Revision,
)
from retrieval.questions import Question, QuestionSet, load_questions, normalised
from retrieval.retrieval_settings import wanted_by
from retrieval.search import MAX_QUERY_LENGTH, search
from retrieval.types import RetrievalSettings, SearchRequest, SearchResponse

__all__ = [
    "Comparison",
    "Question",
    "QuestionSet",
    "compare",
    "judgments_as_questions",
    "load_questions",
    "resolve",
    "run",
]

#: Yields how many of how many questions were asked; returns a run's fields and its answers.
Measuring = Generator[tuple[int, int], None, tuple[dict[str, Any], list[EvaluationAnswer]]]

CHANNEL = "evaluation"
GOLDEN_SET = "golden set"
#: Documents in one query: SQLite takes a limited number of parameters.
LOOKUP_BATCH = 900
#: Documents that a run names of those that its questions want and the collection does not have.
NAMED = 20


@dataclass(frozen=True, slots=True)
class Resolved:
    """Questions with the external ids of documents that are searched, and those without."""

    questions: tuple[Question, ...]
    unanswered: tuple[Question, ...]  #: no document that answers them is in the collection
    unknown: tuple[str, ...]  #: external ids that the collection does not have


# --- Questions ------------------------------------------------------------------------------


def judgments_as_questions(collection: Collection) -> QuestionSet:
    """The golden set of a collection. Raises InvalidQuestions if it is empty."""
    rows = Judgment.objects.filter(collection=collection).order_by("pk")
    together: dict[str, Question] = {}
    for text, external_id, quote in rows.values_list(
        "question", "document__external_id", "quote"
    ).iterator():
        text = text.strip()
        known = together.get(text) or Question(text, frozenset(), place=f"question {text!r}")
        together[text] = replace(
            known, relevant=known.relevant | {external_id}, quote=known.quote or quote
        )
    asked = tuple(item for item in together.values() if item.question)
    if not asked:
        raise InvalidQuestions(
            f"{collection.slug} has no golden set yet: it grows with corrections that are "
            "accepted. Give a file of questions."
        )
    return QuestionSet(asked, source=GOLDEN_SET, empty=len(together) - len(asked))


def resolve(collection: Collection, questions: Iterable[Question]) -> Resolved:
    """Tie questions to the documents that are searched now.

    A paragraph's documents are those with its text, else those that hold it, else those that it
    names.
    """
    questions = list(questions)
    holding = _documents_holding(collection, {item.passage for item in questions if item.passage})
    named = {name for item in questions if not holding.get(item.passage) for name in item.relevant}
    known = _known(collection, named)
    tied, unanswered = [], []
    for item in questions:
        relevant = holding.get(item.passage) or item.relevant & known
        if relevant:
            tied.append(replace(item, relevant=frozenset(relevant)))
        else:
            unanswered.append(item)
    return Resolved(tuple(tied), tuple(unanswered), tuple(sorted(named - known)))


def _known(collection: Collection, external_ids: set[str]) -> set[str]:
    wanted = sorted(external_ids)
    searched = Document.objects.searchable().filter(collection=collection)
    known: set[str] = set()
    for start in range(0, len(wanted), LOOKUP_BATCH):
        batch = wanted[start : start + LOOKUP_BATCH]
        known |= set(searched.filter(external_id__in=batch).values_list("external_id", flat=True))
    return known


def _documents_holding(collection: Collection, passages: set[str]) -> dict[str, set[str]]:
    """External ids by normalised paragraph: of documents that say it, else that hold it."""
    found: dict[str, set[str]] = defaultdict(set)
    if not passages:
        return found
    for external_id, text in _live_texts(collection):
        if text in passages:
            found[text].add(external_id)
    rest = passages - found.keys()
    # Most files are of paragraphs that are documents; only what is left is looked for in all.
    for external_id, text in _live_texts(collection) if rest else ():
        for passage in rest:
            if passage in text:
                found[passage].add(external_id)
    return found


def _live_texts(collection: Collection) -> Iterable[tuple[str, str]]:
    """External id and normalised text of every document that is searched."""
    rows = Revision.objects.filter(
        pk__in=Document.objects.searchable()
        .filter(collection=collection)
        .values("live_revision_id")
    )
    for external_id, text in rows.values_list("document__external_id", "text").iterator():
        yield external_id, normalised(text)


# --- A run ----------------------------------------------------------------------------------


def run(
    collection: Collection,
    questions: QuestionSet,
    *,
    mode: str | None = None,
    settings: RetrievalSettings | None = None,
    index_id: int | None = None,
    top_k: int = 10,
    name: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationRun:
    """Ask every question and store how well it went; the stored run.

    `mode`, `settings` and `index_id` are as in SearchRequest; `progress` is told how many of how
    many questions were asked.

    Raises:
        InvalidQuestions: there is no question, or none that the collection could answer.
        InvalidRequest: a setting is not usable.
        SearchUnavailable: neither arm can answer; nothing is stored.
    """
    asking = measured(
        collection,
        questions,
        mode=mode,
        settings=settings,
        index_id=index_id,
        top_k=top_k,
    )
    while True:
        try:
            done, total = next(asking)
        except StopIteration as end:
            facts, answers = end.value
            break
        if progress is not None:
            progress(done, total)
    with transaction.atomic():
        stored = EvaluationRun.objects.create(collection=collection, name=name, **facts)
        store_answers(stored, answers)
    return stored


def measured(
    collection: Collection,
    questions: QuestionSet,
    *,
    mode: str | None = None,
    settings: RetrievalSettings | None = None,
    index_id: int | None = None,
    top_k: int = 10,
) -> Measuring:
    """Ask every question, one at a step; the fields of a run, and its answers, not stored.

    Raises as `run` does.
    """
    began = time.monotonic()
    collection = find_collection(collection.slug)
    # One index for the whole run, even if another one is switched to meanwhile.
    index = index_of(collection, index_id)
    request = SearchRequest(
        query="",
        collection=collection.slug,
        top_k=top_k,
        channel=CHANNEL,
        mode=mode,
        settings=settings,
        index_id=index.pk,
        is_logged=False,
    )
    used = wanted_by(request, collection.retrieval_settings)
    resolved = _usable(collection, questions)
    answers = []
    for number, question in enumerate(resolved.questions):
        yield number, len(resolved.questions)
        answers.append(_answer(number, question, search(replace(request, query=question.question))))
    yield len(answers), len(answers)
    digest = _hash_of([answer.question_hash for answer in answers])
    described = _describe(used, top_k, index)
    intervals = summarise(_values(answers))
    facts = {
        "index": index,
        "mode": used.mode,
        "top_k": top_k,
        "fingerprint": fingerprint(described | {"questions": digest}),
        "settings": described,
        "questions_source": questions.source[:500],
        "questions_hash": digest,
        "question_count": len(answers),
        "left_out": _left_out(questions, resolved),
        "degraded_count": sum(bool(answer.degraded) for answer in answers),
        "metrics": {name: asdict(interval) for name, interval in intervals.items()},
        "seconds": round(time.monotonic() - began, 3),
    }
    return facts, answers


def store_answers(stored: EvaluationRun, answers: Sequence[EvaluationAnswer]) -> None:
    for answer in answers:
        answer.run = stored
    EvaluationAnswer.objects.bulk_create(answers, batch_size=500)


def _usable(collection: Collection, questions: QuestionSet) -> Resolved:
    for item in questions.questions:
        if len(item.question) > MAX_QUERY_LENGTH:
            raise InvalidQuestions(
                f"{questions.source}: {item.place} asks with more than {MAX_QUERY_LENGTH:,} "
                "characters."
            )
    resolved = resolve(collection, questions.questions)
    if not questions.questions:
        raise InvalidQuestions("There is no question to ask.")
    if not resolved.questions:
        raise InvalidQuestions(
            f"{questions.source}: {collection.slug} has no document that answers one of these "
            f"{len(questions.questions)} questions. Ingest them, or choose another collection."
        )
    return resolved


def _answer(order: int, question: Question, response: SearchResponse) -> EvaluationAnswer:
    found = list(dict.fromkeys(hit.external_id for hit in response.hits))
    relevant = sorted(question.relevant)
    return EvaluationAnswer(
        order=order,
        question=question.question,
        question_hash=text_hash(json.dumps([question.question, relevant])),
        relevant=relevant,
        found=found,
        ranks=[rank for rank, name in enumerate(found, start=1) if name in question.relevant],
        top_score=response.hits[0].score if response.hits else None,
        confidence=response.confidence,
        degraded=response.degraded,
    )


def _describe(used: RetrievalSettings, top_k: int, index: Index) -> dict[str, Any]:
    """Everything that decides what a question is answered with, but the documents.

    Names of rows are none of it: the same settings elsewhere are the same settings.
    """
    model = index.embedding_model
    return {
        "retrieval": asdict(used),
        "top_k": top_k,
        "reranker": django_settings.RERANKER if used.rerank else "",
        "model": {
            "name": model.name,
            "revision": model.revision,
            "runtime": model.runtime,
            "languages": model.languages,
        },
        "index": {
            "space": index.space,
            "ef_construction": index.ef_construction,
            "ef_search": index.ef_search,
            "max_neighbors": index.max_neighbors,
            "chunk_size": index.chunk_size,
            "chunk_overlap": index.chunk_overlap,
            "chunker_version": index.chunker_version,
        },
    }


def fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 of canonical JSON, 64 hex digits."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _hash_of(question_hashes: Iterable[str]) -> str:
    """Of a set of questions, in whatever order."""
    return hashlib.sha256("\n".join(sorted(question_hashes)).encode()).hexdigest()


def _left_out(questions: QuestionSet, resolved: Resolved) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "empty": questions.empty,
        "unanswerable": questions.unanswerable,
        "without_document": len(resolved.unanswered),
        "unknown_documents": len(resolved.unknown),
    }
    return counts | {"examples": list(resolved.unknown[:NAMED])}


def _values(answers: Sequence[EvaluationAnswer]) -> dict[str, list[float]]:
    """Every metric's value for each answer, in their order."""
    values: dict[str, list[float]] = defaultdict(list)
    for answer in answers:
        for name, value in measure(answer.found, set(answer.relevant)).items():
            values[name].append(value)
    return dict(values)


# --- Two runs -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """A question that two runs answered, differently well or not."""

    question: str
    relevant: tuple[str, ...]
    before: int | None  #: rank of the first relevant document; None if none was found
    after: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of each question that both runs asked, by its reciprocal rank."""

    common: int
    only_before: int  #: questions that the other run did not ask
    only_after: int
    won: tuple[Change, ...]
    lost: tuple[Change, ...]
    same: tuple[Change, ...]
    differences: Mapping[str, Interval]  #: after minus before, by metric

    @property
    def unchanged(self) -> int:
        return len(self.same)


def compare(before: EvaluationRun, after: EvaluationRun) -> Comparison:
    """Two runs question by question, over the questions that both asked.

    Raises InvalidRequest if there is none.
    """
    first, second = _by_question(before), _by_question(after)
    common = [key for key in first if key in second]
    if not common:
        raise InvalidRequest(
            f"Runs {before.pk} and {after.pk} have no question in common that the same documents "
            "answer."
        )
    old, new = [first[key] for key in common], [second[key] for key in common]
    old_values, new_values = _values(old), _values(new)
    won, lost, same = [], [], []
    for was, now, earlier, later in zip(
        old, new, old_values["MRR@10"], new_values["MRR@10"], strict=True
    ):
        change = Change(now.question, tuple(now.relevant), was.rank, now.rank)
        if later > earlier:
            won.append(change)
        elif later < earlier:
            lost.append(change)
        else:
            same.append(change)
    return Comparison(
        common=len(common),
        only_before=len(first) - len(common),
        only_after=len(second) - len(common),
        won=tuple(won),
        lost=tuple(lost),
        same=tuple(same),
        differences={
            name: paired_difference(old_values[name], new_values[name]) for name in old_values
        },
    )


def _by_question(stored: EvaluationRun) -> dict[tuple[str, int], EvaluationAnswer]:
    """A run's answers by question; one that stands there twice is told apart by its number."""
    times: dict[str, int] = defaultdict(int)
    answers = {}
    for answer in stored.answers.order_by("order"):
        answers[answer.question_hash, times[answer.question_hash]] = answer
        times[answer.question_hash] += 1
    return answers
