import random
import threading
from functools import partial
from typing import Any

import pytest
from cachetools import TTLCache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from retrieval import factories
from retrieval.lexical import lexical_index, statistics
from retrieval.lexical.statistics import LARGE, Size
from retrieval.lexical.weights import BM25_K1, essential, idf
from retrieval.types import LexicalEntry

SCOPE = "c900002xa"
LARGE_SIZE = Size(LARGE)


@pytest.fixture(autouse=True)
def nothing_remembered():
    statistics.reset()
    yield
    statistics.reset()


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so: `clock[0] += 1`."""
    now = [0.0]
    for name in ("_sizes", "_frequencies"):
        cache = getattr(statistics, name)
        made: TTLCache[Any, Any] = TTLCache(cache.maxsize, cache.ttl, timer=lambda: now[0])
        monkeypatch.setattr(statistics, name, made)
    return now


class Counter:
    """Counts by a table, and notes what was asked."""

    def __init__(self, chunks, **terms):
        self.chunks, self.terms = chunks, terms
        self.asked = []

    def size(self):
        self.asked.append("size")
        return Size(self.chunks)

    def frequencies(self, terms):
        self.asked.append(sorted(terms))
        return {term: self.terms[term] for term in terms if term in self.terms}


class TestMemory:
    def test_a_large_scope_is_counted_once(self):
        counter = Counter(LARGE)
        assert [statistics.size("a", counter.size).chunks for _ in range(3)] == [LARGE] * 3
        assert counter.asked == ["size"]

    def test_a_small_one_as_long_as_nothing_is_written(self):
        counter = Counter(3, tar=1)
        for version in (b"1", b"1", b"2", b"2"):
            size = statistics.size("a", counter.size, partial(bytes, version))
            assert statistics.frequencies("a", ["tar"], size, counter.frequencies) == [1]
        assert counter.asked == ["size", ["tar"]] * 2

    def test_a_small_one_that_has_no_version_every_time(self):
        counter = Counter(LARGE - 1, tar=1)
        for _ in range(3):
            statistics.size("a", counter.size)
            statistics.frequencies("a", ["tar"], Size(LARGE - 1), counter.frequencies)
        assert counter.asked == ["size", ["tar"]] * 3

    def test_only_terms_that_are_not_remembered_are_counted(self):
        counter = Counter(LARGE, tar=5, docker=7)
        assert statistics.frequencies("a", ["tar", "zip"], LARGE_SIZE, counter.frequencies) == [
            5,
            0,
        ]
        asked = ["docker", "zip", "tar"]
        assert statistics.frequencies("a", asked, LARGE_SIZE, counter.frequencies) == [7, 0, 5]
        assert counter.asked == [["tar", "zip"], ["docker"]]

    def test_scopes_and_databases_are_kept_apart(self, monkeypatch):
        for number, scope in enumerate("ab"):
            counter = Counter(LARGE + number, tar=number)
            assert statistics.size(scope, counter.size).chunks == LARGE + number
            assert statistics.frequencies(scope, ["tar"], LARGE_SIZE, counter.frequencies) == [
                number
            ]
        monkeypatch.setitem(connection.settings_dict, "NAME", "elsewhere")
        counter = Counter(LARGE + 2, tar=2)
        assert statistics.size("a", counter.size).chunks == LARGE + 2
        assert statistics.frequencies("a", ["tar"], LARGE_SIZE, counter.frequencies) == [2]

    def test_it_lasts_a_minute(self, clock):
        counter = Counter(LARGE, tar=5)
        for _ in range(2):
            statistics.size("a", counter.size)
            statistics.frequencies("a", ["tar"], LARGE_SIZE, counter.frequencies)
            clock[0] += statistics.SECONDS - 1
        assert counter.asked == ["size", ["tar"]]
        clock[0] += 2
        statistics.size("a", counter.size)
        statistics.frequencies("a", ["tar"], LARGE_SIZE, counter.frequencies)
        assert counter.asked == ["size", ["tar"]] * 2

    def test_it_is_bounded(self, monkeypatch):
        monkeypatch.setattr(statistics, "_frequencies", TTLCache(10, 60))
        counter = Counter(LARGE)
        terms = [f"t{number}" for number in range(50)]
        assert statistics.frequencies("a", terms, LARGE_SIZE, counter.frequencies) == [0] * 50
        assert len(statistics._frequencies) == 10

    def test_threads_agree(self, monkeypatch):
        monkeypatch.setattr(statistics, "_frequencies", TTLCache(20, 0.001))
        counter = Counter(LARGE, **{f"t{number}": number for number in range(50)})
        failures = []

        def ask(seed):
            chosen = random.Random(seed)
            try:
                for _ in range(300):
                    numbers = chosen.sample(range(50), 5)
                    terms = [f"t{number}" for number in numbers]
                    found = statistics.frequencies("a", terms, LARGE_SIZE, counter.frequencies)
                    assert found == numbers
                    assert statistics.size("a", counter.size).chunks == LARGE
            except Exception as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=ask, args=[seed]) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    def test_it_is_forgotten_with_everything_else_that_a_process_holds(self):
        counter = Counter(LARGE, tar=1)
        for _ in range(2):
            statistics.size("a", counter.size)
            statistics.frequencies("a", ["tar"], LARGE_SIZE, counter.frequencies)
            factories.reset()
        assert counter.asked == ["size", ["tar"]] * 2


def fill(first, texts):
    lexical_index().add(
        SCOPE,
        [
            LexicalEntry(chunk_id=900_000_000 + first + number, title="", headings="", body=text)
            for number, text in enumerate(texts)
        ],
    )


@pytest.mark.django_db
class TestSearch:
    def test_a_remembered_count_saves_queries_and_hides_nothing(self, monkeypatch):
        monkeypatch.setattr(statistics, "LARGE", 5)
        fill(0, [f"word number{number}" for number in range(10)])
        with CaptureQueriesContext(
            connection,
        ) as first:
            lexical_index().search(SCOPE, "number3", 5)
        fill(10, ["word number3 once more", *["number3"] * 30])
        with CaptureQueriesContext(connection) as second:
            hits = lexical_index().search(SCOPE, "number3", 50)
        assert len(second) == len(first) - 2
        assert len(hits) == 32
        assert all(0 <= hit.score <= 1 for hit in hits)

    def test_a_total_that_is_behind_the_frequencies_is_no_error(self, monkeypatch):
        monkeypatch.setattr(statistics, "LARGE", 5)
        fill(0, [f"text {number}" for number in range(10)])
        lexical_index().search(SCOPE, "text", 5)
        fill(10, ["tardy words"] * 100)
        hits = lexical_index().search(SCOPE, "tardy text", 200)
        assert len(hits) == 110
        assert all(0 <= hit.score <= 1 for hit in hits)

    def test_common_words_cost_less_and_change_nothing(self, monkeypatch):
        chosen = random.Random(7)
        words = [f"w{number}" for number in range(300)]
        weights = [1 / (number + 1) for number in range(300)]
        fill(0, [" ".join(chosen.choices(words, weights, k=30)) for _ in range(1500)])
        shortened = 0
        for _ in range(60):
            query = " ".join(chosen.choices(words, weights, k=chosen.randint(1, 6)))
            k = chosen.choice([1, 5, 20])
            monkeypatch.setattr(statistics, "LARGE", 10**9)
            plain = lexical_index().search(SCOPE, query, k)
            monkeypatch.setattr(statistics, "LARGE", 1)
            with CaptureQueriesContext(connection) as queries:
                quick = lexical_index().search(SCOPE, query, k)
            assert [hit.score for hit in quick] == pytest.approx([hit.score for hit in plain])
            assert [hit.bm25 for hit in quick] == pytest.approx([hit.bm25 for hit in plain])
            matches = [row["sql"] for row in queries if " MATCH " in row["sql"]]
            shortened += len(matches) == 1 and "OR {title" in matches[0]
        if connection.vendor == "sqlite":
            assert shortened > 10


@pytest.mark.django_db(transaction=True)
def test_what_is_written_to_a_small_index_counts_at_once():
    def best(query):
        (hit,) = lexical_index().search(SCOPE, query, 1)
        return hit.score

    fill(0, ["tar archive", "zip archive", "other words"])
    try:
        before = best("zip archive")
        assert best("zip archive") == before
        with CaptureQueriesContext(connection) as queries:
            best("zip archive")
        if connection.vendor == "sqlite":
            assert len(queries) == 2
        fill(3, ["zip once more"] * 20)
        rarer = best("zip archive")
        lexical_index().remove([900_000_003 + number for number in range(20)])
        assert best("zip archive") == pytest.approx(before)
        assert rarer != pytest.approx(before)
    finally:
        lexical_index().remove([900_000_000 + number for number in range(30)])


class TestEssentialTerms:
    def test_common_terms_are_left_out_where_rare_ones_decide(self):
        kept, bound = essential(["the", "backup", "of"], [90_000, 200, 80_000], 100_000, 50)
        assert kept == ["backup"]
        assert 0 <= bound < idf(100_000, 200)

    def test_the_bound_is_what_the_others_can_reach_together(self):
        kept, bound = essential(["rare", "common"], [100, 30_000], 100_000, 10)
        assert kept == ["rare"]
        assert bound == pytest.approx(idf(100_000, 30_000) * (BM25_K1 + 1))

    def test_terms_that_too_few_chunks_hold_decide_nothing(self):
        kept, _ = essential(["rare", "common"], [9, 30_000], 100_000, 10)
        assert kept == ["rare", "common"]

    @pytest.mark.parametrize("frequencies", [[0], [50_000], [100_000]])
    def test_a_single_term_is_kept(self, frequencies):
        assert essential(["any"], frequencies, 100_000, 10) == (["any"], 0.0)
