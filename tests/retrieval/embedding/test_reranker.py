"""A prepared cross-encoder against sentence-transformers itself."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from retrieval import embedding
from retrieval.embedding import reranker_export
from retrieval.embedding.bundle import (
    MANIFEST,
    find_reranker,
    folder_for,
    reranker_folder_for,
)
from retrieval.embedding.reranker import OnnxReranker
from retrieval.exceptions import EmbeddingError, ModelNotReady, ModelUnusable
from tests.test_architecture import ROOT

QUERY = "list the files of a folder"
PASSAGES = [
    "list files", "the red cat runs", "copy a file to the disk", "move two files and stop",
    "文 件 夹", "one two three dog", "", "unknownword", "blue green red one, two, three!", "a",
]  # fmt: skip
LONG = "copy the red file to the blue disk and stop . " * 40


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def original(folder):
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu")


@pytest.fixture(scope="module")
def prepared(tiny_reranker, tmp_path_factory):
    """The tiny cross-encoder, exported by a process of its own: (bundle, models, lines)."""
    lines: list[str] = []
    models = tmp_path_factory.mktemp("models")
    return embedding.prepare_reranker(str(tiny_reranker), models, lines.append), models, lines


@pytest.fixture(scope="module")
def exact(tiny_reranker, tmp_path_factory):
    """The same in full precision, which has to agree to the last digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(reranker_export.TOLERANCE, "onnx-int8", -1.0)  # nothing reaches it
        models = tmp_path_factory.mktemp("models")
        made = reranker_export.export(str(tiny_reranker), models, lambda line: None)
    assert made.runtime == "onnx"
    assert "int8" in made.note
    return OnnxReranker(made, 2)


@pytest.fixture
def copy(prepared, tmp_path):
    """A prepared cross-encoder that may be damaged: (bundle, models folder)."""
    made, models, _ = prepared
    shutil.copytree(models, tmp_path / "models")
    found = find_reranker(tmp_path / "models", made.name)
    assert found is not None
    return found, tmp_path / "models"


# --- Scores -------------------------------------------------------------------------------


def test_scores_are_those_of_the_original_in_the_same_order(exact, tiny_reranker):
    theirs = original(tiny_reranker).predict([(QUERY, passage) for passage in PASSAGES])
    assert np.allclose(exact.scores(QUERY, PASSAGES), theirs, atol=1e-4)
    # Passages are told apart at all, or agreement would mean nothing.
    assert theirs.max() - theirs.min() > 0.2


def test_int8_scores_are_near_those_of_the_original(prepared, tiny_reranker):
    made, models, lines = prepared
    assert made.runtime in {"onnx-int8", "onnx"}
    assert lines[0].startswith("Exporting")
    ours = embedding.load_reranker(models, made.name, 1).scores(QUERY, PASSAGES)
    theirs = original(tiny_reranker).predict([(QUERY, passage) for passage in PASSAGES])
    assert np.abs(np.array(ours) - theirs).max() < 0.15
    assert all(0 <= score <= 1 for score in ours)


def test_a_passage_scores_the_same_alone_and_among_others(exact):
    many = [*PASSAGES, LONG] * 5
    together = exact.scores(QUERY, many)
    alone = [exact.scores(QUERY, [passage])[0] for passage in many]
    assert np.allclose(together, alone, atol=1e-4)
    assert np.allclose(exact.scores(QUERY, many[::-1]), together[::-1], atol=1e-4)


def test_no_passages_have_no_scores(exact):
    assert exact.scores(QUERY, []) == []


def test_chinese_is_read(exact, tiny_reranker):
    passages = ["文 件 夹", "文件夹", "夹", "list files"]
    theirs = original(tiny_reranker).predict([("文 件 夹 ？", passage) for passage in passages])
    assert np.allclose(exact.scores("文 件 夹 ？", passages), theirs, atol=1e-4)
    # The first two are the same tokens.
    assert len({round(float(score), 5) for score in theirs}) == 3


def test_a_long_passage_loses_its_end(exact, tiny_reranker):
    theirs = original(tiny_reranker).predict([(QUERY, LONG)])[0]
    assert exact.scores(QUERY, [LONG])[0] == pytest.approx(theirs, abs=1e-4)
    words = LONG.split()
    assert exact.scores(QUERY, [" ".join(words[:100])]) == pytest.approx(
        exact.scores(QUERY, [LONG]), abs=1e-4
    )


