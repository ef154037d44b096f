"""Work that several workers may take from one queue."""

from typing import TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)


def free_of_others(rows: QuerySet[M]) -> QuerySet[M]:
    """Rows locked for whoever claims them, without those that another worker claims right now.

    Use it in the transaction that writes the lease. SQLite knows no locks of rows: there only
    one process writes at a time.
    """
    if connection.features.has_select_for_update_skip_locked:
        return rows.select_for_update(skip_locked=True, of=("self",))
    return rows
