"""A sentence-transformers CrossEncoder → one ONNX graph, int8.

The model and what makes probabilities of its logits become one graph, so that serving needs
onnxruntime and tokenizers alone. Run as a program, so that torch is gone when it is done:
python -m retrieval.embedding.reranker_export NAME MODELS_FOLDER
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID251 - this is the room for it
from sentence_transformers import CrossEncoder  # noqa: TID251 - this is the room for it

from retrieval.embedding.bundle import RerankerBundle, reranker_folder_for
from retrieval.embedding.export import (
    first_line,
    max_tokens_of,
    put_in_place,
    quantise,
    run,
    trace,
    without_padding,
)
from retrieval.embedding.reranker import OnnxReranker
from retrieval.embedding.source import fingerprint, locate
from retrieval.exceptions import ModelUnusable

#: Largest difference between the export's scores and the original's on the probe pairs, for the
#: full-precision graph and for int8. Above it the export is wrong, not merely rounded.
TOLERANCE = {"onnx": 0.01, "onnx-int8": 0.1}
QUERY = "How do I list running containers?"
PROBES = (
    (QUERY, "docker ps lists all running containers; with --all also those that stopped."),
    (QUERY, "Docker runs programs in containers, apart from each other."),
    (QUERY, "The cat sits on the mat."),
    (QUERY, "列出所有正在运行的容器。"),
    ("怎样解压归档文件？", "用 tar 解压归档文件到指定目录。"),
    ("怎样解压归档文件？", "Extract an archive into a directory."),
    # Longer than most models read.
    (QUERY, "A backup is a copy of data that is kept somewhere else. " * 60),
    ("x", "y"),
)


class Probability(torch.nn.Module):
    """A CrossEncoder as a function of plain tensors that returns one probability for each pair."""

    def __init__(self, model: CrossEncoder, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.is_probability = _ends_in_sigmoid(model)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        features = dict(zip(self.names, tensors, strict=True))
        return probabilities(self.model(features)["scores"], self.is_probability)


def probabilities(scores: torch.Tensor, is_probability: bool) -> torch.Tensor:
    """Scores of shape (pairs,), (pairs, 1) or (pairs, 2) → probabilities of shape (pairs,).

    The second of two labels is the positive one.
    """
    if scores.ndim == 2 and scores.shape[1] == 2:
        return torch.softmax(scores, dim=1)[:, 1]
    scores = scores.reshape(-1)
    return scores if is_probability else torch.sigmoid(scores)


def export(name: str, models: Path, say: Callable[[str], None]) -> RerankerBundle:
    """Prepare a cross-encoder by name or path and return its bundle.

    Tries int8, then full-precision ONNX, and says which and why.

    Raises ModelUnusable if it is no cross-encoder or ONNX cannot express it.
    """
    source = locate(name)
    try:
        model = CrossEncoder(source, device="cpu")
    except Exception as error:
        raise ModelUnusable(
            f"The reranker {name} cannot be loaded: {first_line(error)}. KBADMIN_RERANKER takes "
            "the name of a sentence-transformers CrossEncoder, which needs the network once, or "
            "its folder."
        ) from error
    model.eval()
    _refuse_others(name, model)
    return put_in_place(
        reranker_folder_for(models, name), lambda work: _make(name, source, model, work, say)
    )


def _refuse_others(name: str, model: CrossEncoder) -> None:
    """Raises ModelUnusable for a model that was not trained to score pairs.

    sentence-transformers loads any transformer as a cross-encoder, with a random last layer.
    """
    architectures = getattr(model.config, "architectures", None) or []
    is_bare = len(list(model)) == 1
    if is_bare and not any("ForSequenceClassification" in kind for kind in architectures):
        raise ModelUnusable(
            f"The model {name} is no cross-encoder. KBADMIN_RERANKER takes one, such as "
            "cross-encoder/ms-marco-MiniLM-L6-v2."
        )
    if model.num_labels > 2:
        raise ModelUnusable(
            f"The model {name} sorts pairs into {model.num_labels} classes; a reranker has one "
            "score, or two classes. Choose another model."
        )


def _make(
    name: str, source: str, model: CrossEncoder, work: Path, say: Callable[[str], None]
) -> RerankerBundle:
    """Fill `work` with the tokenizer and the best graph that agrees with the original."""
    plain = work / "source"
    model.save(str(plain))
    tokenizer_file = next(plain.rglob("tokenizer.json"), None)
    if tokenizer_file is None:
        raise ModelUnusable(
            f"The reranker {name} has no fast tokenizer (tokenizer.json). Choose another model."
        )
    shutil.copy(tokenizer_file, work / "tokenizer.json")
    without_padding(work / "tokenizer.json")
    facts: dict[str, Any] = {
        "folder": work,
        "name": name,
        "revision": fingerprint(Path(source) if Path(source).is_dir() else plain)[:16],
        "max_tokens": max_tokens_of(model.max_seq_length),
        "pad_id": int(getattr(model.tokenizer, "pad_token_id", None) or 0),
    }
    shutil.rmtree(plain)
    try:
        # Before the graph is made, which changes how the model computes attention.
        expected = _original_scores(model)
        say(f"Exporting {name} to ONNX …")
        _to_onnx(model, work / "full.onnx")
        say("Quantising to int8 …")
        quantise(work / "full.onnx", work / "model.onnx")
        bundle = RerankerBundle(runtime="onnx-int8", **facts)
        if (difference := _difference(bundle, expected)) > TOLERANCE["onnx-int8"]:
            note = f"int8 scores differ from the original's by {difference:.3f}; not used."
            say(note)
            shutil.copy(work / "full.onnx", work / "model.onnx")
            bundle = RerankerBundle(runtime="onnx", note=note, **facts)
            difference = _difference(bundle, expected)
    except Exception as error:
        raise ModelUnusable(
            f"The reranker {name} cannot be served by ONNX: {first_line(error)}. "
            "Choose another model."
        ) from error
    if difference > TOLERANCE[bundle.runtime]:
        raise ModelUnusable(
            f"The reranker {name} cannot be served by ONNX: its scores differ from the "
            f"original's by {difference:.3f}. Choose another model."
        )
    (work / "full.onnx").unlink()
    return bundle


def _to_onnx(model: CrossEncoder, path: Path) -> None:
    features = model.preprocess([("a probe", "a text"), ("another", "a little longer text")])
    tensors = {name: value for name, value in features.items() if isinstance(value, torch.Tensor)}
    trace(Probability(model, list(tensors)), tensors, "score", path)


def _original_scores(model: CrossEncoder) -> "np.ndarray[Any, np.dtype[Any]]":
    scores = model.predict(
        list(PROBES),
        # Some models come with an activation of their own, some with none.
        activation_fn=torch.nn.Identity(),
        convert_to_tensor=True,
        show_progress_bar=False,
    )
    return np.asarray(probabilities(scores, _ends_in_sigmoid(model)).numpy())


def _ends_in_sigmoid(model: CrossEncoder) -> bool:
    """Whether the model's last step is a sigmoid already, apart from its activation function."""
    last = list(model)[-1]
    return isinstance(getattr(last, "activation_function", None), torch.nn.Sigmoid)


def _difference(bundle: RerankerBundle, expected: "np.ndarray[Any, np.dtype[Any]]") -> float:
    """The largest difference between a bundle's scores and the expected ones."""
    reranker = OnnxReranker(bundle, threads=1)
    worst = 0.0
    for (query, passage), wanted in zip(PROBES, expected, strict=True):
        # With another, shorter one, so that padding is tried as well.
        found = reranker.scores(query, [passage, "z"])[0]
        worst = max(worst, abs(found - float(wanted)))
    return worst


if __name__ == "__main__":
    sys.exit(run(export))
