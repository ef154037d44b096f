"""kbadmin's processes as children of the drill, which kills them and starts them again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Seconds that a process may take to stop when it is asked to.
STOP_WITHIN = 60.0


@dataclass(slots=True)
class Service:
    """One process that is wanted up or down."""

    name: str
    command: list[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    kills: int = 0
    ended: list[int] = field(default_factory=list)  #: return codes of ends that nobody asked for

    def start(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own: gunicorn's processes are killed together.
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> bool:
        """SIGKILL, for the process and its children; False if it was not up."""
        if self.process is None or not self.is_up:
            return False
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.kills += 1
        return True

    def stop(self) -> None:
        """SIGTERM, as a person who stops kbadmin does."""
        if self.process is None:
            return
        if self.is_up:
            self.process.terminate()
            try:
                self.process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None

    def revive(self) -> int | None:
        """Start it again if it has failed by itself; returns how it had ended."""
        if self.process is None or self.is_up or not self.process.returncode:
            return None
        code = self.process.returncode
        self.ended.append(code)
        self.start()
        return code


def services(logs: Path) -> dict[str, Service]:
    """The three of the Procfile."""
    python, here = sys.executable, Path(sys.executable).parent
    commands = {
        "chroma": [python, "manage.py", "chroma"],
        "worker": [python, "manage.py", "worker"],
        "web": [str(here / "gunicorn"), "--config", "deploy/gunicorn.conf.py", "kbadmin.wsgi"],
    }
    return {
        name: Service(name, command, logs / f"{name}.log") for name, command in commands.items()
    }


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.2) -> bool:
    """Whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
