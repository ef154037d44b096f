"""sentence-transformers models that fit in a test: two random layers, made here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = """
[PAD] [UNK] [CLS] [SEP] [MASK] the a list copy move file files folder of to and all run
stop disk cat dog red blue green one two three ##s ##ing ##ed . , ! ? 文 件 夹
"""
VOCABULARY = WORDS.split()


def tiny_config(**options: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        # Larger than usual, so that random layers tell texts apart.
        initializer_range=0.4,
        **options,
    )


@pytest.fixture(scope="session")
def make_tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a model folder: make_tiny_model(seed, card) returns its path."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertModel, BertTokenizerFast  # type: ignore[attr-defined]

    def make(seed: int = 1, card: str = "") -> Path:
        folder = tmp_path_factory.mktemp("tiny")
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
        torch.manual_seed(seed)
        bert = BertModel(tiny_config())
        bert.save_pretrained(folder / "bert")
        BertTokenizerFast(vocab={word: n for n, word in enumerate(VOCABULARY)}).save_pretrained(
            folder / "bert"
        )
        transformer = modules.Transformer(str(folder / "bert"), max_seq_length=48)
        steps = [transformer, modules.Pooling(32, pooling_mode="mean"), modules.Normalize()]
        saved = folder / "model"
        SentenceTransformer(modules=steps, device="cpu").save(str(saved))
        (saved / "README.md").write_text(card, encoding="utf-8")
        return saved

    return make


@pytest.fixture(scope="session")
def tiny_model(make_tiny_model: Callable[..., Path]) -> Path:
    return make_tiny_model(card="---\nlanguage: en\n---\n# tiny\n")


@pytest.fixture(scope="session")
def make_tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a cross-encoder's folder: make_tiny_reranker(seed, labels) returns its path."""
    from sentence_transformers import CrossEncoder
    from transformers import (  # type: ignore[attr-defined]
        BertForSequenceClassification,
        BertTokenizerFast,
        set_seed,
    )

    def make(seed: int = 1, labels: int = 1) -> Path:
        folder = tmp_path_factory.mktemp("tiny-reranker")
        set_seed(seed)
        bert = BertForSequenceClassification(tiny_config(num_labels=labels))
        bert.save_pretrained(folder / "bert")
        BertTokenizerFast(vocab={word: n for n, word in enumerate(VOCABULARY)}).save_pretrained(
            folder / "bert"
        )
        saved = folder / "model"
        CrossEncoder(str(folder / "bert"), device="cpu", max_length=48).save(str(saved))
        return saved

    return make


@pytest.fixture(scope="session")
def tiny_reranker(make_tiny_reranker: Callable[..., Path]) -> Path:
    return make_tiny_reranker()


@pytest.fixture(scope="session")
def static_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without attention, of the kind that reads bags of tokens: no ONNX for it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertTokenizerFast  # type: ignore[attr-defined]

    torch.manual_seed(1)
    tokenizer = BertTokenizerFast(vocab={word: n for n, word in enumerate(VOCABULARY)})
    bag = modules.StaticEmbedding(
        tokenizer.backend_tokenizer, embedding_weights=torch.randn(len(VOCABULARY), 32).numpy()
    )
    folder = tmp_path_factory.mktemp("static") / "model"
    SentenceTransformer(modules=[bag], device="cpu").save(str(folder))
    return folder
