"""Modes, thresholds and explanations of a search, and a collection's own settings."""

import pytest

from retrieval import search as module
from retrieval.exceptions import InvalidRequest, SearchUnavailable
from retrieval.fusion import NOT_UNDERSTOOD, UNDERSTOOD
from retrieval.models import Index
from retrieval.retrieval_settings import as_json, parse
from retrieval.search import search
from retrieval.types import Mode, RetrievalSettings, Script, SearchRequest, Thresholds

pytestmark = pytest.mark.django_db

PAGES = {
    "tar.md": "# tar\n\nExtract files from an archive into a directory.",
    "docker.md": "# docker ps\n\nList all running containers.",
    "chown.md": "# chown\n\nChange the owner and the group of a file.",
    "zh.md": "# docker ps\n\n列出所有正在运行的容器。",
}


@pytest.fixture
def tools(add):
    for name, text in PAGES.items():
        add(name, text, index=name == list(PAGES)[-1])


@pytest.fixture
def never(monkeypatch):
    """never(name): fail if this part of the search is used."""

    def forbid(name):
        def used(*args, **kwargs):
            raise AssertionError(f"{name} was used")

        monkeypatch.setattr(module, name, used)

    return forbid


def ask(query, **options):
    return search(SearchRequest(query=query, collection="docs", **options))


def test_lexical_mode_asks_no_model_and_no_chroma(tools, never):
    never("query_store")
    never("embedder_for")
    answer = ask("chown owner", mode="lexical")
    assert answer.hits[0].external_id == "chown.md"
    assert answer.hits[0].distance is None
    assert (answer.mode, answer.dense_weight, answer.degraded) == (Mode.LEXICAL, 0.0, "")
    assert "embed" not in answer.timings


def test_dense_mode_asks_no_words(tools, never):
    never("lexical_index")
    answer = ask("which programs run in isolation right now?", mode="dense")
    assert answer.hits[0].external_id == "docker.md"
    assert answer.hits[0].bm25 is None
    assert answer.hits[0].score == pytest.approx(1 - answer.hits[0].distance, abs=1e-4)
    assert (answer.mode, answer.dense_weight) == (Mode.DENSE, 1.0)


def test_dense_mode_without_chroma_answers_from_words_and_says_so(tools, no_chroma):
    answer = ask("chown owner", mode="dense")
    assert answer.hits[0].external_id == "chown.md"
    assert answer.degraded == "vector_store_unavailable"
    assert answer.dense_weight == 0.0


def test_lexical_mode_without_words_answers_by_meaning_and_says_so(tools, no_words):
    answer = ask("change who owns a file", mode="lexical")
    assert answer.hits[0].external_id == "chown.md"
    assert answer.degraded == "lexical_index_failed"


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_without_either_arm_there_is_a_clear_refusal(tools, no_chroma, no_words, mode):
    with pytest.raises(SearchUnavailable):
        ask("chown", mode=mode)


def test_an_unknown_mode_is_refused_by_name(tools):
    with pytest.raises(InvalidRequest, match=r"mode.*hybrid, dense, lexical"):
        ask("chown", mode="psychic")


def test_min_score_leaves_out_what_scores_less(tools):
    scores = [hit.score for hit in ask("list running containers", top_k=4).hits]
    assert len(scores) > 1
    kept = ask("list running containers", top_k=4, min_score=scores[0]).hits
    assert [hit.score for hit in kept] == scores[:1]
    assert len(ask("list running containers", top_k=4, min_score=0).hits) == len(scores)


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_a_min_score_out_of_range_is_refused(tools, score):
    with pytest.raises(InvalidRequest, match="min_score"):
        ask("chown", min_score=score)


