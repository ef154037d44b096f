"""Keeps the processes of one machine running, on top of honcho.

honcho starts the lines of the Procfile, merges their output and stops everything when one of
them ends. Here a process that dies is started again, because nobody may be there to do it;
and Chroma, which damages its files when it is killed while it persists, is stopped last and
given time.

honcho watches each process from a process of its own. Here threads do that: a watcher that
somebody kills cannot take the shared queue's lock with it, and there is less to run.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from honcho.manager import Manager
from honcho.printer import Message, Printer
from honcho.process import Popen, Process

#: Seconds after which a process counts as well, and its next death as its first.
WELL_AFTER = 10.0
#: A process that never was well and dies this often within this many seconds is given up.
MAX_DEATHS = 5
DEATHS_WITHIN = 60.0
#: Seconds until the next start: doubled for each death in a row, up to the longest.
FIRST_DELAY = 0.5
LONGEST_DELAY = 10.0
#: Seconds that a process gets to end after SIGTERM: those that serve, and then Chroma.
STOP_WAIT = 15.0
STOP_LAST_WAIT = 30.0
#: Seconds that what a dead process left behind gets before it is killed: it may hold the port.
LEFTOVER_WAIT = 2.0

#: Runs a command line so that it is told to stop when its supervisor dies, however that
#: happens (Linux only). Not a preexec_fn, which is unsafe in a process with threads.
LAUNCHER = """
import os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(1)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv("/bin/sh", ["sh", "-c", command])
"""


def describe_end(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


def signal_group(pid: int, signum: int) -> bool:
    """Signal every process of a group; False if none is left."""
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group that only has zombies
        return False
    return True


class LastingPrinter(Printer):  # type: ignore[misc]  # honcho has no types
    """Goes on when nobody reads any more: a closed terminal must not end the service."""

    def write(self, message: Message) -> None:
        try:
            super().write(message)
        except (OSError, ValueError):
            return


class LastingProcess(Process):  # type: ignore[misc]  # honcho has no types
    """A honcho process that is started again when it dies, until it is told to stop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gave_up = False
        self._events: queue.Queue[Message] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._was_well = False

    def run(
        self, events: "queue.Queue[Message] | None" = None, ignore_signals: bool = False
    ) -> None:
        self._events = events
        deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        in_a_row = 0
        returncode = 0
        while True:
            started = time.monotonic()
            ended = self._run_once()
            if ended is None:
                break
            returncode = ended
            if self._stopping.is_set():
                break
            now = time.monotonic()
            if now - started >= WELL_AFTER:
                self._was_well = True
                in_a_row = 0
                deaths.clear()
            in_a_row += 1
            if returncode != -signal.SIGKILL:
                # Somebody's kill -9, or a machine out of memory, is not the process's fault.
                deaths.append(now)
            if (
                not self._was_well
                and len(deaths) == MAX_DEATHS
                and now - deaths[0] <= DEATHS_WITHIN
            ):
                self.gave_up = True
                self._say(
                    f"{self.name} {describe_end(returncode)} and died {MAX_DEATHS} times "
                    "without ever staying up; giving up, see its last lines above\n"
                )
                break
            delay = min(FIRST_DELAY * 2 ** (in_a_row - 1), LONGEST_DELAY)
            self._say(f"{self.name} {describe_end(returncode)}; it starts again in {delay:g} s\n")
            if self._stopping.wait(delay):
                break
        self._send_message({"returncode": returncode}, type="stop")

    def _run_once(self) -> int | None:
        """Start the command and wait for its end; None if it was told to stop before."""
        with self._lock:
            if self._stopping.is_set():
                return None
            child: subprocess.Popen[bytes] = Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), self.cmd],
                shell=False,
                stdin=subprocess.DEVNULL,
                env=self.env,
                cwd=self.cwd,
            )
            self._child = child
        self._send_message({"pid": child.pid}, type="start")
        # Apart from the wait: what a dead process leaves behind may hold its output open.
        reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        reader.start()
        returncode = child.wait()
        self._end_leftovers(child.pid)
        reader.join(timeout=1)
        return returncode

    def _read(self, child: "subprocess.Popen[bytes]") -> None:
        assert child.stdout is not None  # noqa: S101 - honcho's Popen always pipes it
        with child.stdout as stdout:
            for line in iter(stdout.readline, b""):
                if line.strip() and not self.quiet:
                    self._send_message(line)

    def _end_leftovers(self, group: int) -> None:
        """End the children of a dead process: a gunicorn worker would keep the port."""
        deadline = time.monotonic() + LEFTOVER_WAIT
        left = signal_group(group, signal.SIGTERM)
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = signal_group(group, 0)
        if left:
            signal_group(group, signal.SIGKILL)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """Ask the process to end, and do not start it again."""
        self._stopping.set()
        with self._lock:
            child = self._child
        if child is not None and child.poll() is None:
            signal_group(child.pid, signum)

    def _say(self, text: str) -> None:
        self._send_message(text, type="say")

    def _send_message(self, data: Any, type: str = "line") -> None:
        if self._events is None:
            return
        message = Message(type, data, self._clock.now(), self.name, self.colour)
        if type != "line":
            self._events.put(message)
            return
        try:
            # A terminal that stands still must not hold up the services behind it.
            self._events.put(message, timeout=5)
        except queue.Full:
            return


