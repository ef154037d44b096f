"""Requests to one server, over connections of the standard library that stay open.

Every search asks Chroma once. What urllib3 and httpx do around such a request (pools, retries,
redirects, headers and answers of their own) takes longer than the server does.
"""

import http.client
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

#: Connections that stay open while nobody uses them.
KEPT = 64


class KeptConnections:
    """Connects on first use; safe to share between threads. No proxy comes between."""

    def __init__(self, url: str, *, timeout: float, headers: Mapping[str, str]) -> None:
        """`url` without a path; `timeout` in seconds, for each step of a request."""
        parts = urlsplit(url)
        self._class = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._host, self._port = str(parts.hostname), parts.port
        self._timeout = timeout
        self._headers = dict(headers)
        #: The last one given back is taken first: those that are too many grow old unused.
        self._free: deque[http.client.HTTPConnection] = deque(maxlen=KEPT)

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a request that may be sent twice.

        Raises OSError, of which TimeoutError is one kind, or http.client.HTTPException.
        """
        with suppress(IndexError):
            kept = self._free.pop()
            try:
                return self._send(kept, path, body)
            except (ConnectionError, http.client.BadStatusLine):
                # The server has closed what it had no use for, or was started anew: so it has
                # with the others.
                self._free.clear()
        return self._send(self._class(self._host, self._port, timeout=self._timeout), path, body)

    def _send(
        self, connection: http.client.HTTPConnection, path: str, body: bytes
    ) -> tuple[int, bytes]:
        is_over = False
        try:
            connection.request("POST", path, body, self._headers)
            response = connection.getresponse()
            answer = response.status, response.read()
            is_over = response.will_close
        except BaseException:
            is_over = True
            raise
        finally:
            if is_over:
                connection.close()
            else:
                self._free.append(connection)
        return answer
