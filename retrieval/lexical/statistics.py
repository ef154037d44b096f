"""How many chunks there are and how many hold a term: remembered where counting is slow.

A count reads every posting of a term, for the most common words of a million chunks longer
than the search itself. What is remembered may be a minute old. That is harmless: it only sets
how much the words of a query weigh against each other, by the logarithm of a ratio, and among
so many chunks a minute of indexing moves that by a few thousandths; which chunks are found is
never remembered. Small indexes are where a minute can change much, and they count quickly, so
nothing is remembered of them.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachetools import TTLCache
from django.db import connection

#: From so many chunks on, counts are remembered.
LARGE = 10_000
SECONDS = 60
MAX_SCOPES = 1000
MAX_TERMS = 50_000  #: about 20 MB


@dataclass(frozen=True, slots=True)
class Size:
    chunks: int
    average_length: float = 1.0  #: in terms; not every engine needs it


_sizes: TTLCache[tuple[str, str], Size] = TTLCache(MAX_SCOPES, SECONDS)
_frequencies: TTLCache[tuple[str, str, str], int] = TTLCache(MAX_TERMS, SECONDS)
#: For the caches only. Nobody waits for it while counting: two threads may count the same.
_lock = threading.Lock()


def size(scope: str, count: Callable[[], Size]) -> Size:
    """The size of a scope, by `count` unless it is remembered."""
    key = (_database(), scope)
    with _lock:
        known = _sizes.get(key)
    if known is None:
        known = count()
        if known.chunks >= LARGE:
            with _lock:
                _sizes[key] = known
    return known


def frequencies(
    scope: str,
    terms: Sequence[str],
    chunks: int,
    count: Callable[[list[str]], dict[str, int]],
) -> list[int]:
    """How many chunks of a scope hold each term, by `count` for those that are not remembered.

    `chunks` is the size of the scope. Terms that `count` leaves out occur nowhere.
    """
    database = _database()
    known: dict[str, int] = {}
    if chunks >= LARGE:
        with _lock:
            for term in terms:
                frequency = _frequencies.get((database, scope, term))
                if frequency is not None:
                    known[term] = frequency
    missing = [term for term in terms if term not in known]
    if missing:
        counted = count(missing)
        known |= {term: counted.get(term, 0) for term in missing}
        if chunks >= LARGE:
            with _lock:
                for term in missing:
                    _frequencies[database, scope, term] = known[term]
    return [known[term] for term in terms]


def reset() -> None:
    """Forget every count; tests change databases."""
    with _lock:
        _sizes.clear()
        _frequencies.clear()


def _database() -> str:
    return str(connection.settings_dict["NAME"])
