"""How many chunks there are and how many hold a term: remembered where counting is slow.

A count reads every posting of a term, for the most common words of a million chunks longer
than the search itself. What is remembered of a large scope may be a minute old. That is
harmless: it only sets how much the words of a query weigh against each other, by the logarithm
of a ratio, and among so many chunks a minute of indexing moves that by a few thousandths; which
chunks are found is never remembered. Of a small scope, where a minute can change much, counts
are remembered for as long as its version says that nothing was written.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cachetools import TTLCache
from django.db import connection

#: From so many chunks on, counts are remembered for SECONDS, whatever is written meanwhile.
LARGE = 10_000
SECONDS = 60
MAX_SCOPES = 1000
MAX_TERMS = 50_000  #: about 20 MB


@dataclass(frozen=True, slots=True)
class Size:
    """How much is indexed in a scope, as BM25 needs it."""

    chunks: int
    average_length: float = 1.0  #: in terms; not every engine needs it
    #: of a small scope: counts of equal versions are equal; None if the engine knows of none
    version: bytes | None = None

    @property
    def is_remembered(self) -> bool:
        return self.chunks >= LARGE or self.version is not None


_sizes: TTLCache[tuple[str, str], Size] = TTLCache(MAX_SCOPES, SECONDS)
_frequencies: TTLCache[tuple[str, str, bytes | None, str], int] = TTLCache(MAX_TERMS, SECONDS)
#: For the caches only. Nobody waits for it while counting: two threads may count the same.
_lock = threading.Lock()


def size(
    scope: str, count: Callable[[], Size], version: Callable[[], bytes | None] = lambda: None
) -> Size:
    """The size of a scope, by `count` unless it is remembered.

    `version` tells what a small scope was last written with.
    """
    key = (_database(), scope)
    with _lock:
        known = _sizes.get(key)
    if known is not None and known.chunks >= LARGE:
        return known
    now = version()
    if known is None or now is None or known.version != now:
        known = count()
        known = replace(known, version=None if known.chunks >= LARGE else now)
        if known.is_remembered:
            with _lock:
                _sizes[key] = known
    return known


def frequencies(
    scope: str,
    terms: Sequence[str],
    size: Size,
    count: Callable[[list[str]], dict[str, int]],
) -> list[int]:
    """How many chunks of a scope hold each term, by `count` for those that are not remembered.

    Terms that `count` leaves out occur nowhere.
    """
    database, version = _database(), size.version
    known: dict[str, int] = {}
    if size.is_remembered:
        with _lock:
            for term in terms:
                frequency = _frequencies.get((database, scope, version, term))
                if frequency is not None:
                    known[term] = frequency
    missing = [term for term in terms if term not in known]
    if missing:
        counted = count(missing)
        known |= {term: counted.get(term, 0) for term in missing}
        if size.is_remembered:
            with _lock:
                for term in missing:
                    _frequencies[database, scope, version, term] = known[term]
    return [known[term] for term in terms]


def reset() -> None:
    """Forget every count; tests change databases."""
    with _lock:
        _sizes.clear()
        _frequencies.clear()


def _database() -> str:
    return str(connection.settings_dict["NAME"])
