"""The prepared default model against sentence-transformers itself."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from retrieval import embedding
from retrieval.embedding.source import locate
from tests.test_architecture import ROOT

LONG = "A backup is a copy of data that is kept somewhere else. " * 60
TEXTS = [
    "How do I list running containers?",
    "Extract an archive into a directory.",
    "docker ps --all",
    "Show the processes that use the most memory.",
    "tar -xzf archive.tar.gz --strip-components=1 -C target",
    "def add(a, b):\n    return a + b",
    "SELECT name FROM users WHERE age > 30 ORDER BY name;",
    '{"query": "refund policy", "top_k": 4}',
    "The cat sits on the mat.",
    "A feline rests on a rug.",
    "Quarterly revenue grew by twelve percent.",
    "解压归档文件到指定目录",
    "如何列出所有正在运行的容器？",
    "今天天气很好",
    "パスワードを忘れました",
    "Wie kündige ich meinen Vertrag?",
    "¿Dónde está la biblioteca?",
    "x",
    ".",
    " ",
    "",
    "\n\n\n",
    "🚀🚀🚀",
    "AAAA BBBB CCCC",
    "1234567890 0987654321",
    "https://example.com/a/very/long/path?with=query#fragment",
    "# Heading\n\n- item one\n- item two\n\n> quote",
    "<div class='a'>markup &amp; entities</div>",
    LONG,
    LONG + "This end lies beyond what the model reads.",
    "word " * 300,
    "解压文件" * 200,
]
PASSAGES = [
    "List all running containers with docker ps.",
    "Extract the files of a tar archive into a directory.",
    "Create a new branch in a git repository.",
    "Change the owner of a file or a folder.",
    "Download a file from the web with curl.",
    "Show how much space is free on the disk.",
    "Send an email from the command line.",
    "Compress a video so that it becomes smaller.",
]
QUESTIONS = [
    "which containers are up right now?",
    "unpack a tarball",
    "start working on a separate line of development with git",
    "give a file to another user",
    "fetch a page from a url",
    "is my hard drive full?",
    "write a mail in the terminal",
    "make a movie file smaller",
]


@pytest.fixture(scope="module")
def embedder(bundle):
    return embedding.load(bundle, threads=2)


@pytest.fixture(scope="module")
def original(bundle):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(locate(bundle.name), device="cpu")


def cosines(left, right):
    left = left / np.linalg.norm(left, axis=1, keepdims=True)
    right = right / np.linalg.norm(right, axis=1, keepdims=True)
    return (left * right).sum(axis=1)


def test_the_default_model_is_served_as_int8_without_a_complaint(bundle):
    assert (bundle.runtime, bundle.note) == ("onnx-int8", "")
    assert (bundle.dimension, bundle.max_tokens, bundle.languages) == (384, 256, ("en",))


def test_vectors_agree_with_sentence_transformers(embedder, original):
    ours = embedder.embed(TEXTS)
    theirs = original.encode(TEXTS, normalize_embeddings=True)
    agreement = dict(zip(TEXTS, cosines(ours, theirs), strict=True))
    assert np.mean(list(agreement.values())) >= 0.97
    worst = min(agreement, key=lambda text: agreement[text])
    assert agreement[worst] >= 0.9, (worst[:40], agreement[worst])


def test_the_nearest_passage_is_the_same_as_with_the_original(embedder, original):
    ours = np.array([embedder.embed_query(text) for text in QUESTIONS]) @ embedder.embed(PASSAGES).T
    theirs = original.encode(QUESTIONS) @ original.encode(PASSAGES).T
    assert ours.argmax(axis=1).tolist() == theirs.argmax(axis=1).tolist() == list(range(8))
    for mine, its in zip(ours, theirs, strict=True):
        # Beyond the first, only passages that are told apart clearly keep their order.
        order = np.argsort(-its)
        for near, far in pairwise(order):
            if its[near] - its[far] > 0.05:
                assert mine[near] > mine[far]


def test_vectors_are_unit_float32_of_the_dimension(embedder):
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    query = embedder.embed_query("how?")
    assert (query.dtype, query.shape) == (np.float32, (384,))


def test_no_texts_give_no_vectors(embedder):
    assert embedder.embed([]).shape == (0, 384)


def test_a_batch_gives_each_text_its_own_vector_in_order(embedder):
    texts = [text for text in TEXTS if text.strip()] * 3  # more than one run of the graph
    together = embedder.embed(texts)
    for number in (0, 1, 5, 20, len(texts) - 1):
        alone = embedder.embed([texts[number]])
        # int8 scales by what else is in the batch, so the two are near, not equal.
        assert cosines(alone, together[number : number + 1])[0] > 0.97
        nearest = (together @ alone[0]).argmax()
        assert texts[nearest] == texts[number]


def test_a_query_is_embedded_like_a_document(embedder):
    text = "List running containers."
    assert cosines(embedder.embed([text]), embedder.embed_query(text)[None])[0] > 0.999


def test_what_lies_beyond_the_limit_is_not_read(embedder):
    beyond = embedder.embed([LONG, LONG + "Something entirely different about refunds."])
    assert cosines(beyond[:1], beyond[1:])[0] > 0.999


def test_many_threads_get_their_own_answers(embedder):
    from concurrent.futures import ThreadPoolExecutor

    expected = {text: embedder.embed_query(text) for text in QUESTIONS}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(embedder.embed_query, QUESTIONS * 5))
    for text, answer in zip(QUESTIONS * 5, answers, strict=True):
        assert np.allclose(answer, expected[text], atol=1e-5)


def test_serving_imports_no_torch(bundle):
    program = f"""
import sys
from pathlib import Path
from retrieval import embedding
bundle = embedding.find(Path({str(bundle.folder.parent)!r}), {bundle.name!r})
embedding.load(bundle, 1).embed_query("hello")
assert not {{"torch", "transformers", "sentence_transformers", "django"}} & set(sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
