"""A language model's server that says what a test wrote for it, and fails as it wants.

It speaks OpenAI's protocol, or refuses what FastChat refuses.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
#: Gets the request's body; returns what `say`, `call_tool`, `refuse` and their like return.
Script = Callable[[Body], "Reply"]
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass
class Reply:
    """What is answered: pieces of text, deltas or raw lines, with waits and breaks between."""

    pieces: list[Any] = field(default_factory=list)
    reason: str | None = "stop"
    status: int = 200
    body: bytes | Body | None = None  #: instead of an answer
    headers: dict[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None  #: before the first byte
    streams: bool = True  #: whether it heeds `stream`
    counts: bool = True


class Break:
    """The connection is cut here, without an end."""


class Raw(str):
    """A line of the stream as it is."""


def say(*pieces: Any, **options: Any) -> Script:
    return lambda body: Reply(list(pieces), **options)


def refuse(status: int, message: str, code: Any = None, **options: Any) -> Script:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return lambda body: Reply(status=status, body={"error": error}, **options)


def call_tool(name: str, arguments: Body) -> Script:
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    text = json.dumps(arguments)
    deltas = [
        {"content": None, "tool_calls": [{"index": 0, **call}]},
        *(
            {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}
            for part in (text[: len(text) // 2], text[len(text) // 2 :])
        ),
    ]
    return lambda body: Reply(deltas, reason="tool_calls")


def text_of(message: Body) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def refused_by_fastchat(body: Body) -> Reply | None:
    """What FastChat 0.2.36 does with messages that it does not know."""
    for message in body["messages"]:
        if message["role"] not in {"system", "user", "assistant"} or message.get("content") is None:
            return Reply(status=500, body=b"Internal Server Error")
    return None


@dataclass
class FakeModel:
    port: int
    script: Script = field(default_factory=lambda: say("Hello", " there."))
    is_fastchat: bool = False
    key: str = ""
    names: list[str] = field(default_factory=lambda: ["tiny", "other/large"])
    asked: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0  #: at once
    left: threading.Event = field(default_factory=threading.Event)  #: a reader went before the end

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Body:
        return self.asked[-1]

    def system(self) -> str:
        """The instructions of the last request."""
        return "\n".join(text_of(m) for m in self.last["messages"] if m["role"] == "system")

    def settle(self, seconds: float = 10) -> None:
        """Wait until nothing is under way any more."""
        deadline = time.monotonic() + seconds
        while self.under_way and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not self.under_way, f"{self.under_way} requests are still held"


@contextmanager
def serve_model() -> Iterator[FakeModel]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            owner = "fastchat" if model.is_fastchat else "vendor"
            rows = [
                {"id": name, "object": "model", "created": 1, "owned_by": owner}
                for name in model.names
            ]
            self.whole(200, {"object": "list", "data": rows})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length))
            with lock:
                model.asked.append(body)
                model.headers.append({name.lower(): value for name, value in self.headers.items()})
                model.under_way += 1
                model.most = max(model.most, model.under_way)
            try:
                self.answer(body)
            except OSError:
                model.left.set()
                self.close_connection = True
            finally:
                with lock:
                    model.under_way -= 1

        def answer(self, body: Body) -> None:
            if model.key and self.headers.get("Authorization") != f"Bearer {model.key}":
                self.whole(401, {"error": {"message": "bad key", "code": "invalid_api_key"}})
                return
            if self.path.endswith("/embeddings"):
                data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}]
                self.whole(200, {"object": "list", "data": data, "model": body["model"],
                                 "usage": {"prompt_tokens": 1, "total_tokens": 1}})  # fmt: skip
                return
            reply = refused_by_fastchat(body) if model.is_fastchat else None
            reply = reply or model.script(body)
            self.hold(reply.wait)
            if reply.body is not None:
                self.whole(reply.status, reply.body, reply.headers)
            elif "first" in reply.headers and not body.get("stream"):
                self.whole(200, reply.headers["first"].encode())
            elif body.get("stream") and reply.streams:
                self.stream(body, reply)
            else:
                self.complete(body, reply)

        def hold(self, event: threading.Event | None) -> None:
            """Wait for a test, and notice meanwhile if the reader goes."""
            self.connection.settimeout(0.05)
            try:
                while event is not None and not event.is_set():
                    try:
                        if not self.connection.recv(1):
                            raise BrokenPipeError
                    except TimeoutError:
                        continue
            finally:
                self.connection.settimeout(None)

        def complete(self, body: Body, reply: Reply) -> None:
            message: Body = {"role": "assistant", "content": ""}
            for piece in reply.pieces:
                if isinstance(piece, Break):
                    self.connection.close()
                    raise BrokenPipeError
                if isinstance(piece, threading.Event):
                    self.hold(piece)
                elif isinstance(piece, dict):
                    message |= {"content": None}
                    for call in piece.get("tool_calls", ()):
                        if "id" in call:
                            message["tool_calls"] = [call]
                        else:
                            told = message["tool_calls"][0]["function"]
                            told["arguments"] += call["function"]["arguments"]
                elif not isinstance(piece, Raw):
                    message["content"] += piece
            choice = {"index": 0, "message": message, "finish_reason": reply.reason}
            answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1,
                      "model": body["model"], "choices": [choice]}  # fmt: skip
            self.whole(200, answer | ({"usage": USAGE} if reply.counts else {}))

        def stream(self, body: Body, reply: Reply) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
                    "model": body["model"]}  # fmt: skip

            def chunk(delta: Body, reason: str | None = None) -> None:
                choice = {"index": 0, "delta": delta, "finish_reason": reason}
                self.event(json.dumps(head | {"choices": [choice]}))

            if first := reply.headers.get("first"):
                self.event(first)
            chunk({"role": "assistant", "content": ""})
            for piece in reply.pieces:
                if isinstance(piece, Break):
                    self.close_connection = True
                    return
                if isinstance(piece, threading.Event):
                    self.hold(piece)
                elif isinstance(piece, Raw):
                    self.event(piece)
                else:
                    chunk(piece if isinstance(piece, dict) else {"content": piece})
            if reply.reason:
                chunk({}, reply.reason)
            wanted = (body.get("stream_options") or {}).get("include_usage")
            if wanted and reply.counts:
                self.event(json.dumps(head | {"choices": [], "usage": USAGE}))
            self.event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")

        def event(self, data: str) -> None:
            text = f"data: {data}\n\n".encode()
            self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")

        def whole(self, status: int, body: bytes | Body, headers: Body | None = None) -> None:
            is_text = isinstance(body, bytes)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    model = FakeModel(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield model
    finally:
        with suppress(OSError):
            server.shutdown()
        thread.join()
        server.server_close()
