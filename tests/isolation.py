"""Loaded before Django's settings: tests see a data folder and ports of their own, and no
setting of the person who runs them."""

import fcntl
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OURS = ("KBADMIN_", "DATABASE_URL", "SECRET_KEY", "DEBUG", "HOST", "PORT", "LOG_LEVEL")


#: Below those that a system gives to outgoing connections and to servers that ask for any port:
#: what was free stays free until the test's own server has started.
PORTS = range(20000, 32000)


def free_port() -> int:
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While what is kept between runs is made in a folder: several processes run tests."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


for name in list(os.environ):
    if name.startswith(OURS):
        del os.environ[name]

DATA_DIR = Path(tempfile.mkdtemp(prefix="kbadmin-test-"))
CHROMA_PORT = free_port()

os.environ["DJANGO_SETTINGS_MODULE"] = "kbadmin.settings"
os.environ["KBADMIN_DATA_DIR"] = str(DATA_DIR)
os.environ["KBADMIN_CHROMA_URL"] = f"http://127.0.0.1:{CHROMA_PORT}"
os.environ["LOG_LEVEL"] = "WARNING"
# A database in a file: the tests' threads and processes each open it for themselves.
os.environ["DATABASE_URL"] = os.environ.get(
    "TEST_DATABASE_URL", f"sqlite:///{DATA_DIR / 'kbadmin.sqlite3'}"
)


def pytest_unconfigure() -> None:
    shutil.rmtree(DATA_DIR, ignore_errors=True)
