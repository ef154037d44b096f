import numpy as np
import pytest

from retrieval.fusion import (
    HIGH_SCORE,
    LOW_SCORE,
    NOT_UNDERSTOOD,
    UNDERSTOOD,
    UNKNOWN,
    confidence,
    dense_weight,
    distances_to,
    fuse,
    similarity,
)
from retrieval.types import DenseCandidate, LexicalCandidate


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
        ("列出 docker 容器", ["en"], NOT_UNDERSTOOD),
        ("列出容器", ["en", "zh"], UNDERSTOOD),
        ("列出容器", ["*"], UNDERSTOOD),
        ("docker", [], UNKNOWN),
        ("列出容器", [], UNKNOWN),
    ],
)
def test_the_dense_arm_is_trusted_where_the_model_understands(query, languages, weight):
    assert dense_weight(query, languages) == weight


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
        ([LOW_SCORE - 0.001], "none"),
        ([LOW_SCORE], "low"),
        ([HIGH_SCORE - 0.001], "low"),
        ([HIGH_SCORE, 0.0], "high"),
        ([1.0], "high"),
    ],
)
def test_confidence_follows_the_best_score(scores, expected):
    assert confidence(scores) == expected
