"""Searches whose passages a cross-encoder puts in order."""

import shutil

import pytest
from django.core.checks import run_checks

from retrieval import embedding, factories
from retrieval.embedding.reranker import OnnxReranker
from retrieval.exceptions import EmbeddingError
from retrieval.search import search
from retrieval.types import RetrievalSettings, SearchRequest

pytestmark = pytest.mark.django_db

QUERY = "copy a file to the disk"
PAGES = {
    "files.md": "# files\n\nList the files of a folder and stop.",
    "copy.md": "# copy\n\nCopy a file to the disk.",
    "move.md": "# move\n\nMove two files to a folder, one and two.",
    "cat.md": "# cat\n\nThe red cat and the blue dog run to the folder.",
    "disk.md": "# disk\n\nThe disk, the disk! Stop the disk, copy the dog.",
    "zh.md": "# 文件夹\n\n文件 文件夹 file",
}


@pytest.fixture(scope="module")
def prepared_reranker(tiny_reranker, tmp_path_factory):
    models = tmp_path_factory.mktemp("rerankers")
    return embedding.prepare_reranker(str(tiny_reranker), models, lambda line: None)


@pytest.fixture
def pages(add):
    return {name: add(name, text, index=name == list(PAGES)[-1]) for name, text in PAGES.items()}


@pytest.fixture
def reranked(settings, pages, prepared_reranker):
    """The pages, and a setting that names a cross-encoder that is prepared."""
    settings.RERANKER = prepared_reranker.name
    shutil.copytree(
        prepared_reranker.folder,
        settings.MODEL_DIR / prepared_reranker.folder.name,
        dirs_exist_ok=True,
    )
    yield OnnxReranker(prepared_reranker, 1)
    shutil.rmtree(settings.MODEL_DIR / prepared_reranker.folder.name)


def ask(**options):
    options.setdefault("top_k", len(PAGES))
    return search(SearchRequest(query=QUERY, collection="docs", **options))


def names(answer):
    return [hit.external_id for hit in answer.hits]


@pytest.fixture
def fused(settings, pages):
    """The order without a cross-encoder."""
    assert settings.RERANKER == ""
    return names(ask())


def test_hits_stand_in_the_order_of_the_cross_encoder(fused, reranked):
    answer = ask(explain=True)
    # It reads the title with the text.
    read = {hit.external_id: f"{hit.title}\n{hit.text}" for hit in answer.hits}
    assert len(read) > 3
    scores = dict(zip(read, reranked.scores(QUERY, list(read.values())), strict=True))
    assert names(answer) == sorted(read, key=scores.__getitem__, reverse=True)
    assert names(answer) != fused
    for hit in answer.hits:
        assert hit.score == pytest.approx(scores[hit.external_id], abs=1e-2)
        assert 0 <= hit.score <= 1
        assert hit.explanation.rerank_score == pytest.approx(hit.score, abs=1e-4)
        assert hit.explanation.fused_score is not None
    assert answer.degraded == ""
    assert "rerank" in answer.timings


def test_the_best_of_all_candidates_comes_first_even_if_one_hit_is_wanted(reranked):
    assert names(ask(top_k=1)) == names(ask())[:1]


def test_a_collection_may_do_without(fused, reranked):
    answer = ask(settings=RetrievalSettings(rerank=False), explain=True)
    assert names(answer) == fused
    assert "rerank" not in answer.timings
    assert answer.degraded == ""
    assert {hit.explanation.rerank_score for hit in answer.hits} == {None}


def test_without_the_setting_nothing_is_reranked(fused):
    answer = ask(explain=True)
    assert "rerank" not in answer.timings
    assert {hit.explanation.rerank_score for hit in answer.hits} == {None}


def test_one_that_is_not_prepared_leaves_the_order_and_says_so(fused, settings):
    settings.RERANKER = "nobody/has-prepared-this"
    answer = ask(explain=True)
    assert names(answer) == fused
    assert answer.degraded == "model_not_ready"
    assert {hit.explanation.rerank_score for hit in answer.hits} == {None}


def test_one_that_fails_leaves_the_order_and_says_so(fused, reranked, monkeypatch):
    def fail(self, query, passages):
        raise EmbeddingError("The reranker returned numbers that are not finite.")

    monkeypatch.setattr(OnnxReranker, "scores", fail)
    answer = ask()
    assert names(answer) == fused
    assert answer.degraded == "embedding_failed"


def test_it_is_loaded_once_until_everything_is_forgotten(reranked):
    first = factories.reranker()
    ask()
    assert factories.reranker() is first
    factories.reset()
    assert factories.reranker() is not first


def test_the_check_names_a_reranker_that_is_not_prepared(settings):
    settings.RERANKER = "nobody/has-prepared-this"
    (warning,) = [message for message in run_checks() if message.id == "retrieval.W001"]
    assert "nobody/has-prepared-this" in warning.msg
    assert "prepare_model --reranker" in (warning.hint or "")


def test_the_check_is_silent_about_one_that_is_prepared_and_about_none(settings, reranked):
    assert "retrieval.W001" not in {message.id for message in run_checks()}
    settings.RERANKER = ""
    assert "retrieval.W001" not in {message.id for message in run_checks()}
