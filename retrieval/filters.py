"""`filter` of a search → documents. Checked against a small grammar, resolved by an index.

{"lang": "zh"}                          equal; a list field matches by any of its items
{"tags": ["linux", "backup"]}           one of
{"date": {"gte": "2024-01-01"}}         ranges: gt, gte, lt, lte; also eq, ne, in
{"external_id": "linux/tar.md"}         the document itself
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import Exists, OuterRef, Q

from retrieval.exceptions import InvalidFilter
from retrieval.models import Attribute, Document
from retrieval.models.document import DocumentQuerySet

MAX_FIELDS = 10
MAX_VALUES = 100
LARGEST_NUMBER = 1e300
RANGES = ("gt", "gte", "lt", "lte")
OPERATORS = ("eq", "ne", "in", *RANGES)
#: Fields of the document itself, which front matter cannot shadow.
OWN_FIELDS = ("external_id", "source", "origin")


def documents_matching(collection_id: int, filter: Mapping[str, Any]) -> list[int]:
    """Primary keys of the searchable documents that a filter leaves. Raises InvalidFilter."""
    documents = Document.objects.searchable().filter(collection=collection_id)
    return list(narrowed(documents, filter).values_list("pk", flat=True))


def narrowed(documents: DocumentQuerySet, filter: Mapping[str, Any]) -> DocumentQuerySet:
    """Of some documents those that a filter leaves.

    Raises InvalidFilter, with the name of the field that is wrong.
    """
    if len(filter) > MAX_FIELDS:
        raise InvalidFilter(f"filter: at most {MAX_FIELDS} fields are possible.")
    for key, condition in filter.items():
        if not is_clean(key):
            raise InvalidFilter("filter: a field name holds characters that no field can.")
        for operator, value in _conditions(key, condition):
            documents = documents.filter(_query(key, operator, value))
    return documents


def _conditions(key: str, condition: Any) -> list[tuple[str, Any]]:
    if isinstance(condition, Mapping):
        if not condition:
            raise InvalidFilter(f"filter.{key}: give a value, a list, or one of {_names()}.")
        pairs = list(condition.items())
    elif isinstance(condition, list):
        pairs = [("in", condition)]
    else:
        pairs = [("eq", condition)]
    for operator, value in pairs:
        if operator not in OPERATORS:
            raise InvalidFilter(f"filter.{key}: {operator!r} is not one of {_names()}.")
        values = value if operator == "in" else [value]
        if not isinstance(values, list) or not values or len(values) > MAX_VALUES:
            raise InvalidFilter(f"filter.{key}: `in` takes a list of 1 to {MAX_VALUES} values.")
        for item in values:
            _check_value(key, item)
    return pairs


def _check_value(key: str, value: Any) -> None:
    """What the database could not even compare is refused by name."""
    if not isinstance(value, str | int | float | bool):
        raise InvalidFilter(f"filter.{key}: {value!r} is not a text, a number or true/false.")
    if isinstance(value, int | float) and abs(value) > LARGEST_NUMBER:
        raise InvalidFilter(f"filter.{key}: the number is too large.")
    if isinstance(value, str) and not is_clean(value):
        raise InvalidFilter(f"filter.{key}: the text holds characters that no document can.")


def is_clean(text: str) -> bool:
    """Whether a text can be stored: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _names() -> str:
    return ", ".join(OPERATORS)


def _query(key: str, operator: str, value: Any) -> Q:
    if operator == "ne":
        return ~_query(key, "eq", value)
    if operator == "in":
        query = Q()
        for item in value:
            query |= _query(key, "eq", item)
        return query
    lookup = "" if operator == "eq" else f"__{operator}"
    if key in OWN_FIELDS:
        return Q(**{f"{key}{lookup}": str(value)})
    if isinstance(value, bool):
        column, value = "string", str(value).lower()
    elif isinstance(value, int | float):
        column = "number"
    else:
        column = "string"
    rows = Attribute.objects.filter(
        document=OuterRef("pk"), key=key, **{f"{column}{lookup}": value}
    )
    return Q(Exists(rows))
