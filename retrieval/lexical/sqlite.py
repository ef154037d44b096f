"""Lexical search on SQLite FTS5.

The table is fed with terms that are already cut, separated by blanks; its own tokeniser only
splits at blanks. Word statistics are those of all collections together.
"""

from django.db import connection
from django.db.backends.utils import CursorWrapper

from retrieval.lexical.tokenizer import tokenize
from retrieval.lexical.weights import BODY, HEADINGS, MAX_QUERY_TERMS, TITLE, ceiling
from retrieval.types import LexicalCandidate, LexicalEntry

TABLE = "retrieval_lexical"


class SqliteLexicalIndex:
    def add(self, scope: str, entries: list[LexicalEntry]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {TABLE} (rowid, scope, title, headings, body) "  # noqa: S608
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
                f"DELETE FROM {TABLE} WHERE rowid = %s",  # noqa: S608
                [(chunk_id,) for chunk_id in chunk_ids],
            )

    def search(
        self, scope: str, query: str, k: int, within: list[int] | None = None
    ) -> list[LexicalCandidate]:
        terms = list(dict.fromkeys(tokenize(query)))[:MAX_QUERY_TERMS]
        if not terms or within == []:
            return []
        match = f"scope : {scope} AND {{title headings body}} : ("
        match += " OR ".join(_quoted(term) for term in terms) + ")"
        weights = f"0.0, {TITLE}, {HEADINGS}, {BODY}"
        parameters: list[str | int] = [match]
        condition = ""
        if within is not None:
            # json_each: one parameter however many documents a filter leaves.
            condition = (
                "AND rowid IN (SELECT id FROM retrieval_chunk WHERE document_id IN "
                "(SELECT value FROM json_each(%s)))"
            )
            parameters.append(str(list(within)))
        with connection.cursor() as cursor:
            most = self._ceiling(cursor, terms)
            cursor.execute(
                f"SELECT rowid, -bm25({TABLE}, {weights}) AS weight FROM {TABLE} "  # noqa: S608
                f"WHERE {TABLE} MATCH %s {condition} ORDER BY weight DESC LIMIT %s",
                [*parameters, k],
            )
            rows = cursor.fetchall()
        return [
            LexicalCandidate(chunk_id=rowid, bm25=weight, score=min(max(weight / most, 0.0), 1.0))
            for rowid, weight in rows
        ]

    def _ceiling(self, cursor: CursorWrapper, terms: list[str]) -> float:
        cursor.execute(f"SELECT count(*) FROM {TABLE}_docsize")  # noqa: S608
        total = cursor.fetchone()[0]
        marks = ", ".join(["%s"] * len(terms))
        cursor.execute(
            f"SELECT term, doc FROM {TABLE}_terms WHERE term IN ({marks})",  # noqa: S608
            terms,
        )
        frequency = dict(cursor.fetchall())
        return ceiling(total, [frequency.get(term, 0) for term in terms])


def _quoted(term: str) -> str:
    """A term as an FTS5 string: no query text can become syntax."""
    return '"' + term.replace('"', '""') + '"'
