"""Making models ready: what is kept, what is made anew, what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from retrieval import embedding
from retrieval.embedding import bundle as bundle_module
from retrieval.embedding import source
from retrieval.embedding.bundle import MANIFEST, find, folder_for
from retrieval.embedding.source import declared_languages, fingerprint, locate
from retrieval.exceptions import EmbeddingError, ModelUnusable

TEXTS = [
    "list the files of a folder", "copy a file", "run the red cat", "move two files and stop",
    "one two three dog", "文 件", "the", "", "unknownword", "copy " * 80,
]  # fmt: skip


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def prepared(tiny_model, tmp_path_factory):
    """The tiny model by its folder as its name, exported by a process of its own."""
    lines: list[str] = []
    models = tmp_path_factory.mktemp("models")
    return embedding.prepare(str(tiny_model), models, lines.append), models, lines


@pytest.fixture
def copy(prepared, tmp_path):
    """A prepared model that may be damaged: (bundle, models folder)."""
    made, models, _ = prepared
    shutil.copytree(models, tmp_path / "models")
    found = find(tmp_path / "models", made.name)
    assert found is not None
    return found, tmp_path / "models"


def test_a_folder_is_a_model_name(prepared, tiny_model):
    made, models, lines = prepared
    assert made.name == str(tiny_model)
    assert (made.dimension, made.max_tokens, made.languages) == (32, 48, ("en",))
    assert made.folder.parent == models
    assert lines[0].startswith("Exporting")


def test_a_prepared_folder_agrees_with_sentence_transformers(prepared, tiny_model):
    from sentence_transformers import SentenceTransformer

    made, _, _ = prepared
    assert made.runtime in {"onnx-int8", "onnx"}
    ours = unit(embedding.load(made, 1).embed(TEXTS))
    theirs = unit(SentenceTransformer(str(tiny_model), device="cpu").encode(TEXTS))
    agreement = (ours * theirs).sum(axis=1)
    assert agreement.mean() > 0.97
    assert agreement.min() > 0.9
    # The texts are told apart at all, or agreement would mean nothing.
    assert (theirs @ theirs.T)[~np.eye(len(TEXTS), dtype=bool)].min() < 0.9


def test_what_is_prepared_is_not_prepared_again(prepared):
    made, models, _ = prepared
    said: list[str] = []
    assert embedding.prepare(made.name, models, said.append) == made
    assert said == []


def test_the_export_leaves_nothing_behind(prepared):
    made, models, _ = prepared
    assert [path.name for path in models.iterdir()] == [made.folder.name]
    expected = {MANIFEST, "tokenizer.json", "model.onnx"}
    assert {path.name for path in made.folder.iterdir()} == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: (folder / MANIFEST).write_text("[]"),
        lambda folder: (folder / MANIFEST).write_text("{}"),
        lambda folder: (folder / "model.onnx").unlink(),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=["no manifest", "cut off", "a list", "empty", "no graph", "no tokenizer", "no folder"],
)
def test_an_unfinished_bundle_does_not_count(copy, damage):
    made, models = copy
    damage(made.folder)
    assert find(models, made.name) is None


def test_an_unfinished_bundle_is_made_anew(copy):
    """As after a kill -9: the folder is there, its manifest is not."""
    made, models = copy
    (made.folder / MANIFEST).unlink()
    (made.folder / "model.onnx").write_bytes(b"half")
    again = embedding.prepare(made.name, models, lambda line: None)
    assert again.revision == made.revision
    assert embedding.load(again, 1).embed_query("copy a file").shape == (32,)


def test_a_bundle_of_an_older_export_does_not_count(copy, monkeypatch):
    made, models = copy
    monkeypatch.setattr(bundle_module, "EXPORT_VERSION", bundle_module.EXPORT_VERSION + 1)
    assert find(models, made.name) is None


def test_a_bundle_of_another_name_in_the_same_folder_does_not_count(copy):
    made, models = copy
    record = json.loads((made.folder / MANIFEST).read_text())
    (made.folder / MANIFEST).write_text(json.dumps(record | {"name": "somebody/else"}))
    assert find(models, made.name) is None


def test_a_damaged_graph_is_refused_with_what_to_do(copy):
    made, _ = copy
    made.onnx_path.write_bytes(made.onnx_path.read_bytes()[:1000])
    with pytest.raises(ModelUnusable, match="prepare_model"):
        embedding.load(made, 1)


@pytest.mark.parametrize(
    "name", ["a/b", "/abs/path", "..", ".", "../..", "", "x y", "模型", "a" * 300, "a:b\\c"]
)
def test_any_name_gives_a_folder_right_below(tmp_path, name):
    folder = folder_for(tmp_path, name)
    assert folder.resolve().parent == tmp_path.resolve()
    folder.mkdir()


def test_long_names_that_differ_have_folders_that_differ(tmp_path):
    assert folder_for(tmp_path, f"/one{'a' * 300}") != folder_for(tmp_path, f"/two{'a' * 300}")


def test_an_unknown_name_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ModelUnusable) as caught:
        embedding.prepare("nobody/has-this-model", tmp_path / "models", lambda line: None)
    message = caught.value.message
    assert "nobody/has-this-model" in message
    assert "KBADMIN_EMBEDDING_MODEL" in message
    assert "\n" not in message
    assert "Traceback" not in message
    assert find(tmp_path / "models", "nobody/has-this-model") is None


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    from retrieval.embedding import export

    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelUnusable):
        export.export(str(tmp_path / "empty"), tmp_path / "models", lambda line: None)


def test_a_model_that_onnx_cannot_express_is_served_by_torch_and_says_so(static_model, tmp_path):
    from sentence_transformers import SentenceTransformer

    from retrieval.embedding import export

    said: list[str] = []
    made = export.export(str(static_model), tmp_path / "models", said.append)
    assert made.runtime == "torch"
    assert "torch" in made.note
    assert made.note in said
    assert not made.onnx_path.exists()
    assert find(tmp_path / "models", made.name) == made
    embedder = embedding.load(made, 1)
    vectors = embedder.embed(TEXTS[:6])
    assert vectors.shape == (6, 32)
    assert vectors.dtype == np.float32
    theirs = SentenceTransformer(str(static_model), device="cpu").encode(TEXTS[:6])
    assert np.allclose(unit(vectors), unit(theirs), atol=1e-4)
    assert embedder.embed_query("copy").shape == (32,)
    assert embedder.embed([]).shape == (0, 32)


def test_a_graph_that_gives_other_vectors_is_not_served(
    tiny_model, make_tiny_model, tmp_path, monkeypatch
):
    """As a trace does that took the wrong branch: it runs, and is wrong."""
    from sentence_transformers import SentenceTransformer

    from retrieval.embedding import export

    really = export._to_onnx
    other = SentenceTransformer(str(make_tiny_model(seed=2)), device="cpu")
    monkeypatch.setattr(export, "_to_onnx", lambda model, path: really(other, path))
    made = export.export(str(tiny_model), tmp_path, lambda line: None)
    assert made.runtime == "torch"
    assert "agrees" in made.note


def test_an_export_that_fails_half_way_leaves_the_old_bundle(copy, monkeypatch):
    from retrieval.embedding import export

    made, models = copy

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_make", killed)
    with pytest.raises(KeyboardInterrupt):
        export.export(made.name, models, lambda line: None)
    assert find(models, made.name) == made
    assert [path.name for path in models.iterdir()] == [made.folder.name]


def test_int8_that_strays_gives_way_to_full_precision(tiny_model, tmp_path, monkeypatch):
    from retrieval.embedding import export

    monkeypatch.setitem(export.AGREEMENT, "onnx-int8", 1.01)  # nothing reaches it
    said: list[str] = []
    made = export.export(str(tiny_model), tmp_path, said.append)
    assert made.runtime == "onnx"
    assert "int8 agrees" in made.note
    assert made.note in said
    assert embedding.load(made, 1).embed_query("copy a file").shape == (32,)


def test_prompts_of_the_model_are_put_before_texts(prepared):
    made, _, _ = prepared
    plain = embedding.load(made, 1)
    prompted = embedding.load(
        dataclasses.replace(made, query_prompt="run the ", document_prompt="stop the "), 1
    )
    assert np.allclose(prompted.embed_query("cat"), plain.embed(["run the cat"])[0], atol=1e-4)
    assert np.allclose(prompted.embed(["cat"]), plain.embed(["stop the cat"]), atol=1e-4)


def test_a_graph_that_returns_no_number_is_an_error(prepared):
    made, _, _ = prepared
    embedder = embedding.load(made, 1)

    class Broken:
        def run(self, outputs, feed):
            return [np.full((len(feed["input_ids"]), 32), np.nan, dtype=np.float32)]

    embedder._session = Broken()  # type: ignore[attr-defined]
    with pytest.raises(EmbeddingError, match="finite"):
        embedder.embed(["copy"])


# --- Where weights come from --------------------------------------------------------------


def test_the_packaged_weights_are_the_original():
    assert locate("all-MiniLM-L6-v2") == locate("sentence-transformers/all-MiniLM-L6-v2")
    assert locate("all-MiniLM-L6-v2").endswith("model")


def test_packaged_weights_that_are_not_the_original_are_refused(monkeypatch):
    name = "sentence-transformers/all-MiniLM-L6-v2"
    monkeypatch.setitem(source.PACKAGED, name, (source.PACKAGED[name][0], "0" * 64))
    with pytest.raises(ModelUnusable) as caught:
        locate(name)
    assert "SHA-256" in caught.value.message
    assert "Reinstall" in caught.value.message


def test_a_name_that_no_package_holds_is_left_to_the_hub():
    assert locate("intfloat/multilingual-e5-small") == "intfloat/multilingual-e5-small"


def test_the_fingerprint_follows_the_weights_and_nothing_else(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    before = fingerprint(folder)
    (folder / "config_sentence_transformers.json").write_text("{}")
    assert fingerprint(folder) == before
    weights = next(folder.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert fingerprint(folder) != before


@pytest.mark.parametrize(
    ("card", "languages"),
    [
        ("---\nlanguage: en\n---\n", ("en",)),
        ("---\nlanguage:\n- en\n- ZH\n---\n", ("en", "zh")),
        ("---\nlanguage: multilingual\n---\n", ("*",)),
        (f"---\nlanguage: [{', '.join(f'l{n}' for n in range(30))}]\n---\n", ("*",)),
        ("---\nlicense: mit\n---\n", ()),
        ("---\n- a list\n---\n", ()),
        ("---\nlanguage: [broken\n---\n", ()),
        ("# no front matter", ()),
        ("", ()),
    ],
)
def test_languages_are_read_from_the_card(card, languages):
    assert declared_languages("some/model", card) == languages


def test_a_multilingual_name_says_it_too():
    assert declared_languages("paraphrase-multilingual-MiniLM-L12-v2", "") == ("*",)
