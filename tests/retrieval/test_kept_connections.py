"""Requests to a server that keeps connections open, closes them, or falls silent."""

import http.client
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from retrieval.kept_connections import KeptConnections


class Server(ThreadingHTTPServer):
    """Echoes bodies; `closes` says how a connection ends after an answer."""

    daemon_threads = True
    closes = ""
    connections = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/silent":
            threading.Event().wait(2)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.server.closes == "told":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = bool(self.server.closes)

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Echo) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def kept(server: Server) -> KeptConnections:
    return KeptConnections(
        f"http://127.0.0.1:{server.server_port}", timeout=0.5, headers={"X-Any": "1"}
    )


def test_one_after_the_other_they_share_a_connection(server, kept):
    for number in range(5):
        assert kept.post("/", b"%d" % number) == (200, b"%d" % number)
    assert server.connections == 1


@pytest.mark.parametrize("how", ["told", "untold"])
def test_a_connection_that_was_closed_is_replaced(server, kept, how):
    server.closes = how
    for number in range(5):
        assert kept.post("/", b"%d" % number) == (200, b"%d" % number)
    assert server.connections == 5


def test_at_once_each_has_its_own(server, kept):
    failures: list[object] = []

    def ask(who: int) -> None:
        for number in range(50):
            body = f"{who} {number}".encode()
            answer = kept.post("/", body)
            if answer != (200, body):
                failures.append(answer)

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert server.connections <= 8


def test_an_answer_that_came_too_late_is_nobody_elses(server, kept):
    assert kept.post("/", b"one") == (200, b"one")
    with pytest.raises(TimeoutError):
        kept.post("/silent", b"two")
    assert kept.post("/", b"three") == (200, b"three")
    assert server.connections == 2


def test_nobody_there_is_an_error_of_the_system(kept, server):
    away = KeptConnections("http://127.0.0.1:1", timeout=0.5, headers={})
    with pytest.raises(ConnectionRefusedError):
        away.post("/", b"")


def test_what_is_not_http_is_told(server):
    class Noise(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"220 mail.example ESMTP\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Noise) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.05,))
        thread.start()
        try:
            there = KeptConnections(
                f"http://127.0.0.1:{other.server_address[1]}", timeout=0.5, headers={}
            )
            with pytest.raises(http.client.BadStatusLine):
                there.post("/", b"")
        finally:
            other.shutdown()
            thread.join()
