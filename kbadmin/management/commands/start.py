"""Check what can go wrong, set up what is missing, run chroma, worker and web until stopped."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from honcho.environ import parse_procfile

from kbadmin.bootstrap import welcome
from kbadmin.management.commands.chroma import local_chroma
from kbadmin.supervisor import (
    LAUNCHER,
    STOP_LAST_WAIT,
    Supervisor,
    environment_for_children,
    signal_group,
)

#: Bytes that the data folder needs for the model, the first documents and a little work.
FREE_BYTES = 300 * 1024 * 1024


class Command(BaseCommand):
    help = "Set up what is missing and run chroma, worker and web until Ctrl-C or SIGTERM."
    requires_system_checks = []  # `setup` runs them

    def handle(self, *args: Any, **options: Any) -> None:
        # A service manager that stops a first start in the middle means Ctrl-C, too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with hold_lock(settings.DATA_DIR / "start.lock", settings.PUBLIC_URL) as crashed:
                check_disk(settings.DATA_DIR)
                if crashed:
                    self.stdout.write("The last run was killed; waiting for what is left of it …")
                self.check_ports(patience=STOP_LAST_WAIT if crashed else 0)
                run_setup()
                returncode = self.supervise()
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
            sys.exit(130)
        if returncode:
            sys.exit(returncode)

    def check_ports(self, patience: float) -> None:
        check_port(settings.HOST, settings.PORT, "PORT={port}", patience)
        chroma = local_chroma(settings.CHROMA_URL)
        if chroma is not None:
            host, port = chroma
            check_port(
                host, port, f"KBADMIN_CHROMA_URL=http://{host}:{{port}}", patience, " (for Chroma)"
            )

    def supervise(self) -> int:
        supervisor = Supervisor(stop_last=["chroma"], when_started=welcome)
        procfile = parse_procfile((settings.BASE_DIR / "Procfile").read_text())
        environment = environment_for_children()
        for name, command in procfile.processes.items():
            if name == "chroma" and local_chroma(settings.CHROMA_URL) is None:
                self.stdout.write(f"Chroma is expected at {settings.CHROMA_URL}.")
                continue
            supervisor.add_process(name, command, env=environment, cwd=str(settings.BASE_DIR))
        supervisor.loop()
        return int(supervisor.returncode or 0)


@contextmanager
def hold_lock(path: Path, address: str) -> Iterator[bool]:
    """Let one kbadmin run on a data folder; yields whether the last one was killed.

    The kernel drops the lock with its process, however that dies; the words in the file are
    only for the message, and are taken out by a run that ends well.
    """
    with path.open("a+") as file:
        file.seek(0)
        words = file.read().split()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = f" (process {words[0]}, {words[1]})" if len(words) == 2 else ""
            raise CommandError(
                f"kbadmin already runs on {path.parent}{who}; stop it first, or give this one "
                "a folder and ports of its own: KBADMIN_DATA_DIR, PORT, KBADMIN_CHROMA_URL"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()} {address}\n")
        file.flush()
        try:
            yield bool(words)
        finally:
            file.truncate(0)


def port_problem(host: str, port: int) -> OSError | None:
    """Why nothing could listen there now, or None."""
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            # As servers do: connections that are only fading away are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def check_port(host: str, port: int, remedy: str, patience: float = 0, what: str = "") -> None:
    """Raise a sentence if nothing can listen there, after waiting at most `patience` seconds."""
    deadline = time.monotonic() + patience
    problem = port_problem(host, port)
    while problem is not None and problem.errno == errno.EADDRINUSE and time.monotonic() < deadline:
        time.sleep(0.2)
        problem = port_problem(host, port)
    if problem is None:
        return
    if problem.errno == errno.EADDRINUSE:
        free = next(
            (
                other
                for other in range(port + 1, port + 200)
                if other < 65536 and port_problem(host, other) is None
            ),
            0,
        )
        raise CommandError(
            f"Port {port}{what} is already in use by another program; stop it or choose "
            f"another: {remedy.format(port=free)} make run"
        )
    if problem.errno == errno.EACCES:
        raise CommandError(
            f"Port {port}{what} is reserved for root; choose one above 1023: "
            f"{remedy.format(port=8001)} make run"
        )
    raise CommandError(
        f"HOST: {host} is not an address of this machine ({problem.strerror or problem}); "
        "HOST=127.0.0.1 is this machine only, HOST=0.0.0.0 every network it is in"
    )


def check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise CommandError(
            f"The disk of {folder} is nearly full: {free // 2**20} MB are free, kbadmin needs "
            f"{FREE_BYTES // 2**20}; free some space or set KBADMIN_DATA_DIR to another disk"
        )


def run_setup() -> None:
    """Run `manage.py setup` in a process of its own.

    Preparing the model loads torch, and this process lives on for months beside the others.
    Its own session keeps Ctrl-C from it: it is told to stop, and leaves no stack trace.
    """
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid())]
    setup = subprocess.Popen(  # noqa: S603 - no part of it comes from outside
        [*command, "exec python manage.py setup"],
        stdin=subprocess.DEVNULL,
        env=environment_for_children(),
        cwd=settings.BASE_DIR,
        start_new_session=True,
    )
    try:
        returncode = setup.wait()
    except KeyboardInterrupt:
        # The whole group: exporting the model runs in a process of its own.
        signal_group(setup.pid, signal.SIGTERM)
        setup.wait()
        raise
    if returncode:
        # It has said why.
        sys.exit(returncode if returncode > 0 else 1)
