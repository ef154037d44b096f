"""deploy/fastchat/serve.py: three programs that start, tell and end together."""

import signal
import subprocess
import time

import pytest

from tests.fastchat.conftest import wait_until
from tests.fastchat.environment import PYTHON, ROOT
from tests.isolation import free_port

pytestmark = [pytest.mark.fastchat, pytest.mark.timeout(300)]


def serve(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(PYTHON), "deploy/fastchat/serve.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_whether_a_model_is_served_can_be_asked(fastchat):
    assert serve("--check", fastchat.url).returncode == 0
    away = serve("--check", f"http://127.0.0.1:{free_port()}")
    assert (away.returncode, "Connection refused" in away.stderr) == (1, True)


def test_a_model_that_is_not_there_ends_it_with_what_ended():
    result = serve("--model", "/no/such/model", "--port", str(free_port()))
    assert result.returncode == 1
    assert "FastChat's worker ended" in result.stderr


def test_stopped_nothing_is_left(fastchat):
    fastchat.stop()
    assert fastchat.process.returncode == 0
    pids = fastchat.pids.values()
    wait_until(lambda: not any(map(is_running, pids)), 10, "a process is left")


@pytest.mark.parametrize("how", ["asked twice", "asked while it ends", "killed"])
def test_however_it_ends_no_model_stays_in_memory(fastchat, how):
    process = fastchat.process
    if how == "asked while it ends":
        fastchat.kill("api")
        time.sleep(0.3)
    for _ in range(3):
        process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGTERM)
        time.sleep(0.1)
    process.wait(40)
    pids = fastchat.pids.values()
    wait_until(lambda: not any(map(is_running, pids)), 20, "a process is left")


def is_running(pid: int) -> bool:
    return (
        subprocess.run(["kill", "-0", str(pid)], capture_output=True, check=False).returncode == 0
    )
