"""The one search path: playground, /search, MCP, gateway and evaluation all call `search`."""

import logging
import time
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlineExceeded
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from django.conf import settings
from django.db import DatabaseError

from retrieval.embeddings import stored_embeddings
from retrieval.exceptions import (
    CollectionNotFound,
    InvalidRequest,
    KnowledgeBaseError,
    SearchUnavailable,
    VectorCollectionMissing,
)
from retrieval.factories import embedder_for, query_store
from retrieval.filters import documents_matching
from retrieval.fusion import Fused, confidence, dense_weight, distances_to, fuse
from retrieval.lexical import lexical_index
from retrieval.models import Chunk, Collection, Index, Search
from retrieval.types import (
    DenseCandidate,
    Hit,
    LexicalCandidate,
    SearchRequest,
    SearchResponse,
)

logger = logging.getLogger(__name__)

MAX_QUERY_LENGTH = 4000  #: characters
MAX_TOP_K = 50
#: Candidates that each arm is asked for, at least and per wanted hit.
DEPTH, DEPTH_PER_HIT = 50, 4
#: How much deeper to look when candidates turned out to be gone from the database.
DEEPER = 4
#: Up to so many chunks a filter's answer is computed exactly from the stored embeddings.
EXACT_LIMIT = 2000
#: Seconds that embedding a question may take, on top of Chroma's own deadline.
EMBEDDING_ALLOWANCE = 5.0

#: The dense arm runs beside the lexical one; both spend their time outside the interpreter.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="dense")


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


@dataclass(slots=True)
class Arms:
    """What both arms found, and why one of them could not."""

    dense: list[DenseCandidate] = field(default_factory=list)
    lexical: list[LexicalCandidate] = field(default_factory=list)
    dense_failure: KnowledgeBaseError | None = None
    lexical_failure: Exception | None = None


def search(request: SearchRequest) -> SearchResponse:
    """Find the passages that answer a question, and log that it was asked.

    Raises:
        CollectionNotFound: the collection does not exist, or not any more.
        InvalidRequest, InvalidFilter: the question, `top_k` or the filter is not usable.
        SearchUnavailable: neither arm can answer.
    """
    watch = Stopwatch()
    with watch.stage("total"):
        query = normalise(request.query)
        collection = find_collection(request.collection)
        top_k = collection.default_top_k if request.top_k is None else request.top_k
        if not 1 <= top_k <= MAX_TOP_K:
            raise InvalidRequest(f"top_k must lie between 1 and {MAX_TOP_K}.")
        index = collection.live_index
        if index is None:
            raise SearchUnavailable(f"The collection {collection.slug} has no index yet.")
        within = documents_matching(collection.pk, request.filter) if request.filter else None
        hits, arms = _find(query, top_k, collection, index, within, watch)
    degraded = ""
    if arms.dense_failure:
        degraded = arms.dense_failure.code
    elif arms.lexical_failure:
        degraded = "lexical_index_failed"
    response = SearchResponse(
        query_id="",
        collection=collection.slug,
        hits=tuple(hits),
        confidence=confidence([hit.score for hit in hits]),
        degraded=degraded,
        timings=watch.stages,
    )
    return _logged(request, query, top_k, collection, response)


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


def find_collection(slug: str) -> Collection:
    collection = (
        Collection.objects.alive()
        .select_related("live_index__embedding_model")
        .filter(slug=slug)
        .first()
    )
    if collection is None:
        raise CollectionNotFound(f"There is no collection {slug!r}.")
    return collection


def _find(
    query: str,
    top_k: int,
    collection: Collection,
    index: Index,
    within: list[int] | None,
    watch: Stopwatch,
) -> tuple[list[Hit], Arms]:
    depth = max(DEPTH, top_k * DEPTH_PER_HIT)
    if within == []:
        return [], Arms()
    weight = dense_weight(query, index.embedding_model.languages)
    while True:
        arms = _ask_both(query, depth, collection, index, within, watch)
        if arms.dense_failure:
            share = 0.0
        elif arms.lexical_failure:
            share = 1.0
        else:
            share = weight
        fused = fuse(arms.dense, arms.lexical, space=index.space, weight=share)
        with watch.stage("read"):
            hits = _read_back(fused, index, top_k, within)
        exhausted = len(arms.dense) < depth and len(arms.lexical) < depth
        if len(hits) >= top_k or exhausted or depth > EXACT_LIMIT:
            return hits, arms
        # Candidates were deleted, disabled or filtered out: look deeper.
        depth *= DEEPER


def _ask_both(
    query: str,
    depth: int,
    collection: Collection,
    index: Index,
    within: list[int] | None,
    watch: Stopwatch,
) -> Arms:
    arms = Arms()
    exact = _exact_vectors(index, within) if within is not None else None
    future = _threads.submit(_dense, query, depth, index, exact, watch)
    try:
        with watch.stage("lexical"):
            arms.lexical = lexical_index().search(index.scope, query, depth, within)
    except DatabaseError as error:
        logger.exception("the lexical index cannot answer")
        arms.lexical_failure = error
    try:
        arms.dense = _result(future)
    except KnowledgeBaseError as error:
        if not (isinstance(error, VectorCollectionMissing) and _is_empty(collection)):
            logger.warning("dense search failed: %s", error.message)
            arms.dense_failure = error
    if arms.dense_failure and arms.lexical_failure:
        raise SearchUnavailable(
            "Neither word search nor vector search can answer right now. Try again shortly."
        ) from arms.lexical_failure
    return arms


