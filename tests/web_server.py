"""A web server on this machine that behaves as badly as a test wants."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BOMB = 64 * 1024 * 1024
NOTHING: tuple[int, dict[str, str], bytes] = (404, {}, b"")


@dataclass
class Site:
    """Pages by path: (status, headers, body)."""

    port: int
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)  #: (Host header, path)
    #: What POST is answered with, by path; the others as GET is.
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    #: Every POST, and every GET that was signed: (path, headers, body).
    calls: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    scheme: str = "http"
    host: str = "127.0.0.1"
    #: What OPTIONS is answered with: (status, headers); without it nobody may call from a browser.
    preflight: tuple[int, dict[str, str]] = (405, {})

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    def page(
        self, path: str, body: bytes | str, kind: str = "text/html", status: int = 200, **more: str
    ) -> str:
        data = body.encode() if isinstance(body, str) else body
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        self.pages[path] = (status, {"Content-Type": kind, **headers}, data)
        return self.url + path

    def answer(
        self, path: str, body: bytes | str, kind: str = "application/json", status: int = 200
    ) -> None:
        """To a POST."""
        data = body.encode() if isinstance(body, str) else body
        self.answers[path] = (status, {"Content-Type": kind}, data)

    def leads(self, path: str, target: str, status: int = 302) -> str:
        return self.page(path, b"", status=status, Location=target)


@contextmanager
def serve(
    port: int = 0, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Site]:
    """With `tls` over https, under the name that is given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.headers["Host"], self.path))
            if "Authorization" in self.headers and self.command == "GET":
                site.calls.append((self.path, dict(self.headers), b""))
            name = self.path.partition("?")[0].strip("/").split("/")[0]
            special = getattr(self, name.replace("-", "_"), None)
            if self.path.startswith("/bad-") and special:
                with_broken_pipe(special)
                return
            self.say(site.pages.get(self.path, NOTHING))

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
            site.calls.append((self.path, dict(self.headers), sent))
            if self.path not in site.answers:
                self.do_GET()
                return
            site.asked.append((self.headers["Host"], self.path))
            self.say(site.answers[self.path])

        def say(self, answer: tuple[int, dict[str, str], bytes]) -> None:
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with_broken_pipe(lambda: self.wfile.write(body))

        def do_OPTIONS(self) -> None:
            site.asked.append((self.headers["Host"], self.path))
            preflight, headers = site.preflight
            self.send_response(preflight)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def bad_drip(self) -> None:
            """A byte now and then, for ever: no read of a socket ever takes long."""
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n")
            for _ in range(200):
                self.wfile.write(b"a")
                time.sleep(0.05)

        def bad_headers(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            for number in range(200):
                self.wfile.write(f"X-{number}: a\r\n".encode())
                time.sleep(0.05)

        def bad_silence(self) -> None:
            time.sleep(5)

        def bad_endless(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n")
            for _ in range(1024):
                self.wfile.write(b"a" * 64 * 1024)

        def bad_bomb(self) -> None:
            body = gzip.compress(b"a" * BOMB)
            self.wfile.write(
                b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )

        def bad_short(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

        def bad_protocol(self) -> None:
            self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")

        def bad_close(self) -> None:
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: object) -> None:
            pass

    def secured(connection: Any, address: Any, context: ssl.SSLContext) -> tuple[Any, Any]:
        # It shakes hands with the first byte that is read, in the thread of its request.
        secure = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secure, address

    def with_broken_pipe(write: Callable[[], object]) -> None:
        with suppress(OSError):
            write()

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    site = Site(server.server_address[1], scheme="https" if tls else "http", host=host)
    if tls is not None:
        # Not for the listening socket: a handshake that fails would be one of the accepting thread.
        get_request = server.get_request
        server.get_request = lambda: secured(*get_request(), tls)  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()
