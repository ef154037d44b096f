"""A web server on this machine that behaves as badly as a test wants."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOMB = 64 * 1024 * 1024


@dataclass
class Site:
    """Pages by path: (status, headers, body)."""

    port: int
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)  #: (Host header, path)
    #: What OPTIONS is answered with: (status, headers); without it nobody may call from a browser.
    preflight: tuple[int, dict[str, str]] = (405, {})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(
        self, path: str, body: bytes | str, kind: str = "text/html", status: int = 200, **more: str
    ) -> str:
        data = body.encode() if isinstance(body, str) else body
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        self.pages[path] = (status, {"Content-Type": kind, **headers}, data)
        return self.url + path

    def leads(self, path: str, target: str, status: int = 302) -> str:
        return self.page(path, b"", status=status, Location=target)


@contextmanager
def serve(port: int = 0) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.headers["Host"], self.path))
            special = getattr(self, self.path.strip("/").split("/")[0].replace("-", "_"), None)
            if self.path.startswith("/bad-") and special:
                with_broken_pipe(special)
                return
            nothing: tuple[int, dict[str, str], bytes] = (404, {}, b"")
            status, headers, body = site.pages.get(self.path, nothing)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with_broken_pipe(lambda: self.wfile.write(body))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_OPTIONS(self) -> None:
            site.asked.append((self.headers["Host"], self.path))
            status, headers = site.preflight
            self.send_response(status)
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

    def with_broken_pipe(write: Callable[[], object]) -> None:
        with suppress(OSError):
            write()

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()
