"""The process in which files are parsed: `python -m retrieval.parsers.child`.

Requests come on stdin, answers go to stdout, each a line of JSON; a file's bytes follow its
request. It ends when its parent does: the pipe closes, or the parent's number changes while
a parser is busy; a parser that lets no other thread run is ended by its limit of CPU seconds.
"""

import dataclasses
import gc
import importlib
import json
import math
import os
import resource
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from retrieval.exceptions import KnowledgeBaseError
from retrieval.parsers import parse
from retrieval.parsers.limits import Limits
from retrieval.parsers.sandbox import out_of_memory, send

LIBRARIES = ("html", "pdf", "word", "slides", "workbook")
PARENT_CHECK = 1.0
#: Seconds of CPU beyond the time that the parent gives: it is the one to decide.
CPU_GRACE = 5


def main() -> None:
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    requests: BinaryIO = sys.stdin.buffer
    # A library that prints must not write into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while line := requests.readline():
        request = json.loads(line)
        if "memory" in request:
            _prepare(request["memory"])
            send(answers, {"ready": True})
            continue
        data = requests.read(request["size"])
        if len(data) < request["size"]:
            return
        send(answers, _answer(request, data))
        del data
        gc.collect()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK)
    os._exit(1)


def _prepare(memory: int) -> None:
    """Load what is heavy, then bound what may be added to it."""
    for name in LIBRARIES:
        importlib.import_module(f"retrieval.parsers.{name}")
    importlib.import_module("markitdown.converters")
    gc.freeze()
    with suppress(OSError, ValueError, IndexError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
        loaded = int(pages) * resource.getpagesize()
        # The parent watches the memory itself; this is for what grows faster than it looks.
        resource.setrlimit(resource.RLIMIT_AS, (loaded + 2 * memory, loaded + 2 * memory))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _bound_cpu(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds) + CPU_GRACE
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def _answer(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    limits = Limits(**request["limits"])
    _bound_cpu(request["seconds"])
    try:
        parsed = parse(request["filename"], data, limits=limits, options=request["options"])
        return {"document": dataclasses.asdict(parsed)}
    except KnowledgeBaseError as error:
        return _failure(type(error).__name__, error.message, error.details)
    except MemoryError:
        return _failure("ParseOutOfMemory", out_of_memory(limits).message, {})
    except Exception as error:  # noqa: BLE001  the outermost loop of this process
        return _failure(
            "ParserFailed",
            f"This file could not be read ({type(error).__name__}). Open it, save it again or in "
            "another format, and upload that.",
            {"cause": str(error)[:500]},
        )


def _failure(kind: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    safe = {
        name: value if isinstance(value, int | float | str | None) else str(value)
        for name, value in details.items()
    }
    return {"error": kind, "message": message, "details": safe}


if __name__ == "__main__":
    main()
