"""Stands in for NextChat: another origin, its page, its files, and its open proxy."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

PAGE = Path(__file__).with_name("chat.html")
WORKER = b"self.addEventListener('install', () => self.skipWaiting());"
KINDS = {".json": "application/json", ".js": "text/javascript", ".html": "text/html"}
DROPPED = {"connection", "host", "origin", "referer", "cookie", "content-length"}


@dataclass
class StandIn:
    url: str
    public: Path  #: what is mounted over its public folder
    #: (path, headers) of what its server sent on
    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def standing_in(public: Path) -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path == "/":
                self._answer(200, PAGE.read_bytes(), "text/html")
            elif path == "/serviceWorker.js":
                self._answer(200, WORKER, "text/javascript")
            elif (file := public / path.lstrip("/")).is_file():
                self._answer(200, file.read_bytes(), KINDS[file.suffix])
            else:
                self._answer(404, b"", "text/plain")

        def do_POST(self) -> None:
            """As app/api/proxy does it: the address comes in a header, and headers get lost."""
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            target = f"{self.headers['X-Base-URL']}{self.path.removeprefix('/api/proxy')}"
            headers = {
                name.lower(): value
                for name, value in self.headers.items()
                if "x-" not in name.lower()
                and "sec-" not in name.lower()
                and name.lower() not in DROPPED
            }
            chat.sent.append((target, headers))
            answer = httpx.post(target, content=body, headers=headers, trust_env=False, timeout=60)
            self._answer(answer.status_code, answer.content, "application/json")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    chat = StandIn(f"http://localhost:{server.server_address[1]}", public)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
