"""Queries whose SQL is built once.

Django builds the SQL of a query each time it is made. For the queries of a search that takes
several times as long as the database needs to answer them, so they are built once for each
number of values; what they ask is still said by querysets.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

Value = int | str
M = TypeVar("M", bound=Model)
#: No key and no text that anybody stores: found again among a query's parameters.
FIRST_NUMBER = 9_100_000_000_000_000_000


class Prepared:
    """A queryset of rows, as a function of the values that it compares with.

    Columns come as the database has them: JSON is text, and SQLite's dates are, too.
    """

    def __init__(self, build: Callable[[Sequence[Any]], "QuerySet[Any, tuple[Any, ...]]"]) -> None:
        """`build` makes a `values_list` of some values, and has to use each of them."""
        self._build = build
        self._built: dict[tuple[str, tuple[type, ...]], tuple[str, list[Any]]] = {}
        self._building = threading.Lock()

    def rows(self, values: Sequence[Value]) -> list[tuple[Any, ...]]:
        sql, parameters = self._sql(values)
        filled = [
            values[parameter.place] if isinstance(parameter, _Place) else parameter
            for parameter in parameters
        ]
        with connection.cursor() as cursor:
            cursor.execute(sql, filled)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _sql(self, values: Sequence[Value]) -> tuple[str, list[Any]]:
        key = (connection.vendor, tuple(map(type, values)))
        built = self._built.get(key)
        if built is None:
            with self._building:
                built = self._built[key] = self._compile(values)
        return built

    def _compile(self, values: Sequence[Value]) -> tuple[str, list[Any]]:
        stand_ins: dict[Value, _Place] = {}
        for place, value in enumerate(values):
            number = FIRST_NUMBER + place
            stand_ins[str(number) if isinstance(value, str) else number] = _Place(place)
        sql, parameters = self._build(list(stand_ins)).query.sql_with_params()
        placed = [stand_ins.get(parameter, parameter) for parameter in parameters]
        used = {parameter.place for parameter in placed if isinstance(parameter, _Place)}
        if used != set(range(len(values))):
            raise ValueError("A value is not among the query's parameters.")
        return sql, placed


class _Place:
    """Where a value goes."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


def padded(keys: Sequence[int]) -> list[int]:
    """Keys for an IN, filled up to a power of two with the last one, so that few SQLs do."""
    wanted = 1 << max(len(keys) - 1, 0).bit_length()
    return [*keys, *[keys[-1]] * (wanted - len(keys))]


def instance(model: type[M], names: Sequence[str], values: Sequence[Any]) -> M:
    """A model's instance from some of its columns; the others are deferred."""
    return model.from_db(connection.alias, names, values)
