"""The one search path: playground, /search, MCP, gateway and evaluation all call `search`."""

import logging
import time
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from django.conf import settings
from django.db import DatabaseError
from numpy.typing import NDArray

from retrieval import aliases, query_log
from retrieval.embeddings import stored_embeddings
from retrieval.exceptions import (
    InvalidRequest,
    KnowledgeBaseError,
    SearchUnavailable,
    VectorCollectionMissing,
)
from retrieval.factories import embedder_for, query_store, reranker
from retrieval.filters import documents_matching
from retrieval.fusion import (
    UNDERSTOOD,
    Fused,
    confidence,
    dense_weight,
    distances_to,
    fuse,
    script_of,
    similarity,
    thresholds_for,
)
from retrieval.lexical import lexical_index, tokenize
from retrieval.lexical.tokenizer import spans
from retrieval.lookup import find_collection, index_of
from retrieval.models import Chunk, Collection, Embedding, Index, Search
from retrieval.passages import Passage, join_neighbours, read_back
from retrieval.retrieval_settings import wanted_by
from retrieval.types import (
    DenseCandidate,
    Explanation,
    Hit,
    LexicalCandidate,
    Mode,
    RetrievalSettings,
    SearchRequest,
    SearchResponse,
)

if TYPE_CHECKING:
    from retrieval.embedding import Reranker

logger = logging.getLogger(__name__)

MAX_QUERY_LENGTH = 4000  #: characters
MAX_TOP_K = 50
#: Candidates that each arm is asked for, at least and per wanted hit.
DEPTH, DEPTH_PER_HIT = 32, 4
#: How much deeper to look when candidates turned out to be gone from the database.
DEEPER = 4
#: Up to so many chunks a filter's answer is computed exactly from the stored embeddings.
EXACT_LIMIT = 2000
#: Passages that the cross-encoder reads, at least and per wanted hit.
RERANKED, RERANKED_PER_HIT = 20, 3


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds by stage."""

    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - began) * 1000
            self.stages[name] = round(self.stages.get(name, 0.0) + spent, 2)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request comes down to, checked against what exists."""

    query: str
    collection: Collection
    index: Index
    settings: RetrievalSettings
    top_k: int
    within: list[int] | None  #: documents that the filter leaves; None without a filter


@dataclass(slots=True)
class Arms:
    """What both arms found, and why one of them could not."""

    dense: list[DenseCandidate] = field(default_factory=list)
    lexical: list[LexicalCandidate] = field(default_factory=list)
    vector: NDArray[np.float32] | None = None  #: of the query, of shape (dimension,)
    dense_failure: KnowledgeBaseError | None = None
    lexical_failure: Exception | None = None
    is_exhausted: bool = False  #: whether both have said all that they know


#: What Chroma said to questions of this thread while `remembering`.
_remembered: ContextVar[dict[tuple[int, str, int], list[DenseCandidate]] | None] = ContextVar(
    "remembered", default=None
)


