#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""kbadmin's MCP server for clients that can only start a program and talk to it by stdio.

    python kbadmin_mcp.py --url http://127.0.0.1:8001 --key YOUR-KEY
    python kbadmin_mcp.py --check        # whether the server answers and takes the key

Each line of standard input is one JSON-RPC message; it is posted to the server, and what that
answers is one line of standard output. The log goes to standard error. The environment variables
KBADMIN_URL and KBADMIN_API_KEY stand for --url and --key: other users of the machine can read
arguments, but not those. Standard library only.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import sys
import threading
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    BaseHandler,
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
#: Ours: the server is away, or refuses.
UNAVAILABLE = -32000
#: Requests under way at the same time.
AT_ONCE = 8
META_VERSION = "io.modelcontextprotocol/protocolVersion"
#: Methods whose header Mcp-Name repeats a parameter.
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def say(text: str) -> None:
    sys.stderr.write(f"kbadmin-mcp: {text}\n")
    sys.stderr.flush()


class NoRedirect(HTTPRedirectHandler):
    """A redirect would lose the body, and might carry the key elsewhere."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class Trouble(Exception):
    """Why there is no answer; the message is for the person who set this up."""


class Server:
    """The endpoint of kbadmin."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        url = url.strip().rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Trouble(f"{url!r} is no address; give one such as http://127.0.0.1:8001")
        self.url = url if parts.path.endswith("/mcp") else f"{url}/mcp"
        self.key = key.strip()
        self.timeout = timeout
        handlers: list[BaseHandler] = [NoRedirect()]
        if parts.hostname in LOOPBACK:
            handlers.append(ProxyHandler({}))
        self.opener: OpenerDirector = build_opener(*handlers)

    def post(self, message: Any, headers: dict[str, str]) -> Any:
        """The message that the server answers with; None where it owes none. Raises Trouble."""
        request = Request(  # noqa: S310 - the scheme was checked
            self.url,
            data=json.dumps(message).encode(),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
                **({"Authorization": f"Bearer {self.key}"} if self.key else {}),
                **headers,
            },
        )
        try:
            with self.opener.open(request, timeout=self.timeout) as response:
                status, body = response.status, response.read()
        except HTTPError as error:
            status, body = error.code, error.read()
            if 300 <= status < 400:
                target = error.headers.get("Location", "elsewhere")
                raise Trouble(f"{self.url} leads to {target}; give that address.") from error
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise Trouble(f"kbadmin does not answer at {self.url}: {why}. Is it running?") from None
        if status == 401:
            hint = "is not valid" if self.key else "is missing"
            raise Trouble(f"The API key {hint}: give one with --key or KBADMIN_API_KEY.")
        if not body.strip():
            return None
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        known = isinstance(answer, list) or (isinstance(answer, dict) and "jsonrpc" in answer)
        if not known:
            raise Trouble(f"{self.url} answered with status {status} and no message of MCP.")
        return answer


