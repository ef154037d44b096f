"""What int8 costs: the shipped model against its own weights in full precision.

    python -m benchmarks.quantisation

The same paragraphs and questions of XQuAD English, cut by the same chunker, ranked by exact
cosine, a paragraph by its best chunk: once embedded by the int8 graph that kbadmin serves, once
by sentence-transformers in fp32.
"""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.quality import DATA, Corpus, write_corpus
from benchmarks.system import copy_model, machine
from retrieval import embedding
from retrieval.chunking import Chunker
from retrieval.embedding import Bundle, Vectors
from retrieval.metrics import Interval, measure, paired_difference, summarise

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
#: Of a new collection.
CHUNK_SIZE = 256
SHOWN = ("hit@1", "hit@5", "MRR@10")
#: How far hit@5 may lie apart.
MOST = 0.005


@dataclass(frozen=True, slots=True)
class Chunks:
    texts: list[str]  #: as the model reads them
    documents: list[str]  #: whose chunk each one is


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantisation", description=__doc__)
    parser.parse_args()
    if not DATA.is_dir():
        print(f"LEFT OUT: nothing was measured, the evaluation data is not in {DATA}.")
        return 0
    # The model is here already; nothing is to be asked of a hub.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="kbadmin-int8-") as name:
        folder = Path(name)
        corpus = write_corpus(DATA / "xquad.en.json", folder / "xquad-en", "xquad", "XQuAD English")
        copy_model(folder / "models")
        bundle = embedding.find(folder / "models", MODEL)
        if bundle is None or bundle.runtime != "onnx-int8":
            print(f"MISSED: {MODEL} is not served as int8: {bundle and bundle.note}")
            return 1
        chunks = cut(corpus, bundle)
        values = {}
        texts = [question.question for question in corpus.questions]
        for runtime, embed in (("int8", embed_int8), ("fp32", embed_fp32)):
            print(f"{runtime}: {len(chunks.texts)} chunks, {len(texts)} questions …", flush=True)
            values[runtime] = rank(corpus, chunks, *embed(bundle, chunks.texts, texts))
    int8, fp32 = values.values()
    print_table({runtime: summarise(by_name) for runtime, by_name in values.items()})
    for metric in SHOWN:
        change = paired_difference(fp32[metric], int8[metric])
        print(f"{metric}: int8 {change.mean:+.4f} ({change.low:+.4f} to {change.high:+.4f})")
    apart = abs(float(np.mean(int8["hit@5"]) - np.mean(fp32["hit@5"])))
    good = apart <= MOST
    print(
        f"{'reached' if good else 'MISSED'}: hit@5 of int8 and fp32 is {apart:.4f} apart, "
        f"at most {MOST}"
    )
    return 0 if good else 1


def embed_int8(bundle: Bundle, texts: list[str], questions: list[str]) -> tuple[Vectors, Vectors]:
    """As it is served: each question in a run of its own, because a graph that quantises as it
    goes gives slightly different vectors beside others."""
    embedder = embedding.load(bundle, os.cpu_count() or 1)
    asked = [embedder.embed_query(question) for question in questions]
    return embedder.embed(texts), np.stack(asked)


def embed_fp32(bundle: Bundle, texts: list[str], questions: list[str]) -> tuple[Vectors, Vectors]:
    """The weights before they were rounded; here neighbours make no difference."""
    embedder = embedding.load(replace(bundle, runtime="torch"), os.cpu_count() or 1)
    assert not bundle.query_prompt and not bundle.document_prompt, "embed a question as one"
    return embedder.embed(texts), embedder.embed(questions)


def cut(corpus: Corpus, bundle: Bundle) -> Chunks:
    """The chunks of every paragraph, in the order of their files."""
    tokenizer = embedding.load(bundle, 1).tokenizer
    chunker = Chunker(tokenizer, size=CHUNK_SIZE, overlap=0, max_tokens=bundle.max_tokens)
    chunks = Chunks([], [])
    for path in sorted(corpus.folder.iterdir()):
        for piece in chunker.split(path.read_text(encoding="utf-8"), ""):
            chunks.texts.append(piece.embedding_text)
            chunks.documents.append(path.name)
    return chunks


def rank(
    corpus: Corpus, chunks: Chunks, texts: Vectors, questions: Vectors
) -> dict[str, list[float]]:
    """Every metric's value for each question, by exact cosine."""
    values: dict[str, list[float]] = defaultdict(list)
    similarities = unit(questions) @ unit(texts).T
    for question, scores in zip(corpus.questions, similarities, strict=True):
        order = np.argsort(-scores, kind="stable")
        found = list(dict.fromkeys(chunks.documents[row] for row in order))
        for name, value in measure(found, question.relevant).items():
            values[name].append(value)
    return dict(values)


def unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def print_table(summaries: dict[str, dict[str, Interval]]) -> None:
    print(f"\n{'(95 % intervals)':<18}" + "".join(f"{name:<22}" for name in SHOWN).rstrip())
    for runtime, by_name in summaries.items():
        cells = [by_name[name] for name in SHOWN]
        numbers = (f"{one.mean:.3f} ({one.low:.3f}-{one.high:.3f})" for one in cells)
        print(f"{runtime:<18}" + "".join(f"{number:<22}" for number in numbers).rstrip())
    print()


if __name__ == "__main__":
    sys.exit(main())