@contextmanager
def remembering() -> Iterator[None]:
    """Ask Chroma and the model once for each question inside: asked again inside a transaction,
    it keeps no lock while another process answers."""
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Passages in order, and what their scores were made of."""

    passages: list[Passage]
    arms: Arms
    dense_weight: float
    made_of: str  #: hybrid, dense, lexical or reranked
    rerank_failure: KnowledgeBaseError | None = None

    @property
    def degraded(self) -> str:
        for failure in (self.arms.dense_failure, self.rerank_failure):
            if failure is not None:
                return failure.code
        return "lexical_index_failed" if self.arms.lexical_failure else ""


def search(request: SearchRequest) -> SearchResponse:
    """Find the passages that answer a question, and log that it was asked.

    Raises:
        CollectionNotFound: the collection does not exist, or not any more.
        InvalidRequest, InvalidFilter: the question, `top_k`, the filter or a setting is not
            usable.
        SearchUnavailable: neither arm can answer.
    """
    watch = Stopwatch()
    with watch.stage("total"):
        plan = _plan(request)
        ranking = _rank(plan, watch)
        with watch.stage("render"):
            hits = _hits(plan, ranking, explain=request.explain)
    thresholds = thresholds_for(ranking.made_of, script_of(plan.query), plan.settings.thresholds)
    response = SearchResponse(
        query_id=str(uuid.uuid4()),
        collection=plan.collection.slug,
        hits=tuple(hits),
        confidence=confidence([hit.score for hit in hits], thresholds),
        degraded=ranking.degraded,
        timings=watch.stages,
        mode=plan.settings.mode,
        dense_weight=ranking.dense_weight,
        thresholds=thresholds,
    )
    if request.is_logged:
        query_log.write(_log_row(request, plan, ranking, response))
    return response


def _plan(request: SearchRequest) -> Plan:
    query = normalise(request.query)
    collection = find_collection(request.collection)
    top_k = collection.default_top_k if request.top_k is None else request.top_k
    if not 1 <= top_k <= MAX_TOP_K:
        raise InvalidRequest(f"top_k must lie between 1 and {MAX_TOP_K}.")
    return Plan(
        query=query,
        collection=collection,
        index=index_of(collection, request.index_id),
        settings=wanted_by(request, collection.retrieval_settings),
        top_k=top_k,
        within=documents_matching(collection.pk, request.filter) if request.filter else None,
    )


def normalise(query: str) -> str:
    """A question without control characters and superfluous blanks. Raises InvalidRequest."""
    if len(query) > MAX_QUERY_LENGTH:
        raise InvalidRequest(
            f"The query has {len(query):,} characters; at most {MAX_QUERY_LENGTH:,} are possible."
        )
    visible = "".join(
        " " if unicodedata.category(character) in {"Cc", "Cs"} else character for character in query
    )
    query = " ".join(visible.split())
    if not query:
        raise InvalidRequest("The query is empty. Send what you want to find as `query`.")
    return query


# --- Ranking ------------------------------------------------------------------------------


def _rank(plan: Plan, watch: Stopwatch) -> Ranking:
    cross_encoder, failure = _reranker(plan.settings)
    wanted = plan.top_k
    if cross_encoder is not None:
        wanted = max(RERANKED, plan.top_k * RERANKED_PER_HIT)
    elif plan.settings.context:
        # Neighbours that grow together leave room for others.
        wanted = plan.top_k * 2
    passages, arms, share = _candidates(plan, wanted, watch)
    made_of = "hybrid" if 0 < share < 1 else "dense" if share else "lexical"
    if cross_encoder is not None and passages:
        try:
            with watch.stage("rerank"):
                scores = cross_encoder.scores(plan.query, [_read(passage) for passage in passages])
            made_of = "reranked"
            order = sorted(zip(passages, scores, strict=True), key=lambda pair: -pair[1])
            passages = [passage for passage, _ in order]
            for passage, score in order:
                passage.score = round(score, 4)
        except KnowledgeBaseError as error:
            logger.warning("reranking failed: %s", error.message)
            failure = error
    with watch.stage("read"):
        passages = join_neighbours(
            [passage for passage in passages if passage.score >= plan.settings.min_score],
            plan.index,
            context=plan.settings.context,
            limit=plan.top_k,
        )
    return Ranking(passages, arms, share, made_of, failure)


def _reranker(wanted: RetrievalSettings) -> "tuple[Reranker | None, KnowledgeBaseError | None]":
    if not (wanted.rerank and settings.RERANKER):
        return None, None
    try:
        return reranker(), None
    except KnowledgeBaseError as error:
        logger.warning("no reranking: %s", error.message)
        return None, error


def _read(passage: Passage) -> str:
    """What the cross-encoder reads of a passage."""
    path = [passage.chunk.title, *passage.chunk.heading_path]
    return f"{' > '.join(dict.fromkeys(filter(None, path)))}\n{passage.chunk.text}"


def _candidates(plan: Plan, wanted: int, watch: Stopwatch) -> tuple[list[Passage], Arms, float]:
    """The best live passages, what both arms said, and the dense arm's share of the scores."""
    depth = max(DEPTH, plan.top_k * DEPTH_PER_HIT)
    weight = _weight(plan)
    if plan.within == []:
        return [], Arms(), weight
    within = None if plan.within is None else set(plan.within)
    while True:
        arms = ask(plan, depth, watch)
        if arms.dense_failure:
            share = 0.0
        elif arms.lexical_failure:
            share = 1.0
        else:
            share = weight
        fused = fuse(arms.dense, arms.lexical, space=plan.index.space, weight=share)
        with watch.stage("read"):
            passages = read_back(
                fused,
                plan.index,
                wanted,
                within=within,
                duplicate_share=plan.settings.duplicate_share,
            )
        if len(passages) >= plan.top_k or arms.is_exhausted or depth > EXACT_LIMIT:
            _trust_same_question(passages[:1], share)
            return passages, arms, share
        # Candidates were deleted, disabled or filtered out: look deeper.
        depth *= DEEPER


