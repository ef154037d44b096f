import numpy as np
import pytest

from retrieval.fusion import (
    NOT_UNDERSTOOD,
    THRESHOLDS,
    UNDERSTOOD,
    UNKNOWN,
    cjk_share,
    confidence,
    dense_weight,
    distances_to,
    fuse,
    similarity,
    thresholds_for,
)
from retrieval.types import DenseCandidate, LexicalCandidate, Script, Thresholds


def near(chunk_id, distance):
    return DenseCandidate(chunk_id, distance)


def said(chunk_id, score):
    return LexicalCandidate(chunk_id, bm25=score * 10, score=score)


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("cosine", [1.0, 0.8, 0.5, 0.0])
def test_similarity_is_the_cosine_of_unit_vectors_in_every_space(space, cosine):
    left = np.array([1, 0], dtype=np.float32)
    right = np.array([cosine, np.sqrt(1 - cosine**2)], dtype=np.float32)
    (distance,) = distances_to(left, right[None], space)
    assert similarity(float(distance), space) == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("distance", [-5.0, -0.001, 0, 0.5, 1, 2, 4, 100])
def test_similarity_stays_between_zero_and_one(space, distance):
    assert 0 <= similarity(distance, space) <= 1


def test_similarity_falls_as_distance_grows():
    for space in ("cosine", "ip", "l2"):
        values = [similarity(distance / 10, space) for distance in range(20)]
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("query", "languages", "weight"),
    [
        ("docker", ["en"], UNDERSTOOD),
        ("列出容器", ["en"], NOT_UNDERSTOOD),
        ("列出 docker 容器", ["en"], UNDERSTOOD / 3),
        ("列出容器", ["en", "zh"], UNDERSTOOD),
        ("列出容器", ["*"], UNDERSTOOD),
        ("docker", [], UNKNOWN),
        ("列出容器", [], UNKNOWN),
    ],
)
def test_the_dense_arm_is_trusted_where_the_model_understands(query, languages, weight):
    assert dense_weight(query, languages) == pytest.approx(weight)


def test_scores_are_the_weighted_sum_of_both_arms():
    (first, second, third) = fuse(
        [near(1, 0.2), near(2, 0.4)],
        [said(2, 0.9), said(3, 0.5)],
        space="cosine",
        weight=0.5,
    )
    assert [item.chunk_id for item in (first, second, third)] == [2, 1, 3]
    assert first.score == pytest.approx(0.5 * 0.6 + 0.5 * 0.9)
    assert second.score == pytest.approx(0.5 * 0.8)
    assert third.score == pytest.approx(0.25)
    assert second.lexical is None
    assert third.dense is None


@pytest.mark.parametrize(("weight", "winner"), [(0.0, 2), (1.0, 1)])
def test_a_weight_of_nothing_or_all_leaves_one_arm(weight, winner):
    ranked = fuse([near(1, 0.1)], [said(2, 0.9)], space="cosine", weight=weight)
    assert ranked[0].chunk_id == winner
    assert ranked[1].score == 0


def test_the_same_question_always_gets_the_same_order():
    dense = [near(number, 0.5) for number in (5, 3, 9, 1)]
    expected = [1, 3, 5, 9]
    for candidates in (dense, dense[::-1]):
        ranked = fuse(candidates, [], space="cosine", weight=0.5)
        assert [item.chunk_id for item in ranked] == expected


def test_nothing_found_is_nothing_fused():
    assert fuse([], [], space="cosine", weight=0.5) == []


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], "none"),
        ([0.0], "none"),
        ([0.249], "none"),
        ([0.25], "low"),
        ([0.499], "low"),
        ([0.5, 0.0], "high"),
        ([1.0], "high"),
    ],
)
def test_confidence_follows_the_best_score(scores, expected):
    assert confidence(scores, Thresholds(0.25, 0.5)) == expected


def test_nothing_in_common_is_never_confidence():
    """Thresholds of 0 are possible; a score of 0 still says that nothing was found."""
    assert confidence([0.0], Thresholds(0.0, 0.0)) == "none"


def test_calibrated_thresholds_win_where_there_are_some():
    own = {"hybrid": {Script.CJK: Thresholds(0.1, 0.2)}}
    assert thresholds_for("hybrid", Script.CJK, own) == Thresholds(0.1, 0.2)
    assert (
        thresholds_for("hybrid", Script.ALPHABETIC, own)
        == (THRESHOLDS["hybrid"][Script.ALPHABETIC])
    )
    assert thresholds_for("dense", Script.CJK, own) == THRESHOLDS["dense"][Script.CJK]


@pytest.mark.parametrize(
    ("query", "share"),
    [
        ("docker", 0.0),
        ("列出容器", 1.0),
        ("", 0.0),
        ("42", 0.0),
        ("docker 容器 列表", 2 / 3),
        ("tar 解压 --strip-components", 0.25),
    ],
)
def test_a_query_in_two_scripts_is_weighed_by_its_words(query, share):
    assert cjk_share(query) == pytest.approx(share)


def test_learned_weights_win_over_the_models_card():
    learned = {Script.CJK: 0.3}
    assert dense_weight("列出容器", ["en"], learned) == 0.3
    assert dense_weight("docker", ["en"], learned) == UNDERSTOOD
    assert dense_weight("docker 容器", ["en"], learned) == pytest.approx((0.3 + UNDERSTOOD) / 2)


def test_an_arm_without_weight_still_breaks_ties():
    ranked = fuse([near(2, 0.2), near(1, 0.6)], [], space="cosine", weight=0.0)
    assert [item.chunk_id for item in ranked] == [2, 1]
    ranked = fuse([], [said(1, 0.2), said(2, 0.4)], space="cosine", weight=1.0)
    assert [item.chunk_id for item in ranked] == [2, 1]
