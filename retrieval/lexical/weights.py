"""The ranking, the same for every database."""

import math
from collections.abc import Sequence

#: How much a word counts in the title and in the headings, against one in the body.
TITLE, HEADINGS, BODY = 3.0, 2.0, 1.0
#: BM25's constants as FTS5 fixes them (Robertson et al., Okapi at TREC-3).
BM25_K1, BM25_B = 1.2, 0.75
#: Words of a query beyond this many add time and no precision.
MAX_QUERY_TERMS = 64


def ceiling(total: int, frequencies: Sequence[int]) -> float:
    """The BM25 that a chunk approaches which is about nothing but the query's words.

    `total` chunks; `frequencies[i]` of them hold the query's i-th term. Each term adds at most
    idf · (k1 + 1), however often it occurs: term frequency saturates. A term that occurs
    nowhere counts as the rarest, so a query of which half is unknown cannot get full marks.
    """
    return max(sum(idf(total, found) * (BM25_K1 + 1) for found in frequencies), 1e-6)


def idf(total: int, found: int) -> float:
    """Inverse document frequency as FTS5 computes it, never below its floor."""
    # A remembered total may be behind: no more chunks can hold a term than there are.
    found = min(found, total)
    return max(math.log((total - found + 0.5) / (found + 0.5)), 1e-6) if total else 1e-6


def essential(
    terms: Sequence[str], frequencies: Sequence[int], total: int, k: int
) -> tuple[list[str], float]:
    """The rare terms of a query that its k best chunks will probably hold, and the BM25 that a
    chunk stays below which holds only the others.

    Whoever finds k chunks by the rare terms and above that bound has the k best: chunks that
    hold none of them need not be read (MaxScore: Turtle and Flood, "Query evaluation:
    strategies and optimizations", 1995).
    """
    ranked = sorted(zip(frequencies, terms, strict=True))
    others = sum(idf(total, found) * (BM25_K1 + 1) for found in frequencies)
    kept: list[str] = []
    likely = 0.0
    for found, term in ranked:
        weight = idf(total, found)
        kept.append(term)
        others -= weight * (BM25_K1 + 1)
        if found >= k:
            # A chunk of average length that mentions a term once scores its idf.
            likely = max(likely, weight)
        if others < likely:
            break
    return kept, max(others, 0.0)
