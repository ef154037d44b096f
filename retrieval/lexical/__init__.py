"""Word search: BM25 over the same database that holds the chunks, in the same transaction.

`SqliteLexicalIndex` (FTS5) and `PostgresLexicalIndex` (tsvector) stand behind one face and
share one tokeniser.
"""

from typing import Protocol

from django.db import connection

from retrieval.lexical.tokenizer import tokenize
from retrieval.types import LexicalCandidate, LexicalEntry

__all__ = ["LexicalIndex", "lexical_index", "tokenize"]


class LexicalIndex(Protocol):
    def add(self, scope: str, entries: list[LexicalEntry]) -> None:
        """Index chunks in a scope, a word of letters and digits that one index's chunks share.

        Call it in the transaction that writes the chunks.
        """

    def remove(self, chunk_ids: list[int]) -> None:
        """Forget chunks; ids that are not there are no error."""

    def clear(self) -> None:
        """Forget all chunks of all scopes."""

    def search(
        self, scope: str, query: str, k: int, within: list[int] | None = None
    ) -> list[LexicalCandidate]:
        """The k best chunks of a scope, best first; of the documents `within`, if given."""

    def find(self, text: str, k: int, scope: str = "") -> list[int]:
        """Ids of up to k chunks that hold every word of a text; of one scope, if given.

        Nothing is weighed, so the number of chunks does not matter.
        """


def lexical_index() -> LexicalIndex:
    """The index of the configured database."""
    if connection.vendor == "postgresql":
        from retrieval.lexical.postgres import PostgresLexicalIndex

        return PostgresLexicalIndex()
    from retrieval.lexical.sqlite import SqliteLexicalIndex

    return SqliteLexicalIndex()
