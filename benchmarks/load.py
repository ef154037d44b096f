"""Asks over a few connections that stay open, each the next question once it has an answer.

    python -m benchmarks.load < ORDER.json

Both sides of a comparison get their load from here. One thread and bare sockets: it has to
leave the cores to what is measured. The order on standard input has the fields of `Order`.
Prints one line when the warm-up is over and, at the end, one line of JSON; times in seconds.
"""

import json
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

SILENCE = 30.0  #: seconds without any answer after which it gives up


@dataclass(frozen=True, slots=True)
class Order:
    port: int
    path: str
    headers: dict[str, str]
    connections: int
    warm_up: float  #: seconds before the first answer counts
    seconds: float  #: that are measured
    bodies: list[str]  #: each is sent once


class Connection:
    """One request at a time over one socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self._received = b""
        self._length = -1  # of the whole answer, once its head is there

    def send(self, request: bytes) -> None:
        self._received, self._length = b"", -1
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Status of the answer once it is complete. Raises ConnectionError if it never will be."""
        part = self.socket.recv(1 << 20)
        if not part:
            raise ConnectionError("the server closed the connection")
        self._received += part
        if self._length < 0:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self._received[:end].lower()
            self._length = end + 4 + int(head.split(b"content-length:", 1)[1].split(b"\r", 1)[0])
        if len(self._received) < self._length:
            return None
        return int(self._received[9:12])  # HTTP/1.1 200 OK


def requests(order: Order) -> Iterator[bytes]:
    head = f"POST {order.path} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\n"
    head += "Content-Type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in order.headers.items())
    for text in order.bodies:
        body = text.encode()
        yield f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def main() -> None:
    order = Order(**json.load(sys.stdin))
    # Made before: what is built while asking would be the asker's time.
    waiting = iter(list(requests(order)))
    selector = selectors.DefaultSelector()
    for _ in range(order.connections):
        connection = Connection(order.port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(next(waiting))
    began = time.perf_counter() + order.warm_up
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    measuring, used = False, 0.0
    while (now := time.perf_counter()) < began + order.seconds:
        if not measuring and now >= began:
            measuring, used = True, time.process_time()
            print("measuring", flush=True)
        ready = selector.select(SILENCE)
        if not ready:
            raise TimeoutError(f"no answer within {SILENCE:g} s")
        for key, _ in ready:
            status = key.data.receive()
            if status is None:
                continue
            if measuring:
                latencies.append(time.perf_counter() - key.data.sent_at)
            statuses[status] = statuses.get(status, 0) + 1
            key.data.send(next(waiting))
    seconds = time.perf_counter() - began
    used = time.process_time() - used
    percentiles = statistics.quantiles(latencies, n=100)
    record = {
        "answers": len(latencies),
        "all_answers": sum(statuses.values()),
        "failures": sum(count for status, count in statuses.items() if status != 200),
        "seconds": seconds,
        "p50": percentiles[49],
        "p99": percentiles[98],
        "cpu": used,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
