import io

import pytest
from django.core.management import CommandError, call_command

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
