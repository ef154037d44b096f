"""The ranking, the same for every database."""

import math

#: How much a word counts in the title and in the headings, against one in the body.
TITLE, HEADINGS, BODY = 3.0, 2.0, 1.0
#: BM25's constants as FTS5 fixes them (Robertson et al., Okapi at TREC-3).
BM25_K1, BM25_B = 1.2, 0.75
#: Words of a query beyond this many add time and no precision.
MAX_QUERY_TERMS = 64


def ceiling(total: int, frequencies: list[int]) -> float:
    """The BM25 that a chunk approaches which is about nothing but the query's words.

    `total` chunks; `frequencies[i]` of them hold the query's i-th term. Each term adds at most
    idf · (k1 + 1), however often it occurs: term frequency saturates. A term that occurs
    nowhere counts as the rarest, so a query of which half is unknown cannot get full marks.
    """
    return max(sum(idf(total, found) * (BM25_K1 + 1) for found in frequencies), 1e-6)


def idf(total: int, found: int) -> float:
    """Inverse document frequency as FTS5 computes it, never below its floor."""
    return max(math.log((total - found + 0.5) / (found + 0.5)), 1e-6) if total else 1e-6
