"""A whole installation of a test's own: data folder, database, Chroma, real processes."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from retrieval.embedding import Bundle
from tests.conftest import start_chroma, stop
from tests.isolation import free_port
from tests.test_architecture import ROOT

CREATE = """
from django.conf import settings
from retrieval.collections import create_collection, prepare_model
prepare_model(settings.EMBEDDING_MODEL, print)
create_collection(slug="docs", title="Docs")
"""


class Installation:
    def __init__(self, folder: Path, chroma_url: str) -> None:
        self.chroma_url = chroma_url
        self.port = free_port()
        self.database = folder / "kbadmin.sqlite3"
        self.started: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
            "KBADMIN_DATA_DIR": str(folder),
            "KBADMIN_CHROMA_URL": chroma_url,
            "KBADMIN_LEASE_SECONDS": "5",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "1",
            "LOG_LEVEL": "ERROR",
        }

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command of manage.py."""
        return self._start(["-W", "ignore", "manage.py", *arguments], stdout=subprocess.DEVNULL)

    def serve(self) -> str:
        """Start the web process; returns its address once it answers."""
        command = ["-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "kbadmin.wsgi"]
        process = self._start(command, stdout=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{self.port}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=8), trust_env=False) as client:
            assert client.get(f"{url}/healthz", timeout=60).is_success
        assert process.poll() is None
        return url

    def _start(self, arguments: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=self.environment, **options
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, expected: int = 0) -> str:
        """Run a command of manage.py to its end; returns what it printed."""
        process = self._start(
            ["-W", "ignore", "manage.py", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = process.communicate(timeout=800)
        assert process.returncode == expected, output.decode() + errors.decode()
        return output.decode()

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.database, timeout=20)) as database:
            return database.execute(query).fetchall()

    def in_chroma(self) -> list[str]:
        """Ids of every record of every collection, over plain HTTP."""
        base = f"{self.chroma_url}/api/v2/tenants/default_tenant/databases/default_database"
        ids: list[str] = []
        with httpx.Client(trust_env=False, timeout=30) as client:
            for found in client.get(f"{base}/collections").json():
                address = f"{base}/collections/{found['id']}/get"
                ids += client.post(address, json={"limit": 10000, "include": []}).json()["ids"]
        return ids


@contextmanager
def installed(folder: Path, bundle: Bundle, also: str = "") -> Iterator[Installation]:
    """An installation with a prepared model and an empty collection `docs`, stopped at the end.

    `also` is Python that is run in it once the collection is there.
    """
    (folder / "models").mkdir(parents=True)
    (folder / "models" / bundle.folder.name).symlink_to(bundle.folder)
    port = free_port()
    chroma = start_chroma(folder / "chroma", port)
    installation = Installation(folder, f"http://127.0.0.1:{port}")
    try:
        installation.run("migrate", "-v", "0")
        installation.run("shell", "-v", "0", "-c", CREATE + also)
        yield installation
    finally:
        for process in installation.started:
            if process.poll() is None:
                stop(process)
        stop(chroma)
