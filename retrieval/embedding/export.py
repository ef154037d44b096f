"""sentence-transformers → one ONNX graph, int8.

The whole pipeline (transformer, pooling, normalisation) becomes one graph, so that serving
needs onnxruntime and tokenizers alone. Run as a program, so that torch and its 500 MB are
gone when it is done: python -m retrieval.embedding.export NAME MODELS_FOLDER
"""

import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch  # noqa: TID251 - this is the room for it
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer  # noqa: TID251 - this is the room for it
from tokenizers import Tokenizer

from retrieval.embedding.bundle import Bundle, Prepared, folder_for
from retrieval.embedding.graph import fix_shapes
from retrieval.embedding.onnx_runtime import OnnxEmbedder
from retrieval.embedding.source import declared_languages, fingerprint, locate
from retrieval.exceptions import EmbeddingError, ModelUnusable

#: Least cosine similarity between the export and the original on the probe texts, for the
#: full-precision graph and for int8. Below it the export is wrong, not merely rounded.
AGREEMENT = {"onnx": 0.999, "onnx-int8": 0.95}
PROBES = (
    "How do I list running containers?",
    "Extract an archive into a directory.",
    "解压归档文件到指定目录",
    "x",
)
OPSET = 17
#: Tokens that are believed to be a limit, and the limit where there is none.
LONGEST_INPUT, DEFAULT_INPUT = 100_000, 512
Kind = TypeVar("Kind", bound=Prepared)


