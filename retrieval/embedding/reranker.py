"""Serves an exported cross-encoder with onnxruntime and tokenizers: no torch in the process."""

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from retrieval.embedding.bundle import RerankerBundle
from retrieval.embedding.onnx_runtime import batches_of, load_files
from retrieval.exceptions import EmbeddingError


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a passage as the graph reads them."""

    ids: list[int]
    type_ids: list[int]


class OnnxReranker:
    """One graph: tokens of (query, passage) in, probabilities out. Thread-safe."""

    def __init__(self, bundle: RerankerBundle, threads: int) -> None:
        self.max_tokens = bundle.max_tokens
        self._pad_id = bundle.pad_id
        self._tokenizer, self._session = load_files(
            bundle, f"manage.py prepare_model --reranker {shlex.quote(bundle.name)}"
        )
        self._special = self._tokenizer.num_special_tokens_to_add(is_pair=True)
        self._inputs = [item.name for item in self._session.get_inputs()]
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rerank")

    def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        scores = np.empty(len(passages), dtype=np.float32)
        encodings = self._tokenizer.encode_batch([(query, passage) for passage in passages])
        pairs = [self._cut(encoding) for encoding in encodings]
        # The longest come first, so that all threads are done at about the same time.
        batches = list(batches_of([len(pair.ids) for pair in pairs]))[::-1]
        groups = [[pairs[row] for row in rows] for rows in batches]
        for rows, result in zip(batches, self._threads.map(self._run, groups), strict=True):
            scores[rows] = result
        if not np.isfinite(scores).all():
            raise EmbeddingError("The reranker returned numbers that are not finite.")
        return [float(score) for score in scores]

    def _cut(self, encoding: Encoding) -> Pair:
        """A pair within the model's limit: the passage loses its end.

        A query that takes more than half of the room is cut to that first. Cut here rather than
        by the tokenizer, which raises where the query alone is too long.
        """
        ids, type_ids = encoding.ids, encoding.type_ids
        if len(ids) <= self.max_tokens:
            return Pair(ids, type_ids)
        parts = encoding.sequence_ids
        query = [place for place, part in enumerate(parts) if part == 0]
        passage = [place for place, part in enumerate(parts) if part == 1]
        room = self.max_tokens - self._special
        query_kept = min(len(query), room // 2)
        dropped = {*query[query_kept:], *passage[room - query_kept :]}
        kept = [place for place in range(len(ids)) if place not in dropped]
        return Pair([ids[place] for place in kept], [type_ids[place] for place in kept])

    def _run(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Scores of a few pairs, the longest of them last."""
        shape = (len(pairs), len(pairs[-1].ids))
        feed = {name: np.zeros(shape, dtype=np.int64) for name in self._inputs}
        feed["input_ids"].fill(self._pad_id)
        for line, pair in enumerate(pairs):
            length = len(pair.ids)
            feed["input_ids"][line, :length] = pair.ids
            feed["attention_mask"][line, :length] = 1
            if "token_type_ids" in feed:
                feed["token_type_ids"][line, :length] = pair.type_ids
        try:
            scores: NDArray[np.float32] = self._session.run(None, feed)[0]
        except Exception as error:
            # A search goes on in its first order, whatever the runtime does not like.
            raise EmbeddingError(f"The reranker failed: {error}") from error
        return scores
