"""The lexical index: FTS5 on SQLite, a tsvector table on PostgreSQL.

Not models, because no ORM field describes either; `retrieval/lexical/` is their only user.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

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
        scope text NOT NULL,
        length double precision NOT NULL,
        terms tsvector NOT NULL
    )
    """,
    "CREATE INDEX retrieval_lexical_terms ON retrieval_lexical USING gin (terms)",
    "CREATE INDEX retrieval_lexical_scope ON retrieval_lexical (scope)",
]
POSTGRESQL_BACK = ["DROP TABLE retrieval_lexical"]


def create(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _run(schema_editor, SQLITE, POSTGRESQL)


def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _run(schema_editor, SQLITE_BACK, POSTGRESQL_BACK)


def _run(
    schema_editor: BaseDatabaseSchemaEditor, sqlite: list[str], postgresql: list[str]
) -> None:
    vendor = schema_editor.connection.vendor
    for statement in postgresql if vendor == "postgresql" else sqlite:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("retrieval", "0001_initial")]
    operations = [migrations.RunPython(create, drop)]
