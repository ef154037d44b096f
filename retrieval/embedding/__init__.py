"""Text → vectors. The only room that loads models.

`prepare` makes a model ready once, in a process of its own; `load` serves a prepared one.
Neither imports torch into the caller, unless the model cannot be served without it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from retrieval.embedding.base import Embedder, Vectors
from retrieval.embedding.bundle import Bundle, find
from retrieval.exceptions import ModelUnusable

__all__ = ["Bundle", "Embedder", "Vectors", "find", "load", "prepare"]

PROJECT = Path(__file__).resolve().parent.parent.parent


def prepare(name: str, models: Path, say: Callable[[str], None]) -> Bundle:
    """The prepared model of a name below the folder `models`, made if it is not there yet.

    Raises ModelUnusable, with a sentence for the person who chose the name.
    """
    if bundle := find(models, name):
        return bundle
    command = [sys.executable, "-W", "ignore", "-m", "retrieval.embedding.export"]
    # Errors go to a file: a pipe that nobody empties would stop a talkative library.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(  # noqa: S603 - our own module
            [*command, name, str(models)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        for line in process.stdout or ():
            say(line.rstrip())
        process.wait()
        stderr.seek(0)
        errors = stderr.read()
    bundle = find(models, name)
    if process.returncode or bundle is None:
        reason = errors.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise ModelUnusable(
            reason[0]
            if process.returncode == 3
            else f"The embedding model {name} could not be prepared: {reason[0]}"
        )
    return bundle


def load(bundle: Bundle, threads: int) -> Embedder:
    """Serve a prepared model with the runtime that it was prepared for.

    Raises ModelUnusable if its files are damaged.
    """
    if bundle.runtime == "torch":
        from retrieval.embedding.torch_runtime import TorchEmbedder

        return TorchEmbedder(bundle, threads)
    from retrieval.embedding.onnx_runtime import OnnxEmbedder

    return OnnxEmbedder(bundle, threads)
