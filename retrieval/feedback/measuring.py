"""What questions are answered with at a moment: those of a group, and golden ones near to them."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from retrieval.exceptions import InvalidRequest, SearchUnavailable
from retrieval.likeness import question_key, shared, terms
from retrieval.models import Collection, Judgment
from retrieval.search import remembering, search
from retrieval.types import SearchRequest, SearchResponse

#: Makes a change, and takes it back when it is left.
TryOut = Callable[[], AbstractContextManager[None]]
CHANNEL = "review"
#: Hits that are looked at of each answer.
DEPTH = 10
#: Golden questions that are asked, by how near they are to those of the group; the last few are
#: any, so that what nobody thought of is seen, too.
NEAREST, OTHERS = 24, 8
#: Golden questions among which these are chosen: the newest ones.
LOOKED_THROUGH = 2000


@dataclass(frozen=True, slots=True)
class Hit:
    document_id: int
    external_id: str
    title: str
    chunk_ids: list[int]
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A question of the group and what it was answered with, best first."""

    question: str
    confidence: str
    hits: list[Hit]


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden question and the rank of its document, from 1; None if it was not found."""

    question: str
    relevant: list[str]
    rank: int | None
    without: int | None = None  #: of a trial: the rank at the same moment without the change


@dataclass(frozen=True, slots=True)
class Measured:
    questions: list[Answered] = field(default_factory=list)
    golden: list[Golden] = field(default_factory=list)
    degraded: str = ""  #: a part that was away: then comparing says little

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Measured":
        return cls(
            questions=[
                Answered(row["question"], row["confidence"], [Hit(**hit) for hit in row["hits"]])
                for row in data.get("questions", ())
            ],
            golden=[Golden(**row) for row in data.get("golden", ())],
            degraded=data.get("degraded", ""),
        )


def measure(
    collection: Collection,
    questions: Sequence[str],
    golden: Iterable[tuple[str, list[str]]] = (),
    *,
    trial: TryOut = nullcontext,
    may_be_degraded: bool = True,
) -> Measured:
    """Ask questions as anybody would, unlogged, and as if a change had been made that `trial`
    makes while it is entered and takes back when it is left.

    Raises SearchUnavailable, also for a part that is away where that may not be.
    """
    degraded = ""

    def ask(question: str) -> tuple[SearchResponse, SearchResponse]:
        nonlocal degraded
        without, tried = _ask(collection, question, trial, may_be_degraded)
        degraded = degraded or tried.degraded
        return without, tried

    answered = []
    for question in questions:
        _without, response = ask(question)
        hits = [
            Hit(
                document_id=hit.document_id,
                external_id=hit.external_id,
                title=hit.title,
                chunk_ids=list(hit.chunk_ids or (hit.chunk_id,)),
                text=hit.text,
                score=hit.score,
            )
            for hit in response.hits
        ]
        answered.append(Answered(question, response.confidence, hits))
    ranked = []
    for question, relevant in golden:
        without, tried = ask(question)
        ranked.append(Golden(question, relevant, _rank(tried, relevant), _rank(without, relevant)))
    return Measured(answered, ranked, degraded)


def _ask(
    collection: Collection, question: str, trial: TryOut, may_be_degraded: bool
) -> tuple[SearchResponse, SearchResponse]:
    """Without the change of a trial, and with it; the same answer twice where none is tried."""
    request = SearchRequest(
        query=question,
        collection=collection.slug,
        top_k=DEPTH,
        channel=CHANNEL,
        is_logged=False,
    )
    with remembering():
        response = search(request)
        if response.degraded and not may_be_degraded:
            raise SearchUnavailable(f"A part of the search is away ({response.degraded}).")
        if trial is nullcontext:
            return response, response
        # A transaction for each question: nobody waits for all of them.
        with trial():
            return response, search(request)


def _rank(response: SearchResponse, relevant: Sequence[str]) -> int | None:
    found = list(dict.fromkeys(hit.external_id for hit in response.hits))
    ranks = [rank for rank, name in enumerate(found, start=1) if name in relevant]
    return min(ranks, default=None)


def golden_near(collection: Collection, questions: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Golden questions with their documents' external ids: those that an answer to these
    questions is most likely to move, in a fixed order. Those that ask the same are left out."""
    rows = (
        Judgment.objects.filter(collection=collection, is_stale=False, document__deleted_at=None)
        .order_by("-pk")
        .values_list("question", "document__external_id")[:LOOKED_THROUGH]
    )
    own = {question_key(question) for question in questions}
    together: dict[str, tuple[str, list[str]]] = {}
    for question, external_id in rows:
        key = question_key(question)
        if key not in own:
            together.setdefault(key, (question, []))[1].append(external_id)
    about = [terms(question) for question in questions]
    nearness = {
        key: max((shared(terms(question), other) for other in about), default=0.0)
        for key, (question, _documents) in together.items()
    }
    # By the key where they are equally near: any order, but always the same.
    ranked = sorted(together, key=lambda key: (-nearness[key], key))
    chosen = ranked[:NEAREST] + sorted(ranked[NEAREST:])[:OTHERS]
    return [(together[key][0], sorted(together[key][1])) for key in chosen]


def check_questions(questions: Iterable[str], most: int) -> list[str]:
    """Questions as they are accepted. Raises InvalidRequest."""
    from retrieval.search import normalise

    kept = list(dict.fromkeys(normalise(question) for question in questions if question.strip()))
    if not kept:
        raise InvalidRequest("Give at least one question.")
    if len(kept) > most:
        raise InvalidRequest(f"At most {most} questions are possible; these are {len(kept)}.")
    return kept