class Pipeline(torch.nn.Module):
    """A SentenceTransformer as a function of plain tensors, which is what ONNX can express."""

    def __init__(self, model: SentenceTransformer, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        features = dict(zip(self.names, tensors, strict=True))
        embedding: torch.Tensor = self.model(features)["sentence_embedding"]
        return embedding


def export(name: str, models: Path, say: Callable[[str], None]) -> Bundle:
    """Prepare a model by name or path and return its bundle.

    Tries int8, then full-precision ONNX, then leaves it to torch, and says which and why.

    Raises ModelUnusable if sentence-transformers cannot load it at all.
    """
    source = locate(name)
    try:
        model = SentenceTransformer(source, device="cpu")
    except Exception as error:
        raise ModelUnusable(
            f"The embedding model {name} cannot be loaded: {first_line(error)}. "
            "KBADMIN_EMBEDDING_MODEL takes a sentence-transformers name or a folder; a name "
            "other than the default needs the network once."
        ) from error
    model.eval()
    return put_in_place(
        folder_for(models, name), lambda work: _make(name, source, model, work, say)
    )


def put_in_place(folder: Path, make: Callable[[Path], Kind]) -> Kind:
    """Have a bundle made beside its folder, move it there and write its manifest.

    A killed export leaves nothing that looks finished, and an old bundle as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as workshop:
        work = Path(workshop)
        bundle = make(work)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(str(work), folder)
        work.mkdir()  # the context manager wants something to remove
    finished = replace(bundle, folder=folder)
    finished.save()
    return finished


def _make(
    name: str, source: str, model: SentenceTransformer, work: Path, say: Callable[[str], None]
) -> Bundle:
    """Fill `work` with the tokenizer and the best graph that agrees with the original."""
    plain = work / "source"
    model.save(str(plain))
    tokenizer_file = next(plain.rglob("tokenizer.json"), None)
    if tokenizer_file is None:
        raise ModelUnusable(
            f"The embedding model {name} has no fast tokenizer (tokenizer.json), which cutting "
            "texts by tokens needs. Choose another model."
        )
    shutil.copy(tokenizer_file, work / "tokenizer.json")
    without_padding(work / "tokenizer.json")
    card = Path(source) / "README.md"
    prompts = model.prompts or {}
    facts: dict[str, Any] = {
        "folder": work,
        "name": name,
        "revision": fingerprint(Path(source) if Path(source).is_dir() else plain)[:16],
        "dimension": int(model.get_sentence_embedding_dimension() or 0),
        "max_tokens": max_tokens_of(model.max_seq_length),
        "languages": declared_languages(
            name,
            # A model from the hub brings its card along.
            card.read_text(encoding="utf-8")
            if card.is_file()
            else str(getattr(model, "_model_card_text", "") or ""),
        ),
        "query_prompt": prompts.get("query") or "",
        "document_prompt": prompts.get("document") or prompts.get("passage") or "",
        "source": source,
    }
    expected = np.asarray(
        model.encode(
            [facts["document_prompt"] + text for text in PROBES],
            prompt="",
            normalize_embeddings=True,
        )
    )
    reason = ""
    try:
        say(f"Exporting {name} to ONNX …")
        _to_onnx(model, work / "full.onnx")
        say("Quantising to int8 …")
        quantise(work / "full.onnx", work / "model.onnx")
        bundle = Bundle(runtime="onnx-int8", **facts)
        if (agreement := _agreement(bundle, expected)) < AGREEMENT["onnx-int8"]:
            reason = f"int8 agrees with the original to {agreement:.3f} only"
            shutil.copy(work / "full.onnx", work / "model.onnx")
            bundle = Bundle(runtime="onnx", note=reason, **facts)
            if (agreement := _agreement(bundle, expected)) < AGREEMENT["onnx"]:
                raise EmbeddingError(f"the ONNX graph agrees to {agreement:.3f} only")
    except Exception as error:  # noqa: BLE001 - whatever stops the export, torch still serves
        reason = f"The model cannot be served by ONNX ({first_line(error)}); torch serves it."
        (work / "model.onnx").unlink(missing_ok=True)
        bundle = Bundle(runtime="torch", note=reason, **facts)
    if reason:
        say(reason)
    (work / "full.onnx").unlink(missing_ok=True)
    shutil.rmtree(plain)
    return bundle


def _to_onnx(model: SentenceTransformer, path: Path) -> None:
    features = model.preprocess(["a probe", "another probe that is a little longer"])
    tensors = {name: value for name, value in features.items() if isinstance(value, torch.Tensor)}
    trace(Pipeline(model, list(tensors)), tensors, "embedding", path)


def trace(
    pipeline: torch.nn.Module, tensors: dict[str, torch.Tensor], output: str, path: Path
) -> None:
    """Write a pipeline as an ONNX graph for any number of texts of any length.

    `tensors` are an example of its inputs in order, each of shape (texts, tokens); the output
    has the texts first.
    """
    for module in pipeline.modules():
        # Plain attention: the fused kind becomes a tenth more work in ONNX, for masked rows
        # that no text has.
        choose: Any = getattr(module, "set_attn_implementation", None)
        if choose is not None:
            choose("eager")
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: "tokens"} for name in tensors}
    axes[output] = {0: "batch"}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            pipeline.eval(),
            tuple(tensors.values()),
            str(path),
            input_names=list(tensors),
            output_names=[output],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    fix_shapes(path)


def quantise(full: Path, path: Path) -> None:
    """Write a graph with int8 weights, scaled by channel."""
    quantize_dynamic(full, path, weight_type=QuantType.QInt8, per_channel=True)


def _agreement(bundle: Bundle, expected: "np.ndarray[Any, np.dtype[Any]]") -> float:
    """The worst cosine similarity between a bundle's vectors and the expected ones."""
    vectors = OnnxEmbedder(bundle, threads=1).embed(PROBES)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((vectors * expected).sum(axis=1).min())


def max_tokens_of(declared: float | None) -> int:
    """What a model reads at once; bags of tokens declare infinity, and some say nothing."""
    return int(declared) if declared and declared <= LONGEST_INPUT else DEFAULT_INPUT


def without_padding(path: Path) -> None:
    """Models ship tokenizers that pad and cut; the embedder and the chunker decide that."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(path))


def first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def run(export: Callable[[str, Path, Callable[[str], None]], Prepared]) -> int:
    """Export, with progress on standard output and a refusal as one line on standard error."""
    name, models = sys.argv[1:]

    def say(message: str) -> None:
        sys.stdout.write(message + "\n")
        sys.stdout.flush()

    try:
        export(name, Path(models), say)
    except EmbeddingError as error:
        sys.stderr.write(f"{error.message}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(run(export))