def test_an_explanation_adds_up(tools):
    answer = ask("list running containers", explain=True)
    for rank, hit in enumerate(answer.hits, start=1):
        why = hit.explanation
        assert why.space == "cosine"
        assert why.similarity == pytest.approx(max(1 - why.distance, 0))
        expected = why.dense_weight * (why.similarity or 0)
        expected += (1 - why.dense_weight) * (why.lexical_score or 0)
        assert why.fused_score == pytest.approx(expected)
        assert hit.score == pytest.approx(why.fused_score, abs=1e-4)
        assert hit.rank == rank
        for start, end in why.matches:
            assert hit.text[start:end].lower() in {"list", "running", "containers"}
    best = answer.hits[0].explanation
    assert (best.dense_rank, best.lexical_rank) == (1, 1)
    assert best.matched_terms == ("list", "running", "containers")
    assert len(best.matches) == 3
    assert best.model == "sentence-transformers/all-MiniLM-L6-v2"
    assert Index.objects.filter(physical_name=best.index).exists()
    assert {"embed", "dense", "lexical", "read", "total"} <= answer.timings.keys()


def test_chinese_matches_are_shown_whole(tools):
    hit = ask("正在运行的容器", explain=True).hits[0]
    assert hit.external_id == "zh.md"
    assert [hit.text[start:end] for start, end in hit.explanation.matches] == ["正在运行的容器"]


def test_nothing_is_explained_unless_asked(tools):
    assert all(hit.explanation is None for hit in ask("list containers").hits)


def test_the_weight_follows_the_script_of_the_question(tools):
    assert ask("list containers").dense_weight == UNDERSTOOD
    assert ask("列出容器").dense_weight == NOT_UNDERSTOOD


def test_a_collections_own_settings_are_used(tools, collection):
    collection.retrieval_settings = {
        "mode": "lexical",
        "min_score": 0.01,
        "thresholds": {"lexical": {"alphabetic": {"low": 0.99, "high": 1.0}}},
    }
    collection.save()
    answer = ask("chown")
    assert answer.mode is Mode.LEXICAL
    assert answer.confidence == "none"
    assert answer.thresholds == Thresholds(0.99, 1.0)
    assert ask("chown", mode="hybrid").mode is Mode.HYBRID


def test_settings_that_are_tried_replace_the_collections(tools, collection):
    collection.retrieval_settings = {"mode": "lexical"}
    collection.save()
    tried = RetrievalSettings(dense_weight={Script.ALPHABETIC: 0.9})
    answer = ask("chown", settings=tried)
    assert (answer.mode, answer.dense_weight) == (Mode.HYBRID, 0.9)


def test_another_complete_index_can_be_asked(tools, collection):
    live = collection.live_index
    assert ask("chown", index_id=live.pk).hits
    with pytest.raises(InvalidRequest, match="no complete index"):
        ask("chown", index_id=live.pk + 1000)


@pytest.mark.parametrize(
    ("stored", "place"),
    [
        ({"mode": "psychic"}, "mode"),
        ({"min_score": 2}, "min_score"),
        ({"weights": {}}, "weights"),
        ({"dense_weight": {"klingon": 0.5}}, "dense_weight"),
        ({"dense_weight": {"cjk": "much"}}, "dense_weight.cjk"),
        ({"thresholds": {"hybrid": {"cjk": {"low": 0.5, "high": 0.2}}}}, "thresholds"),
        ({"thresholds": {"hybrid": {"cjk": {"low": 0.5}}}}, "thresholds.hybrid.cjk"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(stored, place):
    with pytest.raises(InvalidRequest, match=place):
        parse(stored)


def test_settings_survive_their_json():
    settings = RetrievalSettings(
        mode=Mode.DENSE,
        context=2,
        dense_weight={Script.CJK: 0.1},
        thresholds={"dense": {Script.CJK: Thresholds(0.1, 0.2)}},
    )
    stored = as_json(settings)
    assert stored == {
        "mode": "dense",
        "context": 2,
        "dense_weight": {"cjk": 0.1},
        "thresholds": {"dense": {"cjk": {"low": 0.1, "high": 0.2}}},
    }
    assert parse(stored) == settings
    assert as_json(RetrievalSettings()) == {}


def test_settings_written_past_the_form_do_not_stop_searches(tools, collection):
    collection.retrieval_settings = {"mode": "psychic"}
    collection.save()
    assert ask("chown").hits[0].external_id == "chown.md"
