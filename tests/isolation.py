"""Loaded before Django's settings: tests see a data folder and ports of their own, and no
setting of the person who runs them."""

import os
import socket
import tempfile
from pathlib import Path

OURS = ("KBADMIN_", "DATABASE_URL", "SECRET_KEY", "DEBUG", "HOST", "PORT", "LOG_LEVEL")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
