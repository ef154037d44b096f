import io

import pytest
from django.core.management import CommandError, call_command

from kbadmin.management.commands import setup
from retrieval import embedding
from retrieval.models import EmbeddingModel

pytestmark = pytest.mark.django_db


def test_a_prepared_model_has_one_row_however_often_it_is_asked_for(bundle):
    for _ in range(2):
        out = io.StringIO()
        call_command("prepare_model", stdout=out, verbosity=2)
        assert "384 dimensions" in out.getvalue()
    row = EmbeddingModel.objects.get()
    assert (row.name, row.revision, row.runtime) == (bundle.name, bundle.revision, bundle.runtime)
    assert (row.dimension, row.max_tokens, row.languages) == (384, 256, ["en"])


def test_a_model_that_cannot_be_loaded_is_refused_in_a_sentence(monkeypatch, settings, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings.MODEL_DIR = tmp_path
    (tmp_path / "none").mkdir()
    with pytest.raises(CommandError, match="cannot be loaded"):
        call_command("prepare_model", "--model", str(tmp_path / "none"))
    assert not EmbeddingModel.objects.exists()


def test_a_reranker_is_prepared_by_name_or_by_the_setting(tiny_reranker, settings, tmp_path):
    settings.MODEL_DIR = tmp_path
    out = io.StringIO()
    call_command("prepare_model", "--reranker", str(tiny_reranker), stdout=out, verbosity=2)
    assert "48 tokens, onnx" in out.getvalue()
    assert embedding.find_reranker(tmp_path, str(tiny_reranker))
    # It is no embedding model that collections could use, and did not need one.
    assert not EmbeddingModel.objects.exists()

    settings.RERANKER = str(tiny_reranker)
    again = io.StringIO()
    call_command("prepare_model", "--reranker", stdout=again, verbosity=2)
    assert again.getvalue() == out.getvalue().splitlines(keepends=True)[-1]


def test_without_a_name_and_a_setting_no_reranker_can_be_prepared():
    with pytest.raises(CommandError, match="KBADMIN_RERANKER"):
        call_command("prepare_model", "--reranker")


def test_an_embedding_model_is_refused_as_a_reranker(tiny_model, settings, tmp_path):
    settings.MODEL_DIR = tmp_path
    with pytest.raises(CommandError, match="no cross-encoder"):
        call_command("prepare_model", "--reranker", str(tiny_model))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reranker", ["", "some/reranker"])
def test_setup_prepares_the_reranker_that_is_set(reranker, settings, tmp_path, monkeypatch):
    settings.STATIC_ROOT = tmp_path / "static"
    settings.RERANKER = reranker
    prepared: list[tuple[str, ...]] = []
    monkeypatch.setattr(setup, "call_command", lambda *command, **streams: prepared.append(command))
    monkeypatch.setattr(setup, "bootstrap", lambda stdout: None)
    call_command("setup")
    expected = [("prepare_model",), ("prepare_model", "--reranker")]
    assert prepared == expected[: 2 if reranker else 1]


def test_where_nothing_can_prepare_models_it_says_what_does(monkeypatch, settings, tmp_path):
    settings.MODEL_DIR = tmp_path
    monkeypatch.setattr(embedding, "EXPORTERS", ("no_such_package",))
    with pytest.raises(CommandError, match=r"requirements\.txt.*docker compose run --rm prepare"):
        call_command("prepare_model", "--model", "somebody/some-model")
    assert not EmbeddingModel.objects.exists()
