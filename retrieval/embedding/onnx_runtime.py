"""Serves an exported model with onnxruntime and tokenizers: no torch in the process."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from retrieval.embedding.base import Vectors
from retrieval.embedding.bundle import Bundle, Prepared
from retrieval.exceptions import EmbeddingError, ModelUnusable

#: Tokens, padding included, and texts per run of the graph. More fall out of a CPU's cache:
#: at four times the tokens a run takes twice the memory and more time.
BATCH_TOKENS, BATCH_TEXTS = 512, 32
#: Left out of onnxruntime's optimisations: its kernel for a normalisation fused with the addition
#: before it takes five times as long as the two apart, a tenth of a run.
SLOWER_FUSIONS = ["SkipLayerNormFusion"]


def load_files(bundle: Prepared, command: str) -> tuple[Tokenizer, onnxruntime.InferenceSession]:
    """Tokenizer and graph of a prepared model, whose runs take one thread each.

    Raises ModelUnusable, with the command that makes them anew, if one of them is damaged.
    """
    options = onnxruntime.SessionOptions()
    # Runs go side by side, each in one thread: threads that share a run wait for each other
    # at every node of the graph.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        tokenizer = Tokenizer.from_file(str(bundle.tokenizer_path))
        session = onnxruntime.InferenceSession(
            str(bundle.onnx_path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOWER_FUSIONS,
        )
    except Exception as error:
        raise ModelUnusable(
            f"The prepared model in {bundle.folder} cannot be loaded ({error}). "
            f"Delete that folder and run: {command}"
        ) from error
    return tokenizer, session


class OnnxEmbedder:
    """One graph: tokens in, pooled and normalised sentence vectors out. Thread-safe."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self.dimension = bundle.dimension
        self.max_tokens = bundle.max_tokens
        self._prompts = (bundle.query_prompt, bundle.document_prompt)
        self.tokenizer, self._session = load_files(bundle, "manage.py prepare_model")
        self.tokenizer.enable_truncation(max_length=bundle.max_tokens)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._inputs = [item.name for item in self._session.get_inputs()]

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self._embed([self._prompts[1] + text for text in texts])

    def embed_query(self, text: str) -> Vectors:
        # Straight to the graph: sorting, padding and handing over to threads are for many.
        encoding = self.tokenizer.encode(self._prompts[0] + text)
        if not encoding.ids:
            alone: Vectors = self._embed([self._prompts[0] + text])[0]
            return alone
        given = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        nothing = [0] * len(encoding.ids)
        feed = {name: np.array([given.get(name, nothing)], dtype=np.int64) for name in self._inputs}
        vector: Vectors = _finite(self._session.run(None, feed)[0])[0]
        return vector

    def _embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        encodings = self.tokenizer.encode_batch(list(texts))
        # The longest come first, so that all threads are done at about the same time.
        batches = list(batches_of([len(encoding.ids) for encoding in encodings]))[::-1]
        groups = [[encodings[row] for row in rows] for rows in batches]
        for rows, result in zip(batches, self._threads.map(self._run, groups), strict=True):
            vectors[rows] = result
        return _finite(vectors)

    def _run(self, encodings: Sequence[Encoding]) -> Vectors:
        """Vectors of a few texts, the longest of them last."""
        longest = max(len(encodings[-1].ids), 1)
        feed = {name: np.zeros((len(encodings), longest), dtype=np.int64) for name in self._inputs}
        for line, encoding in enumerate(encodings):
            length = len(encoding.ids)
            feed["input_ids"][line, :length] = encoding.ids
            feed["attention_mask"][line, :length] = 1
            if "token_type_ids" in feed:
                feed["token_type_ids"][line, :length] = encoding.type_ids
        vectors: Vectors = self._session.run(None, feed)[0]
        return vectors


def _finite(vectors: Vectors) -> Vectors:
    if not np.isfinite(vectors).all():
        raise EmbeddingError("The embedding model returned numbers that are not finite.")
    return vectors


def batches_of(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers in batches, shortest first: neighbours of like length need little padding."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == BATCH_TEXTS or (len(batch) + 1) * lengths[row] > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