class Bridge:
    """Lines in, lines out; answers come in the order in which they are ready."""

    def __init__(self, server: Server, out: IO[bytes]) -> None:
        self.server = server
        self.out = out
        self.revision = ""  #: what `initialize` was answered with
        self.under_way: set[str] = set()  #: ids as JSON: 1 is not "1"
        self.cancelled: set[str] = set()
        self.writing = threading.Lock()
        self.places = threading.BoundedSemaphore(AT_ONCE)
        self.threads: list[threading.Thread] = []

    def run(self, lines: IO[bytes]) -> None:
        for line in lines:
            if line.strip():
                self.take(line)
        for thread in self.threads:
            thread.join()

    def take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            self.write(failure(None, PARSE_ERROR, f"Parse error: {error}"))
            return
        if not isinstance(message, (dict, list)):
            self.write(failure(None, INVALID_REQUEST, "Invalid request: send an object."))
            return
        method = message.get("method") if isinstance(message, dict) else None
        if method == "notifications/cancelled":
            self.cancelled |= {id_of(message, "params", "requestId")} & self.under_way
        elif method == "initialize" or not expects_answer(message):
            # In their order: what follows depends on it.
            self.answer(message)
        else:
            self.places.acquire()
            self.under_way.add(id_of(message, "id"))
            thread = threading.Thread(target=self.work, args=(message,), daemon=True)
            self.threads = [*filter(threading.Thread.is_alive, self.threads), thread]
            thread.start()

    def work(self, message: Any) -> None:
        try:
            self.answer(message)
        finally:
            self.places.release()

    def answer(self, message: Any) -> None:
        try:
            answer = self.server.post(message, self.headers(message))
        except Trouble as trouble:
            say(str(trouble))
            answer = failures(message, str(trouble))
        if not expects_answer(message) or self.is_cancelled(message):
            return
        if isinstance(message, dict):
            if not isinstance(answer, dict):
                answer = failure(None, UNAVAILABLE, "kbadmin answered nothing.")
            if answer.get("id") is None:
                answer["id"] = message.get("id")
            if message.get("method") == "initialize" and isinstance(answer.get("result"), dict):
                self.revision = str(answer["result"].get("protocolVersion", ""))
        if answer is not None:
            self.write(answer)

    def is_cancelled(self, message: Any) -> bool:
        name = id_of(message, "id")
        self.under_way.discard(name)
        if name not in self.cancelled:
            return False
        self.cancelled.discard(name)
        return True

    def headers(self, message: Any) -> dict[str, str]:
        """What HTTP says beside the body; stdio has no such thing."""
        if not isinstance(message, dict) or message.get("method") == "initialize":
            return {}
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        version = meta.get(META_VERSION) if isinstance(meta, dict) else None
        if not isinstance(version, str):
            return {"MCP-Protocol-Version": self.revision} if self.revision else {}
        method = str(message.get("method", ""))
        headers = {"MCP-Protocol-Version": version, "Mcp-Method": method}
        name = params.get(NAMED.get(method, ""))
        if isinstance(name, str):
            headers["Mcp-Name"] = name
        return {key: for_header(value) for key, value in headers.items()}

    def write(self, message: Any) -> None:
        # ASCII, whatever code page the other side reads; a newline inside would end the message.
        line = json.dumps(message).encode() + b"\n"
        with self.writing:
            try:
                self.out.write(line)
                self.out.flush()
            except (OSError, ValueError):
                say("the client has gone")
                os._exit(0)


def id_of(message: Any, *path: str) -> str:
    for name in path:
        message = message.get(name) if isinstance(message, dict) else None
    return json.dumps(message)


def expects_answer(message: Any) -> bool:
    """Whether it is a request, or holds one, or is none of what a client may send."""
    messages = message if isinstance(message, list) else [message]
    return any(not isinstance(one, dict) or is_request(one) for one in messages)


def is_request(message: dict[str, Any]) -> bool:
    return "id" in message and "result" not in message and "error" not in message


def failure(request_id: Any, code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}}


def failures(message: Any, text: str) -> Any:
    """An error for each request in a message."""
    if isinstance(message, dict):
        return failure(message.get("id"), UNAVAILABLE, text)
    requests = [one for one in message if isinstance(one, dict) and is_request(one)]
    return [failure(one["id"], UNAVAILABLE, text) for one in requests]


def for_header(value: str) -> str:
    """Text as a header carries it: what is not plain ASCII in base64."""
    plain = all(" " <= letter <= "~" for letter in value) and value == value.strip()
    if plain and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'replace')).decode()}?="


def check(server: Server) -> int:
    """Say what the server offers. 0 if it answers and takes the key."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    try:
        answer = server.post(asked, {"MCP-Protocol-Version": "2025-11-25"})
        names = [tool["name"] for tool in answer["result"]["tools"]]
    except Trouble as trouble:
        say(str(trouble))
        return 1
    except (KeyError, TypeError):
        say(f"{server.url} is no MCP server.")
        return 1
    say(f"{server.url} answers; its tools are {', '.join(names)}.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="kbadmin over MCP's stdio transport")
    url = os.environ.get("KBADMIN_URL") or "http://127.0.0.1:8001"
    parser.add_argument(
        "--url", default=url, help="where kbadmin is (KBADMIN_URL); now %(default)s"
    )
    parser.add_argument("--key", help="an API key of kbadmin (KBADMIN_API_KEY)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one answer")
    parser.add_argument("--check", action="store_true", help="only see whether the server answers")
    options = parser.parse_args()
    key = options.key or os.environ.get("KBADMIN_API_KEY", "")
    try:
        server = Server(options.url, key, options.timeout)
    except Trouble as trouble:
        say(str(trouble))
        return 2
    if options.check:
        return check(server)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    say(f"passing messages on to {server.url}")
    try:
        Bridge(server, sys.stdout.buffer).run(sys.stdin.buffer)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
