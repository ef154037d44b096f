"""A file that hangs a parser, eats its memory or kills it harms nothing but itself."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.exceptions import NoText, ParseCrashed, ParseOutOfMemory, ParseTimeout
from retrieval.parsers import Limits, parse
from retrieval.parsers.sandbox import Sandbox, parse_isolated, shared
from tests.retrieval.parsers import samples

ROOT = Path(__file__).resolve().parents[3]
#: Takes a parser many seconds.
SLOW_PAGE = b"<html><body>" + b"<p>some <b>words</b></p>" * 100_000
SMALL = Limits()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    yield made
    made.close()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


def test_it_reads_what_the_parser_reads(sandbox):
    data = samples.word(title="备份 “\U0001f4be”")
    assert sandbox.parse("a.docx", data, SMALL, {}, 60) == parse("a.docx", data)


def test_errors_come_across_with_their_details(sandbox):
    with pytest.raises(NoText, match="is this a scan"):
        sandbox.parse("a.pdf", samples.scanned_pdf(), SMALL, {}, 60)


def test_a_slow_file_is_stopped_and_the_next_is_read(sandbox):
    sandbox.parse("a.pdf", samples.simple_pdf(), SMALL, {}, 60)
    before, started = sandbox.pid, time.monotonic()
    with pytest.raises(ParseTimeout, match="KBADMIN_MAX_PARSE_SECONDS"):
        sandbox.parse("slow.html", SLOW_PAGE, SMALL, {}, 0.5)
    assert time.monotonic() - started < 10
    assert not is_alive(before)
    assert "Backups" in sandbox.parse("a.pdf", samples.simple_pdf(), SMALL, {}, 60).text


def test_a_file_that_eats_memory_is_stopped(sandbox):
    with pytest.raises(ParseOutOfMemory, match="KBADMIN_MAX_PARSE_MEMORY"):
        sandbox.parse("a.html", SLOW_PAGE, Limits(memory_bytes=140 * 1024**2), {}, 60)


def test_a_parser_that_crashes_fails_that_file_alone(sandbox):
    sandbox.parse("a.pdf", samples.simple_pdf(), SMALL, {}, 60)
    killer = threading.Timer(0.3, os.kill, (sandbox.pid, signal.SIGSEGV))
    killer.start()
    with pytest.raises(ParseCrashed, match="signal 11"):
        sandbox.parse("a.html", SLOW_PAGE, SMALL, {}, 60)
    assert sandbox.parse("a.pdf", samples.simple_pdf(), SMALL, {}, 60).title == "a"


def test_one_child_reads_many_files(sandbox):
    pids = set()
    for _ in range(3):
        sandbox.parse("a.pdf", samples.simple_pdf(), SMALL, {}, 60)
        pids.add(sandbox.pid)
    assert len(pids) == 1


def test_small_light_files_need_no_child(sandbox):
    before = shared.pid
    assert parse_isolated("a.md", b"# Title\n\ntext").title == "Title"
    assert shared.pid == before


PROGRAM = """
import sys, threading, time
sys.path.insert(0, {root!r})
from retrieval.parsers.sandbox import shared
from retrieval.parsers import Limits
from tests.retrieval.parsers.samples import simple_pdf
shared.parse("a.pdf", simple_pdf(), Limits(), {{}}, 60)
print(shared.pid, flush=True)
if {busy}:
    shared.parse("a.html", b"<p>some <b>words</b></p>" * 100_000, Limits(), {{}}, 60)
time.sleep(60)
"""


@pytest.mark.parametrize("busy", [False, True])
def test_the_child_ends_with_its_parent(busy):
    program = PROGRAM.format(root=str(ROOT), busy=busy)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        time.sleep(0.5)
        assert is_alive(child)
        parent.kill()
    assert wait_until_gone(child)


def test_parsers_load_nothing_heavy_before_it_is_needed():
    program = (
        "import sys, retrieval.parsers, retrieval.parsers.sandbox; "
        "print([m for m in sys.modules if m in {'markitdown', 'bs4', 'openpyxl', 'pptx', "
        "'pypdfium2', 'lxml', 'pandas', 'onnxruntime', 'django'}])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
