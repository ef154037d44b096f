"""System checks: what `manage.py check` says about this installation."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connection


@register()
def check_full_text_search(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """SQLite must have been built with FTS5: lexical search lives in it."""
    if connection.vendor != "sqlite":
        return []
    with sqlite3.connect(":memory:") as probe:
        options = {row[0] for row in probe.execute("PRAGMA compile_options")}
    if "ENABLE_FTS5" in options:
        return []
    return [
        Error(
            "This Python's SQLite has no FTS5, which lexical search needs.",
            hint="Use a Python with a complete SQLite, or set DATABASE_URL to PostgreSQL.",
            id="retrieval.E001",
        )
    ]


@register()
def check_reranker(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A reranker that is set must have been prepared; searches go on without it."""
    if not settings.RERANKER:
        return []
    # Not at the top: it loads numpy and tokenizers, which most commands never use.
    from retrieval import embedding

    if embedding.find_reranker(settings.MODEL_DIR, settings.RERANKER):
        return []
    return [
        Warning(
            f"The reranker {settings.RERANKER} is not prepared: searches go on without it.",
            hint="Run: manage.py prepare_model --reranker (setup and start do that themselves).",
            id="retrieval.W001",
        )
    ]
