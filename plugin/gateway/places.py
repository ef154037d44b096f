"""How many answers a web process waits for and streams at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from plugin.gateway.errors import TooManyStreams

_lock = threading.Lock()
_taken = 0


@contextmanager
def place() -> Iterator[None]:
    """One of KBADMIN_GATEWAY_STREAMS places. Raises TooManyStreams if there is none."""
    global _taken
    with _lock:
        if _taken >= settings.GATEWAY_STREAMS:
            raise TooManyStreams(
                "As many answers are being written as this server writes at once. "
                "Try again in a few seconds."
            )
        _taken += 1
    try:
        yield
    finally:
        with _lock:
            _taken -= 1
