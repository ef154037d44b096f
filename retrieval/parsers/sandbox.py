"""Parsing in a process of its own, which may hang, grow or crash without harm to the worker.

The process is started for the first heavy file, reads one file after another, and is
replaced after some of them or when it had to be killed. It is a fresh interpreter, no fork:
the worker's threads, connections and memory do not exist there.
"""

import atexit
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from retrieval import exceptions
from retrieval.exceptions import (
    ParseCrashed,
    ParseError,
    ParseOutOfMemory,
    ParserFailed,
    ParseTimeout,
)
from retrieval.parsers import parse
from retrieval.parsers.detection import Format, detect
from retrieval.parsers.limits import DEFAULT_LIMITS, Limits
from retrieval.types import ParsedDocument

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
#: Formats that are read in the worker itself while they are small: nothing in them can hang.
LIGHT = {Format.MARKDOWN, Format.TEXT, Format.CSV, Format.JSONL, Format.ZIP}
LIGHT_BYTES = 1024 * 1024
#: Documents after which the process is replaced: libraries leak.
DOCUMENTS = 200
#: Seconds between looks at the memory, and for a fresh process to load its libraries.
WATCH_EVERY = 0.05
START_SECONDS = 60.0
PAGE = 4096
#: Share of its memory beyond which a child that crashed is taken to have died of that.
NEARLY_ALL = 0.8


def parse_isolated(
    filename: str,
    data: bytes,
    limits: Limits = DEFAULT_LIMITS,
    options: Mapping[str, Any] = {},
    timeout: float = 60.0,
) -> ParsedDocument:
    """As `parse`, in another process where the format is heavy or the file large.

    Raises what `parse` raises, and:
        ParseTimeout: it took more than `timeout` seconds.
        ParseOutOfMemory: it took more than `limits.memory_bytes`.
        ParseCrashed: the process died of it.
        ParserFailed: a library broke on it.
    """
    if len(data) <= LIGHT_BYTES and detect(filename, data) in LIGHT:
        return parse(filename, data, limits=limits, options=options)
    return shared.parse(filename, data, limits, options, timeout)


class Sandbox:
    """One child process, used by one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._done = 0
        self._memory = 0

    def parse(
        self,
        filename: str,
        data: bytes,
        limits: Limits,
        options: Mapping[str, Any],
        timeout: float,
    ) -> ParsedDocument:
        request = {
            "filename": filename,
            "size": len(data),
            "limits": asdict(limits),
            "options": dict(options),
            "seconds": timeout,
        }
        with self._lock:
            child = self._started(limits.memory_bytes)
            with Watch(child, timeout, limits.memory_bytes) as watch:
                answer = _ask(child, request, data)
            self._done += 1
            if answer is None or watch.reason:
                self._stop()
                raise watch.error(timeout, limits)
        return _result(answer)

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        child = self._child
        return child.pid if child else None

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _started(self, memory: int) -> subprocess.Popen[bytes]:
        """The running child, or a new one that has loaded its libraries."""
        child = self._child
        fit = child and child.poll() is None and self._done < DOCUMENTS and self._memory == memory
        if child and fit:
            return child
        self._stop()
        # A session of its own: Ctrl-C in the terminal is the worker's to handle.
        child = self._child = subprocess.Popen(
            [sys.executable, "-m", "retrieval.parsers.child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._done, self._memory = 0, memory
        with Watch(child, START_SECONDS, memory):
            ready = _ask(child, {"memory": memory}, b"")
        if ready is None:
            self._stop()
            raise ParseCrashed(
                "The process that reads documents does not start. Try again; if it stays so, "
                "install the requirements again."
            )
        return child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        kill(child)
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()


class Watch:
    """Kills a child that takes too long or too much, while another thread waits for it."""

    def __init__(self, child: subprocess.Popen[bytes], timeout: float, memory: int) -> None:
        self.child = child
        self.timeout = timeout
        self.memory = memory
        self.reason = ""
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parse-watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._deadline = time.monotonic() + self.timeout
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(WATCH_EVERY):
            if time.monotonic() > self._deadline:
                self.reason = "timeout"
            self.peak = max(self.peak, resident_bytes(self.child.pid))
            if self.peak > self.memory:
                self.reason = "memory"
            if self.reason:
                kill(self.child)
                return

    def error(self, timeout: float, limits: Limits) -> ParseError:
        """Why there is no answer."""
        code = self.child.returncode
        if self.reason == "timeout" or code == -signal.SIGXCPU:
            return ParseTimeout(
                f"Reading this file took more than {timeout:g} seconds and was stopped. Split it "
                "or save it in another format, or raise KBADMIN_MAX_PARSE_SECONDS.",
                seconds=timeout,
            )
        if self.reason == "memory" or self.peak > NEARLY_ALL * self.memory:
            return out_of_memory(limits)
        how = f"signal {-code}" if code and code < 0 else f"exit code {code}"
        logger.warning("the process that reads documents died (%s)", how)
        return ParseCrashed(
            f"The program that reads this format crashed on this file ({how}). Open it, save it "
            "again or in another format, and upload that."
        )


def out_of_memory(limits: Limits) -> ParseOutOfMemory:
    return ParseOutOfMemory(
        f"Reading this file takes more than {limits.memory_bytes // 1024**2:,} MB of memory. "
        "Split it or save it in another format, or raise KBADMIN_MAX_PARSE_MEMORY."
    )


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a child, whatever it is doing, and wait until it is gone."""
    with suppress(ProcessLookupError, OSError):
        child.kill()
    child.wait()


def resident_bytes(pid: int | str) -> int:
    """Memory that a process holds; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _ask(
    child: subprocess.Popen[bytes], request: Mapping[str, Any], data: bytes
) -> dict[str, Any] | None:
    """Send a request, wait for the answer; None if the child died before it came."""
    assert child.stdin is not None and child.stdout is not None  # noqa: S101  # for mypy: both are pipes
    try:
        send(child.stdin, request, data)
        line = child.stdout.readline()
    except OSError:
        line = b""
    if not line.endswith(b"\n"):
        child.wait()
        return None
    answer: dict[str, Any] = json.loads(line)
    return answer


def send(pipe: BinaryIO | Any, message: Mapping[str, Any], data: bytes = b"") -> None:
    """One line of JSON, then the bytes. ASCII: a lone surrogate must not break the pipe."""
    pipe.write(json.dumps(message).encode("ascii") + b"\n")
    pipe.write(data)
    pipe.flush()


def _result(answer: dict[str, Any]) -> ParsedDocument:
    """The document of an answer, or its error raised."""
    if "document" in answer:
        return ParsedDocument(**answer["document"])
    kind = getattr(exceptions, answer["error"], ParserFailed)
    if kind is ParserFailed:
        logger.warning("%s Cause: %s", answer["message"], answer["details"].get("cause"))
    raise kind(answer["message"], **answer["details"])


#: The one of this process.
shared = Sandbox()
atexit.register(shared.close)