def _result(future: "Future[list[DenseCandidate]]") -> list[DenseCandidate]:
    try:
        return future.result(settings.CHROMA_QUERY_TIMEOUT + EMBEDDING_ALLOWANCE)
    except DeadlineExceeded as error:
        from retrieval.exceptions import VectorStoreUnavailable

        raise VectorStoreUnavailable("Vector search did not answer in time.") from error


def _dense(
    query: str,
    depth: int,
    index: Index,
    exact: tuple[list[int], "np.ndarray[tuple[int, int], np.dtype[np.float32]]"] | None,
    watch: Stopwatch,
) -> list[DenseCandidate]:
    """Nearest chunks of a question. Runs in a thread of its own: no database here."""
    with watch.stage("embed"):
        vector = embedder_for(index.embedding_model).embed_query(query)
    with watch.stage("dense"):
        if exact is None:
            return query_store().query(index.physical_name, vector, depth)
        chunk_ids, matrix = exact
        distances = distances_to(vector, matrix, index.space)
        order = np.argsort(distances, kind="stable")[:depth]
        return [DenseCandidate(chunk_ids[row], float(distances[row])) for row in order]


def _exact_vectors(
    index: Index, within: list[int]
) -> tuple[list[int], "np.ndarray[tuple[int, int], np.dtype[np.float32]]"] | None:
    """Chunk ids and stored vectors of a selective filter's documents, shape (n, dimension).

    None if there are too many: then Chroma is asked, and its candidates are filtered. Asking
    Chroma with a filter would be slow where it matches much, and miss where it matches little.
    """
    if len(within) > EXACT_LIMIT:
        return None
    rows = list(
        Chunk.objects.live()
        .filter(document__in=within, chunking=index.chunking)
        .values_list("pk", "text_hash")[: EXACT_LIMIT + 1]
    )
    if len(rows) > EXACT_LIMIT:
        return None
    vectors = stored_embeddings(index.embedding_model_id, {digest for _, digest in rows})
    kept = [(pk, vectors[digest]) for pk, digest in rows if digest in vectors]
    matrix = np.empty((len(kept), index.embedding_model.dimension), dtype=np.float32)
    for row, (_, vector) in enumerate(kept):
        matrix[row] = vector
    return [pk for pk, _ in kept], matrix


def _is_empty(collection: Collection) -> bool:
    return not Chunk.objects.live().filter(document__collection=collection).exists()


def _read_back(
    fused: Sequence[Fused], index: Index, top_k: int, within: list[int] | None
) -> list[Hit]:
    """Hits from the database: what it does not call live does not exist (law 2)."""
    wanted = None if within is None else set(within)
    hits: list[Hit] = []
    # Nearly always one query: only where much was deleted or disabled a second is needed.
    step = top_k * 2 + 8
    for begin in range(0, len(fused), step):
        part = fused[begin : begin + step]
        chunks = _live_chunks([item.chunk_id for item in part], index)
        for item in part:
            chunk = chunks.get(item.chunk_id)
            if chunk is None or (wanted is not None and chunk.document_id not in wanted):
                continue
            hits.append(_hit(len(hits) + 1, item, chunk))
            if len(hits) == top_k:
                return hits
    return hits


def _live_chunks(chunk_ids: list[int], index: Index) -> dict[int, Chunk]:
    return {
        chunk.pk: chunk
        for chunk in Chunk.objects.live()
        .filter(pk__in=chunk_ids, chunking=index.chunking)
        .filter(document__collection=index.collection_id)
        .select_related("document", "revision")
        .only(
            "text",
            "heading_path",
            "document__external_id",
            "document__title",
            "document__url",
            "revision__metadata",
        )
    }


def _hit(rank: int, item: Fused, chunk: Chunk) -> Hit:
    document = chunk.document
    return Hit(
        rank=rank,
        score=round(item.score, 4),
        chunk_id=chunk.pk,
        document_id=document.pk,
        external_id=document.external_id,
        title=document.title,
        heading_path=tuple(chunk.heading_path),
        text=chunk.text,
        url=document.url,
        metadata=chunk.revision.metadata,
        distance=item.dense.distance if item.dense else None,
        bm25=item.lexical.bm25 if item.lexical else None,
    )


def _logged(
    request: SearchRequest,
    query: str,
    top_k: int,
    collection: Collection,
    response: SearchResponse,
) -> SearchResponse:
    row = Search.objects.create(
        collection=collection,
        query=query,
        channel=request.channel,
        top_k=top_k,
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
    return SearchResponse(
        query_id=str(row.pk),
        collection=response.collection,
        hits=response.hits,
        confidence=response.confidence,
        degraded=response.degraded,
        timings=response.timings,
    )
