"""Text → vectors. The only room that loads models.

`prepare` makes a model ready once, in a process of its own; `load` serves a prepared one.
Neither imports torch into the caller, unless the model cannot be served without it.
"""

import importlib.util
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from retrieval.embedding.base import Embedder, Reranker, Vectors
from retrieval.embedding.bundle import Bundle, RerankerBundle, find, find_reranker
from retrieval.exceptions import ModelNotReady, ModelUnusable

__all__ = [
    "Bundle", "Embedder", "Reranker", "RerankerBundle", "Vectors", "find", "find_reranker", "load",
    "load_reranker", "prepare", "prepare_reranker",
]  # fmt: skip

PROJECT = Path(__file__).resolve().parent.parent.parent
EXPORTERS = ("torch", "sentence_transformers", "onnx")


def prepare(name: str, models: Path, say: Callable[[str], None]) -> Bundle:
    """The prepared model of a name below the folder `models`, made if it is not there yet.

    Raises ModelUnusable, with a sentence for the person who chose the name.
    """
    if bundle := find(models, name):
        return bundle
    failure = _run("retrieval.embedding.export", name, models, say)
    bundle = find(models, name)
    if failure or bundle is None:
        raise failure or ModelUnusable(f"The embedding model {name} could not be prepared.")
    return bundle


def prepare_reranker(name: str, models: Path, say: Callable[[str], None]) -> RerankerBundle:
    """As `prepare`, for a cross-encoder."""
    if bundle := find_reranker(models, name):
        return bundle
    failure = _run("retrieval.embedding.reranker_export", name, models, say)
    bundle = find_reranker(models, name)
    if failure or bundle is None:
        raise failure or ModelUnusable(f"The reranker {name} could not be prepared.")
    return bundle


def can_prepare() -> bool:
    """Whether what exports models is installed; the Docker image that serves does without."""
    return all(map(importlib.util.find_spec, EXPORTERS))


def _run(module: str, name: str, models: Path, say: Callable[[str], None]) -> ModelUnusable | None:
    """Export a model in a process of its own. Returns why that failed, None if it did not."""
    if not can_prepare():
        return ModelUnusable(
            f"The model {name} is not prepared, and what prepares models is not installed here. "
            "Run: pip install -r requirements.txt, or in Docker: docker compose run --rm prepare"
        )
    command = [sys.executable, "-W", "ignore", "-m", module, name, str(models)]
    # Errors go to a file: a pipe that nobody empties would stop a talkative library.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(  # noqa: S603 - our own module
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            say(line.rstrip())
        process.wait()
        stderr.seek(0)
        errors = stderr.read()
    if not process.returncode:
        return None
    reason = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    return ModelUnusable(
        # 3 is a refusal, which is a sentence already.
        reason if process.returncode == 3 else f"The model {name} could not be prepared: {reason}"
    )


def load(bundle: Bundle, threads: int) -> Embedder:
    """Serve a prepared model with the runtime that it was prepared for.

    Raises ModelUnusable if its files are damaged, or if it takes torch and there is none.
    """
    if bundle.runtime == "torch":
        if not can_prepare():
            raise ModelUnusable(
                f"The model {bundle.name} could not be exported to ONNX and takes PyTorch, which "
                "is not installed here. Run: pip install -r requirements.txt, or choose another."
            )
        from retrieval.embedding.torch_runtime import TorchEmbedder

        return TorchEmbedder(bundle, threads)
    from retrieval.embedding.onnx_runtime import OnnxEmbedder

    return OnnxEmbedder(bundle, threads)


def load_reranker(models: Path, name: str, threads: int) -> Reranker:
    """Serve the cross-encoder of a name that was prepared below the folder `models`.

    Raises:
        ModelNotReady: it was not, with the command that does it.
        ModelUnusable: its files are damaged.
    """
    bundle = find_reranker(models, name)
    if bundle is None:
        raise ModelNotReady(
            f"The reranker {name} is not prepared in {models}. "
            f"Run: manage.py prepare_model --reranker {shlex.quote(name)}"
        )
    from retrieval.embedding.reranker import OnnxReranker

    return OnnxReranker(bundle, threads)
