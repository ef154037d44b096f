"""The lexical index: FTS5 on SQLite, a tsvector table on PostgreSQL.

Not models, because no ORM field describes either; `retrieval/lexical/` is their only user.
"""

from django.db import migrations

SQLITE = [
    # The tokeniser must keep what our own cut: no folding, joiners are letters.
    """
    CREATE VIRTUAL TABLE retrieval_lexical USING fts5(
        scope, title, headings, body,
        tokenize = "unicode61 remove_diacritics 0 categories 'L* N* Co M*' tokenchars '-_.+#'"
    )
    """,
    "CREATE VIRTUAL TABLE retrieval_lexical_terms USING fts5vocab(retrieval_lexical, row)",
]
SQLITE_BACK = ["DROP TABLE retrieval_lexical_terms", "DROP TABLE retrieval_lexical"]

POSTGRESQL = [
    """
    CREATE TABLE retrieval_lexical (
        chunk_id bigint PRIMARY KEY,
        collection_id bigint NOT NULL,
        length double precision NOT NULL,
        terms tsvector NOT NULL
    )
    """,
    "CREATE INDEX retrieval_lexical_terms ON retrieval_lexical USING gin (terms)",
    "CREATE INDEX retrieval_lexical_collection ON retrieval_lexical (collection_id)",
]
POSTGRESQL_BACK = ["DROP TABLE retrieval_lexical"]


def statements(forward):
    def run(apps, schema_editor):
        vendor = schema_editor.connection.vendor
        if vendor == "postgresql":
            todo = POSTGRESQL if forward else POSTGRESQL_BACK
        else:
            todo = SQLITE if forward else SQLITE_BACK
        for statement in todo:
            schema_editor.execute(statement)

    return run


class Migration(migrations.Migration):
    dependencies = [("retrieval", "0001_initial")]
    operations = [migrations.RunPython(statements(True), statements(False))]
