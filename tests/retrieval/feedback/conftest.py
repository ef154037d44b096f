"""What the tests of the queue share: searches that were logged a while ago, and a look at it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from retrieval.feedback import grouping
from retrieval.models import Collection, Search

Asked = Callable[..., Search]


def gather() -> int:
    """What the worker does until nothing waits; returns the batches."""
    batches = 1
    while grouping.gather():
        batches += 1
    return batches


@pytest.fixture
def asked() -> Asked:
    """A logged search: asked(collection, "How …?", confidence="none", minutes=10)."""

    def log(
        collection: Collection,
        query: str,
        *,
        confidence: str = "low",
        minutes: float = 1,
        at: datetime | None = None,
        **fields: Any,
    ) -> Search:
        fields.setdefault("results", [])
        fields.setdefault("result_count", 1)
        row = Search.objects.create(
            collection=collection,
            query=query,
            channel=fields.pop("channel", "plugin"),
            top_k=4,
            confidence=confidence,
            **fields,
        )
        row.created_at = at or timezone.now() - timedelta(minutes=minutes)
        row.save(update_fields=["created_at"])
        return row

    return log
