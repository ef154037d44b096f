"""How many requests a web process works on at once.

It has threads for many more, because most of them wait for a language model. Those that work
take turns: more of them than processors only get in each other's way, and each would want a
connection to the database.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

AT_ONCE = 8
_turns = threading.BoundedSemaphore(AT_ONCE)
_own = threading.local()


@contextmanager
def turn() -> Iterator[None]:
    """Wait for a turn, and have it."""
    _turns.acquire()
    _own.has_turn = True
    try:
        yield
    finally:
        if _own.has_turn:
            _own.has_turn = False
            _turns.release()


def step_aside() -> None:
    """Before waiting for somebody else: the turn and the connections to the database go to
    others. A connection comes back by itself with the next query."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
    if getattr(_own, "has_turn", False):
        _own.has_turn = False
        _turns.release()
