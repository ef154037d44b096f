"""Metrics against cases worked out by hand and against trec_eval."""

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import example, given
from hypothesis import strategies as st

from retrieval.metrics import (
    hit_at_k,
    mean_with_interval,
    measure,
    ndcg_at_k,
    paired_difference,
    recall_at_k,
    reciprocal_rank,
    summarise,
)

RANKED = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("relevant", "k", "recall", "hit"),
    [
        ({"a"}, 1, 1.0, 1.0),
        ({"b"}, 1, 0.0, 0.0),
        ({"b"}, 2, 1.0, 1.0),
        ({"a", "c"}, 1, 0.5, 1.0),
        ({"a", "c", "x"}, 5, 2 / 3, 1.0),
        ({"x"}, 5, 0.0, 0.0),
        ({"e"}, 100, 1.0, 1.0),
    ],
)
def test_recall_and_hit_of_cases_worked_out_by_hand(relevant, k, recall, hit):
    assert recall_at_k(RANKED, relevant, k) == pytest.approx(recall)
    assert hit_at_k(RANKED, relevant, k) == hit


@pytest.mark.parametrize(
    ("relevant", "k", "expected"),
    [({"a"}, 10, 1.0), ({"c"}, 10, 1 / 3), ({"c", "e"}, 10, 1 / 3), ({"c"}, 2, 0), ({"x"}, 10, 0)],
)
def test_reciprocal_rank_is_that_of_the_first_relevant_document(relevant, k, expected):
    assert reciprocal_rank(RANKED, relevant, k) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("relevant", "k", "expected"),
    [
        ({"a"}, 10, 1.0),
        ({"b"}, 10, 1 / math.log2(3)),
        ({"a", "b"}, 10, 1.0),
        # Ranks 1 and 3 of a possible 1 and 2: (1 + 1/2) / (1 + 1/log2(3)).
        ({"a", "c"}, 10, 1.5 / (1 + 1 / math.log2(3))),
        # Cut at 1, three relevant ones: the best possible ranking has one of them there.
        ({"a", "x", "y"}, 1, 1.0),
        ({"x"}, 10, 0.0),
    ],
)
def test_ndcg_of_cases_worked_out_by_hand(relevant, k, expected):
    assert ndcg_at_k(RANKED, relevant, k) == pytest.approx(expected)


IDS = st.integers(0, 30).map(str)


@given(
    ranked=st.lists(IDS, unique=True, max_size=25),
    relevant=st.sets(IDS, min_size=1, max_size=15),
)
@example(ranked=[], relevant={"1"})
@example(ranked=[str(number) for number in range(20)], relevant={"10"})
@example(ranked=[str(number) for number in range(20)], relevant={str(n) for n in range(15)})
def test_every_metric_is_what_trec_eval_says(ranked, relevant):
    qrel = {"q": dict.fromkeys(relevant, 1)}
    evaluator = pytrec_eval.RelevanceEvaluator(
        qrel, {"recall.1,5,10", "success.1,5", "recip_rank", "ndcg_cut.10"}
    )

    def ask(documents):
        # trec_eval leaves out a question for which nothing was found.
        scores = {name: float(-place) for place, name in enumerate(documents)} or {"nothing": 0.0}
        return evaluator.evaluate({"q": scores})["q"]

    told = ask(ranked)
    assert measure(ranked, relevant) == pytest.approx(
        {
            "recall@1": told["recall_1"],
            "recall@5": told["recall_5"],
            "recall@10": told["recall_10"],
            "hit@1": told["success_1"],
            "hit@5": told["success_5"],
            # It knows no recip_rank_cut: the ranking is cut instead.
            "MRR@10": ask(ranked[:10])["recip_rank"],
            "nDCG@10": told["ndcg_cut_10"],
        },
        abs=1e-9,
    )


@pytest.mark.parametrize("metric", [recall_at_k, hit_at_k, reciprocal_rank, ndcg_at_k])
@pytest.mark.parametrize(
    ("ranked", "relevant", "k"), [(["a"], set(), 5), (["a"], {"a"}, 0), (["a", "a"], {"a"}, 5)]
)
def test_it_refuses_what_has_no_value(metric, ranked, relevant, k):
    with pytest.raises(ValueError):
        metric(ranked, relevant, k)


def test_the_interval_is_that_of_a_mean():
    """300 coins that fall right three times in four: p ± 1.96 · sqrt(p(1 - p) / n)."""
    values = [1.0, 1.0, 1.0, 0.0] * 75
    found = mean_with_interval(values)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 300)
    assert found.mean == 0.75
    assert found.low == pytest.approx(0.75 - half, abs=0.006)
    assert found.high == pytest.approx(0.75 + half, abs=0.006)


def test_the_interval_holds_the_true_mean_about_95_times_in_100():
    rng = np.random.default_rng(1)
    holding = 0
    for _ in range(200):
        found = mean_with_interval(rng.random(80).tolist(), resamples=1000)
        holding += found.low <= 0.5 <= found.high
    assert 180 <= holding <= 198


def test_the_same_seed_gives_the_same_interval():
    values = [0.1, 0.5, 0.9, 1.0, 0.0]
    assert mean_with_interval(values, seed=3) == mean_with_interval(values, seed=3)
    assert mean_with_interval(values, seed=3) != mean_with_interval(values, seed=4)


def test_values_that_are_all_alike_have_no_width():
    found = mean_with_interval([1.0] * 20)
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)


def test_many_questions_are_drawn_in_parts_of_bounded_size():
    """10,000 questions: more numbers than are drawn at once."""
    values = np.random.default_rng(0).random(10_000)
    found = summarise({"a": values.tolist(), "b": (values * 2).tolist()}, resamples=1000)
    assert found["a"].low < values.mean() < found["a"].high
    assert found["a"].high - found["a"].low == pytest.approx(
        2 * 1.96 * values.std() / 100, rel=0.15
    )
    assert found["b"].low == pytest.approx(2 * found["a"].low)


def test_nothing_has_no_mean():
    with pytest.raises(ValueError):
        mean_with_interval([])


def test_a_paired_interval_sees_what_two_separate_ones_would_not():
    rng = np.random.default_rng(0)
    before = rng.random(200)
    after = before + 0.02
    difference = paired_difference(before.tolist(), after.tolist())
    assert difference.mean == pytest.approx(0.02)
    assert difference.excludes_zero
    assert mean_with_interval(before.tolist()).high > mean_with_interval(after.tolist()).low


def test_a_difference_of_nothing_is_not_more_than_chance():
    assert not paired_difference([0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]).excludes_zero


def test_pairs_need_as_many_values_on_both_sides():
    with pytest.raises(ValueError):
        paired_difference([1.0], [1.0, 0.0])
