"""How many requests a web process works on at once.

It has threads for many more, because most of them wait for a language model. Those that work
take turns: more of them than processors only get in each other's way. With the turn comes a
connection to the database, which would otherwise stay with each of the many threads.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

AT_ONCE = 8
_turns = threading.BoundedSemaphore(AT_ONCE)
_own = threading.local()
#: Connections that nobody has; the last one given back is taken first, and is warm.
_free: list[BaseDatabaseWrapper] = []
_shares_connections = False


def share_connections() -> None:
    """Hand the connections on from turn to turn, in a process that serves nothing but requests."""
    global _shares_connections
    _shares_connections = True


@contextmanager
def turn() -> Iterator[None]:
    """Wait for a turn, and have it."""
    _turns.acquire()
    _own.has_turn = True
    try:
        _take_connection()
        yield
    finally:
        step_aside()


def step_aside() -> None:
    """End the turn; before waiting for somebody else, also in the middle of it.

    The database can still be used, by a connection of the thread's own.
    """
    if not getattr(_own, "has_turn", False):
        return
    try:
        _give_connection_back()
    finally:
        _own.has_turn = False
        _turns.release()


def _take_connection() -> None:
    if not _shares_connections or connections.all(initialized_only=True):
        return
    try:
        connection = _free.pop()
    except IndexError:
        return
    connections[DEFAULT_DB_ALIAS] = connection
    connection.close_if_unusable_or_obsolete()


def _give_connection_back() -> None:
    if not _shares_connections:
        return
    for connection in connections.all(initialized_only=True):
        del connections[connection.alias]
        is_spare = len(_free) >= AT_ONCE or connection.alias != DEFAULT_DB_ALIAS
        if is_spare or connection.in_atomic_block:
            connection.close()
            continue
        if not connection.allow_thread_sharing:
            connection.inc_thread_sharing()
        _free.append(connection)
