"""Counts that stay cheap however large a table grows."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.formats import number_format

CAP = 10_000


@dataclass(frozen=True)
class Count:
    number: int
    capped: bool

    def __str__(self) -> str:
        shown = number_format(self.number, use_l10n=True, force_grouping=True)
        return f"{shown}+" if self.capped else shown

    def __bool__(self) -> bool:
        return self.number > 0


def count(rows: QuerySet[Any], cap: int = CAP) -> Count:
    """Count no further than `cap` rows: beyond it people need the order of magnitude."""
    number = rows.order_by()[: cap + 1].count()
    return Count(min(number, cap), number > cap)