class Supervisor(Manager):  # type: ignore[misc]  # honcho has no types
    """Runs processes until SIGINT, SIGTERM or SIGHUP, or until one of them is hopeless.

    `stop_last` names those that end after all others are gone. `when_started` runs in a
    thread of its own; it is given a function that prints a text and an event that is set when
    everything stops.
    """

    def __init__(
        self,
        printer: Printer | None = None,
        stop_last: Collection[str] = (),
        when_started: Callable[[Callable[[str], None], threading.Event], None] | None = None,
    ) -> None:
        super().__init__(printer if printer is not None else LastingPrinter(sys.stdout))
        self.returncode: int | None = None
        self.events: queue.Queue[Message] = queue.Queue(maxsize=10_000)
        self.stopping = threading.Event()
        self._process_ctor = LastingProcess
        self._stop_last = stop_last
        self._when_started = when_started
        self._threads: dict[str, threading.Thread] = {}

    def loop(self) -> None:
        """Run until everything has ended; `returncode` then says how it went."""
        self._install_signals()
        self._start()
        if self._when_started is not None:
            threading.Thread(
                target=self._when_started, args=(self.announce, self.stopping), daemon=True
            ).start()
        while True:
            try:
                # Short, because a signal only wakes the main thread between two waits.
                message = self.events.get(timeout=0.1)
            except queue.Empty:
                if not any(thread.is_alive() for thread in self._threads.values()):
                    break
                continue
            self._handle(message)
        if self.returncode is None:
            self.returncode = 0

    def announce(self, text: str) -> None:
        """Print lines as they are, without time and name, from any thread."""
        self.events.put(Message("announce", text, self._clock.now(), "", None))

    def terminate(self) -> None:
        """Stop everything, in order; returns at once."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        threading.Thread(target=self._stop_in_order, daemon=True).start()

    def _install_signals(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup asks to go on when the terminal closes.
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: object) -> None:
        # In a handler nothing may wait for a lock that the interrupted code holds.
        threading.Thread(target=self._stop_for, args=(signum,), daemon=True).start()

    def _stop_for(self, signum: int) -> None:
        name = signal.Signals(signum).name
        if self.stopping.is_set():
            self._say(f"{name} received; already stopping, Chroma may take a moment to save\n")
            return
        self._say(f"{name} received, stopping\n")
        self.terminate()

    def _start(self) -> None:
        for name, entry in self._processes.items():
            self._threads[name] = threading.Thread(
                target=entry["obj"].run, args=(self.events,), name=name, daemon=True
            )
            self._threads[name].start()

    def _handle(self, message: Message) -> None:
        if message.type == "line":
            self._printer.write(message)
        elif message.type == "say":
            self._system_print(message.data)
        elif message.type == "start":
            self._system_print(f"{message.name} started (pid {message.data['pid']})\n")
        elif message.type == "announce":
            try:
                print(message.data, file=self._printer.output, flush=True)
            except (OSError, ValueError):
                return
        elif message.type == "stop":
            self._system_print(f"{message.name} stopped\n")
            if not self.stopping.is_set():
                # Only a process that was given up ends by itself.
                self.returncode = 1
                self.terminate()

    def _say(self, text: str) -> None:
        self.events.put(Message("say", text, self._clock.now(), "", None))

    def _stop_in_order(self) -> None:
        last = [name for name in self._processes if name in self._stop_last]
        self._stop([name for name in self._processes if name not in last], STOP_WAIT)
        self._stop(last, STOP_LAST_WAIT)

    def _stop(self, names: list[str], seconds: float) -> None:
        for name in names:
            self._processes[name]["obj"].stop()
        deadline = time.monotonic() + seconds
        for name in names:
            self._threads[name].join(timeout=max(0.0, deadline - time.monotonic()))
        for name in names:
            if self._threads[name].is_alive():
                self._say(f"{name} did not stop within {seconds:g} s, killing it\n")
                self._processes[name]["obj"].stop(signal.SIGKILL)
                self._threads[name].join(timeout=LEFTOVER_WAIT + 2)


def environment_for_children() -> dict[str, str]:
    """This process's environment, with its own Python first and its output unbuffered."""
    environment = dict(os.environ)
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(filter(None, [programs, environment.get("PATH")]))
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
