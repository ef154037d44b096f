"""The supervisor, with real processes that are really killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kbadmin.supervisor import MAX_DEATHS, describe_end

ROOT = Path(__file__).resolve().parent.parent

#: Runs the processes named in argv as `name=command`, with short waits.
DRIVER = """
import sys
from kbadmin import supervisor
supervisor.FIRST_DELAY = 0.05
supervisor.LONGEST_DELAY = 0.2
supervisor.STOP_WAIT = 1.0
supervisor.STOP_LAST_WAIT = 3.0
manager = supervisor.Supervisor(
    stop_last=["chroma"],
    when_started=lambda announce, stopping: announce("WELCOME"),
)
for argument in sys.argv[1:]:
    name, command = argument.split("=", 1)
    manager.add_process(name, command, env=supervisor.environment_for_children())
manager.loop()
sys.exit(manager.returncode)
"""

SLEEPER = "exec sleep 300"


class Running:
    """A supervisor in a process of its own, with what it printed."""

    def __init__(self, folder: Path, *processes: str) -> None:
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, *processes],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, times: int = 1, seconds: float = 15) -> str:
        deadline = time.monotonic() + seconds
        while self.output.count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            time.sleep(0.02)
        return self.output

    def pids(self, name: str) -> list[int]:
        """Process ids of every start of a process, oldest first."""
        marker = f"{name} started (pid "
        return [
            int(line.split(marker)[1].rstrip(")"))
            for line in self.output.splitlines()
            if marker in line
        ]

    def pid_of_start(self, name: str, number: int) -> int:
        self.wait_for(f"{name} started (pid ", times=number)
        return self.pids(name)[number - 1]

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(timeout=20)


@pytest.fixture
def run(tmp_path):
    started: list[Running] = []

    def start(*processes: str) -> Running:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Running(folder, *processes))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie whose parent is slow to look counts as gone.
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_until_gone(pid: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def test_a_process_killed_with_kill_9_is_started_again(run):
    running = run(f"web={SLEEPER}", f"worker={SLEEPER}")
    first = running.pid_of_start("web", 1)
    other = running.pid_of_start("worker", 1)
    os.kill(first, signal.SIGKILL)
    second = running.pid_of_start("web", 2)
    assert second != first
    assert is_alive(second)
    assert is_alive(other), "the others are left alone"
    assert "web was ended by SIGKILL; it starts again in" in running.output


def test_kill_9_is_survived_more_often_than_a_broken_process(run):
    running = run(f"web={SLEEPER}")
    for number in range(1, MAX_DEATHS + 3):
        os.kill(running.pid_of_start("web", number), signal.SIGKILL)
    assert is_alive(running.pid_of_start("web", MAX_DEATHS + 3))


def test_a_process_that_never_stays_up_is_given_up_by_name(run):
    running = run("web=exit 7", f"worker={SLEEPER}")
    worker = running.pid_of_start("worker", 1)
    assert running.process.wait(timeout=20) == 1
    sentence = f"web ended with exit code 7 and died {MAX_DEATHS} times without ever staying up"
    assert sentence in running.output
    assert len(running.pids("web")) == MAX_DEATHS
    assert not is_alive(worker), "the others are stopped"
    assert "Traceback" not in running.output


def test_what_a_dead_process_leaves_behind_is_ended(run):
    # The shell dies, its child ignores SIGTERM and would keep the port.
    running = run("web=trap '' TERM; sleep 300 & echo child $! ; wait")
    first = running.pid_of_start("web", 1)
    child = int(running.wait_for("child ").split("child ")[1].split()[0])
    os.kill(first, signal.SIGKILL)
    running.pid_of_start("web", 2)
    wait_until_gone(child)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_cleanly(run, signum):
    running = run(f"web={SLEEPER}", f"chroma={SLEEPER}")
    pids = [running.pid_of_start(name, 1) for name in ("web", "chroma")]
    assert running.stop(signum) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert f"{signal.Signals(signum).name} received, stopping" in running.output
    assert "starts again" not in running.output


def test_chroma_is_asked_to_stop_after_the_others_are_gone(run):
    def slow(name: str) -> str:
        return (
            f"{name}=trap 'echo {name} asked; sleep 0.4; echo {name} saved; exit 0' TERM; "
            f"echo {name} ready; while :; do sleep 0.05; done"
        )

    running = run(slow("chroma"), slow("web"))
    running.wait_for("chroma ready")
    running.wait_for("web ready")
    assert running.stop() == 0
    order = ("web asked", "web saved", "chroma asked", "chroma saved")
    positions = [running.output.find(text) for text in order]
    assert -1 not in positions
    assert positions == sorted(positions)


def test_chroma_gets_longer_to_persist_than_the_others(run):
    deaf = "trap '' TERM; echo {0} ready; sleep 300"
    saving = (
        "trap 'sleep 1.6; echo chroma saved; exit 0' TERM; echo chroma ready; "
        "while :; do sleep 0.05; done"
    )
    running = run(f"web={deaf.format('web')}", f"chroma={saving}")
    running.wait_for("web ready")
    running.wait_for("chroma ready")
    running.stop()
    assert "web did not stop within 1 s, killing it" in running.output
    assert "chroma saved" in running.output


def test_a_second_interrupt_leaves_no_stack_trace(run):
    running = run(
        "chroma=trap 'sleep 1; echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    )
    running.wait_for("ready")
    running.process.send_signal(signal.SIGINT)
    running.wait_for("SIGINT received, stopping")
    running.process.send_signal(signal.SIGINT)
    running.wait_for("already stopping")
    assert running.process.wait(timeout=20) == 0
    assert "saved" in running.output
    assert "Traceback" not in running.output


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of this")
def test_no_process_outlives_a_supervisor_killed_with_kill_9(run):
    running = run(f"web={SLEEPER}", f"chroma={SLEEPER}")
    pids = [running.pid_of_start(name, 1) for name in ("web", "chroma")]
    running.process.kill()
    running.process.wait()
    for pid in pids:
        wait_until_gone(pid)


def test_the_closing_lines_are_printed_without_time_and_name(run):
    running = run(f"web={SLEEPER}")
    assert "WELCOME" in running.wait_for("WELCOME\n").splitlines()


def test_a_closed_output_does_not_stop_the_processes(run, tmp_path):
    alive = tmp_path / "alive"
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, f"web=while :; do date >{alive}; echo x; sleep 0.05; done"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        time.sleep(0.5)
        alive.unlink(missing_ok=True)
        deadline = time.monotonic() + 10
        while not alive.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_an_end_is_described_in_words():
    assert describe_end(3) == "ended with exit code 3"
    assert describe_end(-signal.SIGTERM) == "was ended by SIGTERM"
