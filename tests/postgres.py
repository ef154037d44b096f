"""A PostgreSQL server of the test run's own, from the binaries that Debian installs."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

USER = "kbadmin"
#: Debian keeps the programs of a server off PATH, because several versions may stand side by side.
DEBIAN = Path("/usr/lib/postgresql")


def find_binaries(debian: Path = DEBIAN) -> Path | None:
    """The folder of `initdb` and `postgres`, of the newest version if there are several."""
    folders = sorted(debian.glob("*/bin"), key=lambda folder: float(folder.parent.name))
    if on_path := shutil.which("initdb"):
        folders.insert(0, Path(on_path).resolve().parent)
    complete = [
        folder
        for folder in folders
        if (folder / "initdb").exists() and (folder / "postgres").exists()
    ]
    return complete[-1] if complete else None


def binaries_or_leave_out() -> Path:
    """The folder of the programs. Skips the test without them; where CI is set, fails it."""
    binaries = find_binaries()
    if binaries is None:
        reason = "LEFT OUT: PostgreSQL is not installed (Debian's package postgresql)"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return binaries


@contextmanager
def running_postgres(binaries: Path) -> Iterator[str]:
    """Start a server with an empty cluster; yields its address as a DATABASE_URL."""
    # Not below the data folder of the tests, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="kbadmin-postgres-"))
    try:
        with _server(binaries, folder):
            yield f"postgres://{USER}@{quote(str(folder), safe='')}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _server(binaries: Path, folder: Path) -> Iterator[None]:
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        entry = _unprivileged()
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    log = folder / "log"
    with log.open("wb") as output:
        common: dict[str, Any] = {"cwd": folder, "stdout": output, "stderr": output, **account}
        made = subprocess.run(
            [
                *(binaries / "initdb", "--pgdata", folder / "cluster", "--username", USER),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
            ],
            **common,
        )
        assert made.returncode == 0, f"initdb failed:\n{log.read_text(errors='replace')}"
        options = {
            # A socket in a folder that nobody else may enter: no port to collide on.
            "unix_socket_directories": folder,
            "listen_addresses": "",
            # What is lost with the machine is only a test's.
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
        }
        process = subprocess.Popen(
            [
                *(binaries / "postgres", "-D", folder / "cluster"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            **common,
        )
    try:
        _wait_until_it_answers(process, folder, log)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # its fast shutdown: clients are cut off
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("neither user postgres nor nobody exists to run PostgreSQL as")


def _wait_until_it_answers(process: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            psycopg.connect(host=str(folder), user=USER, dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, (
                f"PostgreSQL did not start:\n{log.read_text(errors='replace')}"
            )
            time.sleep(0.05)
    raise AssertionError(f"PostgreSQL did not answer:\n{log.read_text(errors='replace')}")
