"""Serves a model that cannot be exported with sentence-transformers itself: slower, larger."""

from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer  # noqa: TID251 - this is the room for it
from tokenizers import Tokenizer

from retrieval.embedding.base import Vectors
from retrieval.embedding.bundle import Bundle


class TorchEmbedder:
    def __init__(self, bundle: Bundle, threads: int) -> None:
        import torch  # noqa: TID251 - this is the room for it

        torch.set_num_threads(threads)
        self.dimension = bundle.dimension
        self.max_tokens = bundle.max_tokens
        self.tokenizer = Tokenizer.from_file(str(bundle.tokenizer_path))
        self._prompts = (bundle.query_prompt, bundle.document_prompt)
        self._model = SentenceTransformer(bundle.source, device="cpu")

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self._embed([self._prompts[1] + text for text in texts])

    def embed_query(self, text: str) -> Vectors:
        vector: Vectors = self._embed([self._prompts[0] + text])[0]
        return vector

    def _embed(self, texts: Sequence[str]) -> Vectors:
        vectors = self._model.encode(list(texts), batch_size=32, show_progress_bar=False, prompt="")
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dimension)
