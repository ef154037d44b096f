"""What gunicorn's processes share, what they must not, and whom they come before."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from retrieval.embedding import Bundle
from tests.conftest import stop
from tests.isolation import free_port
from tests.processes import children, open_files
from tests.retrieval.installation import Installation, installed
from tests.test_architecture import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def installation(bundle: Bundle, tmp_path: Path) -> Iterator[Installation]:
    with installed(tmp_path / "data", bundle) as made:
        made.environment |= {"KBADMIN_PLUGIN_AUTH": "none", "WEB_CONCURRENCY": "2"}
        yield made


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_model_is_loaded_once_and_nothing_open_is_inherited(
    installation: Installation,
) -> None:
    url = installation.serve()
    arbiter = installation.started[-1].pid
    loaded = Path(f"/proc/{arbiter}/maps").read_text(encoding="ascii")
    assert "onnxruntime" in loaded
    assert not any("sqlite" in name for name in open_files(arbiter))
    # A thread would be missing in its children, with whatever it had locked.
    assert len(list(Path(f"/proc/{arbiter}/task").iterdir())) == 1

    def answers() -> bool:
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.post(f"{url}/search", json={"query": "Any?", "collection": "docs"})
        assert answer.status_code == 200, answer.text
        return not answer.json()["degraded"]

    eventually(lambda: len(children(arbiter)) == 2)
    assert answers()
    killed = children(arbiter)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(children(arbiter) - killed) == 2)
    assert answers()


def test_numpy_has_no_threads_that_wait_for_work() -> None:
    # Set in the tests' own process as soon as it imports what it tests.
    given = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    code = "import os, retrieval, numpy; print(len(os.listdir('/proc/self/task')))"
    output = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=given)
    assert output == b"1\n"


def test_a_search_goes_before_indexing(installation: Installation) -> None:
    def niceness(pid: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, pid)

    worker = installation.start("worker")
    installation.serve()
    arbiter = installation.started[-1].pid
    eventually(lambda: len(children(arbiter)) == 2)
    eventually(lambda: niceness(worker.pid) > niceness(0))
    assert {niceness(pid) for pid in children(arbiter)} == {niceness(0)}


def test_it_starts_without_a_model_and_without_tables(tmp_path: Path) -> None:
    """What is missing is said where somebody reads it; the process stays up."""
    (tmp_path / "data").mkdir()
    empty = Installation(tmp_path / "data", f"http://127.0.0.1:{free_port()}")
    try:
        url = empty.serve()
        with httpx.Client(trust_env=False, timeout=30) as client:
            assert client.get(f"{url}/healthz").is_success
    finally:
        for process in empty.started:
            stop(process)