@pytest.mark.parametrize("passage", ["list files", LONG, ""])
def test_a_query_that_is_too_long_alone_leaves_half_to_the_passage(exact, passage):
    room = 48 - 3  # tokens of the model, [CLS] and two [SEP]
    half = " ".join(LONG.split()[: room // 2])
    assert exact.scores(LONG, [passage]) == pytest.approx(exact.scores(half, [passage]), abs=1e-4)


def test_a_long_query_still_tells_passages_apart(exact):
    assert len(set(exact.scores(LONG, ["list files", "the red cat", LONG]))) == 3


def test_of_two_labels_the_second_is_the_score(make_tiny_reranker, tmp_path):
    folder = make_tiny_reranker(seed=3, labels=2)
    made = reranker_export.export(str(folder), tmp_path, lambda line: None)
    ours = OnnxReranker(made, 1).scores(QUERY, PASSAGES)
    pairs = [(QUERY, passage) for passage in PASSAGES]
    theirs = original(folder).predict(pairs, apply_softmax=True)[:, 1]
    assert np.abs(np.array(ours) - theirs).max() < 0.15
    assert theirs.max() - theirs.min() > 0.2


@pytest.mark.parametrize("activation", ["torch.nn.Sigmoid", "torch.nn.Identity"])
def test_scores_are_probabilities_whatever_activation_a_model_names(
    activation, tiny_reranker, tmp_path
):
    import torch
    from sentence_transformers import CrossEncoder

    kind = getattr(torch.nn, activation.rsplit(".", 1)[1])
    model = CrossEncoder(str(tiny_reranker), device="cpu", activation_fn=kind())
    model.save(str(tmp_path / "model"))
    made = reranker_export.export(str(tmp_path / "model"), tmp_path / "models", lambda line: None)
    ours = OnnxReranker(made, 1).scores(QUERY, PASSAGES)
    logits = model.predict(
        [(QUERY, passage) for passage in PASSAGES], activation_fn=torch.nn.Identity()
    )
    assert np.abs(np.array(ours) - 1 / (1 + np.exp(-logits))).max() < 0.15


def test_a_sigmoid_that_the_model_ends_in_is_not_applied_twice():
    import torch

    scores = torch.tensor([[0.25], [0.75]])
    assert reranker_export.probabilities(scores, True).tolist() == [0.25, 0.75]
    assert reranker_export.probabilities(scores, False).tolist() == pytest.approx(
        [0.562, 0.679], abs=1e-3
    )


@pytest.mark.parametrize("failure", ["nan", "error"])
def test_a_graph_that_fails_is_an_error_of_ours(prepared, failure):
    made, _, _ = prepared
    reranker = OnnxReranker(made, 1)

    class Broken:
        def run(self, outputs, feed):
            if failure == "error":
                raise RuntimeError("index out of bounds")
            return [np.full(len(feed["input_ids"]), np.nan, dtype=np.float32)]

    reranker._session = Broken()
    with pytest.raises(EmbeddingError, match=r"finite|out of bounds"):
        reranker.scores(QUERY, PASSAGES)


def test_serving_loads_no_torch(prepared):
    made, models, _ = prepared
    program = f"""
import sys
from pathlib import Path
from retrieval import embedding
reranker = embedding.load_reranker(Path({str(models)!r}), {made.name!r}, 1)
assert len(reranker.scores("copy", ["a", "b"])) == 2
print(*({{"torch", "transformers", "sentence_transformers"}} & sys.modules.keys()), "done")
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert result.stdout.split() == ["done"], result.stderr


# --- Preparing ----------------------------------------------------------------------------


def test_what_is_prepared_is_not_prepared_again(prepared):
    made, models, _ = prepared
    said: list[str] = []
    assert embedding.prepare_reranker(made.name, models, said.append) == made
    assert said == []


def test_the_export_leaves_nothing_but_the_bundle(prepared):
    made, models, _ = prepared
    assert [path.name for path in models.iterdir()] == [made.folder.name]
    expected = {MANIFEST, "tokenizer.json", "model.onnx"}
    assert {path.name for path in made.folder.iterdir()} == expected


def test_an_embedding_model_and_a_reranker_never_share_a_folder(tmp_path):
    for name in ("a/b", "reranker+a--b", "", "a" * 300):
        reranker = reranker_folder_for(tmp_path, name)
        assert reranker.parent == tmp_path
        assert "+" not in folder_for(tmp_path, reranker.name).name
        reranker.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("[]"),
        lambda folder: (folder / MANIFEST).write_text("{}"),
        lambda folder: (folder / "model.onnx").unlink(),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=["no manifest", "a list", "empty", "no graph", "no tokenizer", "no folder"],
)
def test_what_is_not_complete_is_not_ready(copy, damage):
    made, models = copy
    damage(made.folder)
    with pytest.raises(ModelNotReady, match=r"manage\.py prepare_model --reranker"):
        embedding.load_reranker(models, made.name, 1)


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_a_damaged_file_is_refused_with_what_to_do(copy, file):
    made, models = copy
    path = made.folder / file
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelUnusable, match=r"manage\.py prepare_model --reranker"):
        embedding.load_reranker(models, made.name, 1)


def test_an_embedding_model_is_refused(tiny_model, tmp_path):
    """sentence-transformers would load it, with a last layer of random numbers."""
    with pytest.raises(ModelUnusable, match="no cross-encoder"):
        reranker_export.export(str(tiny_model), tmp_path / "models", lambda line: None)


def test_a_classifier_is_refused(make_tiny_reranker, tmp_path):
    with pytest.raises(ModelUnusable, match="3 classes"):
        reranker_export.export(
            str(make_tiny_reranker(labels=3)), tmp_path / "models", lambda line: None
        )


def test_an_unknown_name_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ModelUnusable) as caught:
        embedding.prepare_reranker("nobody/has-this-model", tmp_path, lambda line: None)
    message = caught.value.message
    assert "nobody/has-this-model" in message
    assert "KBADMIN_RERANKER" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_gives_other_scores_is_refused(
    tiny_reranker, make_tiny_reranker, tmp_path, monkeypatch
):
    """As a trace does that took the wrong branch: it runs, and is wrong."""
    really = reranker_export._to_onnx
    other = original(make_tiny_reranker(seed=2))
    monkeypatch.setattr(reranker_export, "_to_onnx", lambda model, path: really(other, path))
    with pytest.raises(ModelUnusable, match="differ from the original's"):
        reranker_export.export(str(tiny_reranker), tmp_path, lambda line: None)
    assert list(tmp_path.iterdir()) == []