def _trust_same_question(best: Sequence[Passage], weight: float) -> None:
    """A best passage that was named as the answer to the same question in other words is relied
    on as far as these are the same; among others that moves nothing up."""
    for passage in best:
        passage.score = max(passage.score, round(_question_score(passage.found, weight) or 0.0, 4))


def _question_score(found: Fused, weight: float) -> float | None:
    """As little as the dense arm counts for the query, so little does its word on the question."""
    if found.dense is None or found.dense.likeness is None:
        return None
    return found.dense.likeness * min(weight / UNDERSTOOD, 1.0)


def _weight(plan: Plan) -> float:
    if plan.settings.mode is Mode.DENSE:
        return 1.0
    if plan.settings.mode is Mode.LEXICAL:
        return 0.0
    languages = plan.index.embedding_model.languages
    return dense_weight(plan.query, languages, plan.settings.dense_weight)


# --- The two arms -------------------------------------------------------------------------


def ask(plan: Plan, depth: int, watch: Stopwatch) -> Arms:
    """Up to `depth` candidates of each arm that the mode wants.

    Where the only one that is wanted fails, the other one answers for it.

    Raises SearchUnavailable if neither can.
    """
    arms = Arms()
    # One after the other: with as many requests as cores, two arms at once take longer.
    if plan.settings.mode is not Mode.LEXICAL:
        _ask_dense(plan, depth, arms, watch)
    if plan.settings.mode is not Mode.DENSE or arms.dense_failure:
        _ask_lexical(plan, depth, arms, watch)
    if plan.settings.mode is Mode.LEXICAL and arms.lexical_failure:
        _ask_dense(plan, depth, arms, watch)
    if arms.dense_failure and arms.lexical_failure:
        raise SearchUnavailable(
            "Neither word search nor vector search can answer right now. Try again shortly."
        ) from arms.lexical_failure
    arms.is_exhausted = len(arms.dense) < depth and len(arms.lexical) < depth
    if plan.collection.has_aliases:
        arms.dense, arms.lexical = aliases.follow(plan.query, arms.dense, arms.lexical, plan.index)
    return arms


def _ask_lexical(plan: Plan, depth: int, arms: Arms, watch: Stopwatch) -> None:
    try:
        with watch.stage("lexical"):
            arms.lexical = lexical_index().search(plan.index.scope, plan.query, depth, plan.within)
    except DatabaseError as error:
        logger.exception("the lexical index cannot answer")
        arms.lexical_failure = error


def _ask_dense(plan: Plan, depth: int, arms: Arms, watch: Stopwatch) -> None:
    index = plan.index
    remembered = _remembered.get() if plan.within is None else None
    key = (index.pk, plan.query, depth)
    if remembered is not None and key in remembered:
        arms.dense = remembered[key]
        return
    try:
        with watch.stage("embed"):
            vector = embedder_for(index.embedding_model).embed_query(plan.query)
            arms.vector = vector
        with watch.stage("dense"):
            exact = None if plan.within is None else _exact_vectors(plan, plan.within)
            if exact is None:
                arms.dense = query_store().query(index.physical_name, vector, depth)
            else:
                arms.dense = _nearest(vector, exact, index.space)[:depth]
        if remembered is not None:
            remembered[key] = arms.dense
    except KnowledgeBaseError as error:
        if not (isinstance(error, VectorCollectionMissing) and _is_empty(plan.collection)):
            logger.warning("dense search failed: %s", error.message)
            arms.dense_failure = error


Vectors = tuple[list[int], NDArray[np.float32]]


def _nearest(vector: NDArray[np.float32], exact: Vectors, space: str) -> list[DenseCandidate]:
    chunk_ids, matrix = exact
    distances = distances_to(vector, matrix, space)
    order = np.argsort(distances, kind="stable")
    return [DenseCandidate(chunk_ids[row], float(distances[row])) for row in order]


