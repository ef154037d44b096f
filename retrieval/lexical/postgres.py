"""Lexical search on PostgreSQL: a GIN index finds candidates, BM25 is computed over them.

`ts_rank` knows no document frequency, so it only chooses which candidates are worth scoring.
The title carries tsvector weight A, headings B, the body D.
"""

from functools import partial

from django.db import connection

from retrieval.lexical import statistics
from retrieval.lexical.tokenizer import tokenize
from retrieval.lexical.weights import (
    BM25_B,
    BM25_K1,
    BODY,
    HEADINGS,
    MAX_QUERY_TERMS,
    TITLE,
    ceiling,
    idf,
)
from retrieval.types import FIRST_ALIAS_ID, LexicalCandidate, LexicalEntry

#: Candidates that are scored in full.
MAX_CANDIDATES = 1000
#: The largest position that a tsvector can note; later words share it.
LAST_POSITION = 16383


class PostgresLexicalIndex:
    def add(self, scope: str, entries: list[LexicalEntry]) -> None:
        rows = []
        for entry in entries:
            terms = [(term, "A") for term in tokenize(entry.title)]
            terms += [(term, "B") for term in tokenize(entry.headings)]
            terms += [(term, "D") for term in tokenize(entry.body)]
            rows.append((entry.chunk_id, scope, len(terms), _tsvector(terms)))
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO retrieval_lexical (chunk_id, scope, length, terms) "
                "VALUES (%s, %s, %s, %s::tsvector)",
                rows,
            )

    def remove(self, chunk_ids: list[int]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM retrieval_lexical WHERE chunk_id = ANY(%s)", [chunk_ids])

    def clear(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE retrieval_lexical")

    def search(
        self, scope: str, query: str, k: int, within: list[int] | None = None
    ) -> list[LexicalCandidate]:
        terms = list(dict.fromkeys(tokenize(query)))[:MAX_QUERY_TERMS]
        if not terms or within == []:
            return []
        size = statistics.size(scope, partial(_measure, scope))
        total = size.chunks
        frequencies = statistics.frequencies(scope, terms, size, partial(_count_terms, scope))
        parameters = {
            "query": _any(terms),
            "scope": scope,
            "within": within,
            "first_alias": FIRST_ALIAS_ID,
            "candidates": MAX_CANDIDATES,
            "terms": terms,
            "idf": [idf(total, found) for found in frequencies],
            "k1": BM25_K1,
            "b": BM25_B,
            "average": size.average_length,
            "title": TITLE,
            "headings": HEADINGS,
            "body": BODY,
            "k": k,
        }
        with connection.cursor() as cursor:
            cursor.execute(SCORE, parameters)
            rows = cursor.fetchall()
        most = ceiling(total, frequencies)
        return [
            LexicalCandidate(chunk_id=chunk_id, bm25=score, score=min(max(score / most, 0.0), 1.0))
            for chunk_id, score in rows
        ]

    def find(self, text: str, k: int, scope: str = "") -> list[int]:
        terms = list(dict.fromkeys(tokenize(text)))[:MAX_QUERY_TERMS]
        if not terms:
            return []
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT chunk_id FROM retrieval_lexical "
                "WHERE terms @@ %s::tsquery AND (%s = '' OR scope = %s) LIMIT %s",
                [" & ".join(map(_quoted, terms)), scope, scope, k],
            )
            return [chunk_id for (chunk_id,) in cursor.fetchall()]


def _measure(scope: str) -> statistics.Size:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(avg(length), 1) FROM retrieval_lexical WHERE scope = %s",
            [scope],
        )
        return statistics.Size(*cursor.fetchone())


def _count_terms(scope: str, terms: list[str]) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT term, (SELECT count(*) FROM retrieval_lexical "
            "WHERE scope = %s AND terms @@ quoted::tsquery) "
            "FROM unnest(%s::text[], %s::text[]) AS asked(term, quoted)",
            [scope, terms, [_quoted(term) for term in terms]],
        )
        return dict(cursor.fetchall())


SCORE = """
WITH candidate AS (
    SELECT chunk_id, length, terms
    FROM retrieval_lexical
    WHERE scope = %(scope)s
      AND terms @@ %(query)s::tsquery
      AND (%(within)s::bigint[] IS NULL OR chunk_id IN (
          SELECT id FROM retrieval_chunk WHERE document_id = ANY(%(within)s::bigint[])
          UNION ALL
          SELECT place.id + %(first_alias)s
          FROM retrieval_aliasplace AS place
          JOIN retrieval_chunk AS chunk ON chunk.id = place.chunk_id
          WHERE chunk.document_id = ANY(%(within)s::bigint[])))
    ORDER BY ts_rank(terms, %(query)s::tsquery) DESC, chunk_id
    LIMIT %(candidates)s
), matched AS (
    SELECT candidate.chunk_id, candidate.length, asked.idf,
        (SELECT sum(CASE mark WHEN 'A' THEN %(title)s WHEN 'B' THEN %(headings)s
                              ELSE %(body)s END)::double precision
         FROM unnest(found.weights) AS mark) AS frequency
    FROM candidate
    CROSS JOIN LATERAL unnest(candidate.terms) AS found(lexeme, positions, weights)
    JOIN unnest(%(terms)s::text[], %(idf)s::double precision[]) AS asked(term, idf)
      ON asked.term = found.lexeme
)
SELECT chunk_id, sum(
    idf * frequency * (%(k1)s + 1)
    / (frequency + %(k1)s * (1 - %(b)s + %(b)s * length / %(average)s))
)::double precision AS score
FROM matched
GROUP BY chunk_id
ORDER BY score DESC, chunk_id
LIMIT %(k)s
"""


def _tsvector(terms: list[tuple[str, str]]) -> str:
    """Terms with their weights as a tsvector literal; a term keeps at most 255 positions."""
    positions: dict[str, list[str]] = {}
    for number, (term, weight) in enumerate(terms, start=1):
        places = positions.setdefault(term, [])
        if len(places) < 255:
            places.append(f"{min(number, LAST_POSITION)}{weight}")
    return " ".join(f"{_quoted(term)}:{','.join(places)}" for term, places in positions.items())


def _any(terms: list[str]) -> str:
    return " | ".join(_quoted(term) for term in terms)


def _quoted(term: str) -> str:
    """A term as a lexeme literal: no text can become syntax."""
    return "'" + term.replace("\\", "\\\\").replace("'", "''") + "'"
