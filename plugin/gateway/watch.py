"""Ends what is asked of the upstream when nobody waits for it any more.

A thread that waits for the upstream does not see that its own client has gone: the next write
would tell, and a model may be silent for minutes. So one thread for all of them looks.
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings

logger = logging.getLogger(__name__)

#: Seconds between two looks, and the grace that a client has for taking what it was sent.
INTERVAL, GRACE = 0.25, 30.0


class Watch:
    """One exchange: its client's socket, and the upstream's as soon as that is known."""

    def __init__(self, client: socket.socket | None) -> None:
        self._client = client
        self._upstream: socket.socket | None = None
        self._moved = time.monotonic()
        self.is_gone = False

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """httpx's trace extension: tells the socket of the new connection."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._upstream = info["return_value"].get_extra_info("socket")
            if self.is_gone:
                self.end()

    def moved(self) -> None:
        """Something was passed on."""
        self._moved = time.monotonic()

    def look(self) -> None:
        if self._has_left() or time.monotonic() - self._moved > settings.UPSTREAM_TIMEOUT + GRACE:
            self.end()

    def end(self) -> None:
        """Wake the thread that reads from the upstream, or that writes to a stuck client."""
        self.is_gone = True
        for end in (self._upstream, self._client):
            if end is not None:
                with suppress(OSError):
                    # The plain socket's: TLS would first want to say goodbye.
                    socket.socket.shutdown(end, socket.SHUT_RDWR)

    def _has_left(self) -> bool:
        if self._client is None:
            return False
        try:
            return not self._client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ValueError:
            return False  # TLS cannot peek: writing will tell
        except OSError:
            return True


class Watcher:
    """One per process; its thread lives while there is something to watch."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, client: socket.socket | None) -> Iterator[Watch]:
        watch = Watch(client)
        with self._lock:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.discard(watch)

    def _run(self) -> None:
        while True:
            time.sleep(INTERVAL)
            with self._lock:
                if not self._watches:
                    self._thread = None
                    return
                # Under the lock, so that none is ended whose sockets belong to others by now.
                for watch in self._watches:
                    if not watch.is_gone:
                        watch.look()


watcher = Watcher()