def _exact_vectors(plan: Plan, within: list[int]) -> Vectors | None:
    """Chunk ids and stored vectors of a selective filter's documents, shape (n, dimension).

    None if there are too many: then Chroma is asked, and its candidates are filtered. Asking
    Chroma with a filter would be slow where it matches much, and miss where it matches little.
    """
    index = plan.index
    if len(within) > EXACT_LIMIT:
        return None
    rows = list(
        Chunk.objects.live()
        .filter(document__in=within, chunking=index.chunking)
        .values_list("pk", "text_hash")[: EXACT_LIMIT + 1]
    )
    if len(rows) > EXACT_LIMIT:
        return None
    if plan.collection.has_aliases:
        rows += aliases.hashes_of([pk for pk, _ in rows])
    vectors = stored_embeddings(index.embedding_model_id, {digest for _, digest in rows})
    kept = [(pk, vectors[digest]) for pk, digest in rows if digest in vectors]
    matrix = np.empty((len(kept), index.embedding_model.dimension), dtype=np.float32)
    for row, (_, vector) in enumerate(kept):
        matrix[row] = vector
    return [pk for pk, _ in kept], matrix


def _is_empty(collection: Collection) -> bool:
    return not Chunk.objects.live().filter(document__collection=collection).exists()


# --- The answer ---------------------------------------------------------------------------


def _hits(plan: Plan, ranking: Ranking, *, explain: bool) -> list[Hit]:
    explanations: Sequence[Explanation | None] = [None] * len(ranking.passages)
    if explain:
        explanations = _explanations(plan, ranking)
    hits = []
    for rank, (passage, explanation) in enumerate(
        zip(ranking.passages, explanations, strict=True), start=1
    ):
        chunk, found = passage.chunk, passage.found
        hits.append(
            Hit(
                rank=rank,
                score=passage.score,
                chunk_id=chunk.pk,
                document_id=chunk.document_id,
                external_id=chunk.external_id,
                title=chunk.title,
                heading_path=tuple(passage.parts[0].heading_path),
                text=passage.text,
                url=chunk.url,
                metadata=chunk.metadata,
                distance=found.dense.distance if found.dense else None,
                bm25=found.lexical.bm25 if found.lexical else None,
                chunk_ids=tuple(part.pk for part in passage.parts),
                explanation=explanation,
            )
        )
    return hits


def _explanations(plan: Plan, ranking: Ranking) -> list[Explanation]:
    dense_ranks = _ranks(ranking.arms.dense)
    lexical_ranks = _ranks(ranking.arms.lexical)
    terms = list(dict.fromkeys(tokenize(plan.query)))
    explanations = []
    for passage in ranking.passages:
        found, chunk = passage.found, passage.chunk
        headings = " ".join([chunk.title, *chunk.heading_path])
        held = set(tokenize(f"{headings}\n{passage.text}"))
        explanations.append(
            Explanation(
                space=plan.index.space,
                distance=found.dense.distance if found.dense else None,
                similarity=similarity(found.dense.distance, plan.index.space)
                if found.dense
                else None,
                dense_rank=dense_ranks.get(chunk.pk),
                bm25=found.lexical.bm25 if found.lexical else None,
                lexical_score=found.lexical.score if found.lexical else None,
                lexical_rank=lexical_ranks.get(chunk.pk),
                dense_weight=ranking.dense_weight,
                fused_score=found.score,
                question_score=_question_score(found, ranking.dense_weight),
                rerank_score=passage.score if ranking.made_of == "reranked" else None,
                matched_terms=tuple(term for term in terms if term in held),
                matches=tuple(spans(passage.text, terms)),
                index=plan.index.physical_name,
                model=plan.index.embedding_model.name,
            )
        )
    return explanations


def _ranks(candidates: Sequence[DenseCandidate | LexicalCandidate]) -> dict[int, int]:
    return {candidate.chunk_id: rank for rank, candidate in enumerate(candidates, start=1)}


def _log_row(
    request: SearchRequest, plan: Plan, ranking: Ranking, response: SearchResponse
) -> Search:
    row = Search(
        pk=uuid.UUID(response.query_id),
        collection_id=plan.collection.pk,
        query=plan.query,
        channel=request.channel,
        asker=request.asker[:200],
        top_k=plan.top_k,
        filter=dict(request.filter),
        results=[
            {
                "rank": hit.rank,
                "score": hit.score,
                "chunk_id": hit.chunk_id,
                "document_id": hit.document_id,
            }
            for hit in response.hits
        ],
        result_count=len(response.hits),
        top_score=response.hits[0].score if response.hits else None,
        confidence=response.confidence,
        degraded=response.degraded,
        timings=dict(response.timings),
        total_ms=response.timings["total"],
    )
    vector = ranking.arms.vector
    if vector is not None and row.is_weak(row.confidence, row.result_count, row.degraded):
        row.vector = Embedding.pack(vector)
        row.vector_model = plan.index.embedding_model_id
    return row
