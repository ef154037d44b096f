"""Lexical search on SQLite FTS5.

The table is fed with terms that are already cut, separated by blanks; its own tokeniser only
splits at blanks. Word statistics are those of all collections together.
"""

from django.db import connection

from retrieval.lexical import statistics
from retrieval.lexical.tokenizer import tokenize
from retrieval.lexical.weights import BODY, HEADINGS, MAX_QUERY_TERMS, TITLE, ceiling, essential
from retrieval.types import FIRST_ALIAS_ID, LexicalCandidate, LexicalEntry

TABLE = "retrieval_lexical"
#: From so many chunks on, finding candidates by the rare terms first is faster.
WORTHWHILE = 500
ALL = ""  #: FTS5 counts over all scopes, and so do we


class SqliteLexicalIndex:
    def add(self, scope: str, entries: list[LexicalEntry]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {TABLE} (rowid, scope, title, headings, body) "
                "VALUES (%s, %s, %s, %s, %s)",
                [
                    (
                        entry.chunk_id,
                        scope,
                        " ".join(tokenize(entry.title)),
                        " ".join(tokenize(entry.headings)),
                        " ".join(tokenize(entry.body)),
                    )
                    for entry in entries
                ],
            )

    def remove(self, chunk_ids: list[int]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                f"DELETE FROM {TABLE} WHERE rowid = %s",
                [(chunk_id,) for chunk_id in chunk_ids],
            )

    def clear(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE}")

    def search(
        self, scope: str, query: str, k: int, within: list[int] | None = None
    ) -> list[LexicalCandidate]:
        terms = list(dict.fromkeys(tokenize(query)))[:MAX_QUERY_TERMS]
        if not terms or within == []:
            return []
        size = statistics.size(ALL, _count_chunks, _version)
        total = size.chunks
        frequencies = statistics.frequencies(ALL, terms, size, _count_terms)
        rows: list[tuple[int, float]] = []
        kept, bound = terms, 0.0
        if total >= WORTHWHILE:
            kept, bound = essential(terms, frequencies, total, k)
        if len(kept) < len(terms):
            others = [term for term in terms if term not in kept]
            # They count where they stand, but find nothing: the scope is always there.
            match = f"{_scope(scope)} AND {_any(kept)} AND ({_scope(scope)} OR {_any(others)})"
            rows = _best(match, k, within)
        if len(kept) == len(terms) or len(rows) < k or rows[-1][1] <= bound:
            rows = _best(f"{_scope(scope)} AND {_any(terms)}", k, within)
        most = ceiling(total, frequencies)
        return [
            LexicalCandidate(chunk_id=rowid, bm25=weight, score=min(max(weight / most, 0.0), 1.0))
            for rowid, weight in rows
        ]

    def find(self, text: str, k: int, scope: str = "") -> list[int]:
        terms = list(dict.fromkeys(tokenize(text)))[:MAX_QUERY_TERMS]
        if not terms:
            return []
        match = "{title headings body} : (" + " AND ".join(map(_quoted, terms)) + ")"
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT rowid FROM {TABLE} WHERE {TABLE} MATCH %s LIMIT %s",
                [f"{_scope(scope)} AND {match}" if scope else match, k],
            )
            return [rowid for (rowid,) in cursor.fetchall()]


def _best(match: str, k: int, within: list[int] | None) -> list[tuple[int, float]]:
    """The k best rows of an FTS5 expression and their BM25."""
    parameters: list[str | int] = [match]
    condition = ""
    if within is not None:
        # json_each: one parameter however many documents a filter leaves. CROSS JOIN: the few
        # aliases are read first, not the chunks of all those documents once more.
        condition = (
            "AND rowid IN (SELECT id FROM retrieval_chunk WHERE document_id IN "
            "(SELECT value FROM json_each(%s)) UNION ALL "
            "SELECT place.id + %s FROM retrieval_aliasplace AS place "
            "CROSS JOIN retrieval_chunk AS chunk ON chunk.id = place.chunk_id "
            "WHERE chunk.document_id IN (SELECT value FROM json_each(%s)))"
        )
        parameters += [str(list(within)), FIRST_ALIAS_ID, str(list(within))]
    weights = f"0.0, {TITLE}, {HEADINGS}, {BODY}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT rowid, -bm25({TABLE}, {weights}) AS weight FROM {TABLE} "
            f"WHERE {TABLE} MATCH %s {condition} ORDER BY weight DESC LIMIT %s",
            [*parameters, k],
        )
        rows: list[tuple[int, float]] = cursor.fetchall()
    return rows


def _count_chunks() -> statistics.Size:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {TABLE}_docsize")
        return statistics.Size(cursor.fetchone()[0])


def _version() -> bytes | None:
    """FTS5's structure record, which every write changes."""
    if connection.in_atomic_block:
        # What this transaction wrote is not in the record yet, and may never be.
        return None
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT block FROM {TABLE}_data WHERE id = 10")
        row = cursor.fetchone()
        return bytes(row[0]) if row else None


def _count_terms(terms: list[str]) -> dict[str, int]:
    marks = ", ".join(["%s"] * len(terms))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT term, doc FROM {TABLE}_terms WHERE term IN ({marks})",
            terms,
        )
        return dict(cursor.fetchall())


def _scope(scope: str) -> str:
    return f"scope : {scope}"


def _any(terms: list[str]) -> str:
    return "{title headings body} : (" + " OR ".join(_quoted(term) for term in terms) + ")"


def _quoted(term: str) -> str:
    """A term as an FTS5 string: no query text can become syntax."""
    return '"' + term.replace('"', '""') + '"'
