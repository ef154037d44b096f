"""A real FastChat with a tiny model, and kbadmin's web server in front of it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from openai import DefaultHttpxClient, OpenAI

from retrieval.embedding import Bundle
from tests.conftest import stop
from tests.fastchat.environment import MODEL, PYTHON, ROOT
from tests.isolation import free_port
from tests.retrieval.installation import Installation, installed

KEY = "kb_fastchat_0123456789abcdefghij"
NAME = "tiny"
DOCUMENTS = {
    "tar.md": "# Archives with tar\n\nExtract an archive with `tar -xf archive.tar`.\n",
    "backup.md": "# Backup of the database\n\nA backup is written every night at 02:30.\n",
    # Passages for the whole of the budget.
    "trains.md": "# Trains\n\n"
    + "".join(
        f"## Rule {number}\n\n"
        + f"Trains of rule {number} are booked early, at the desk, by whoever travels. " * 12
        + "\n\n"
        for number in range(20)
    ),
}
ADD_KEY = f"from retrieval.models import ApiKey; ApiKey.issue('test', {KEY!r})"


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class FastChat:
    """The three processes that deploy/fastchat/serve.py starts; stopped, they can start again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "fastchat.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.pids: dict[str, int] = {}

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(str(PYTHON), "deploy/fastchat/serve.py", "--model", str(MODEL)),
                    *("--name", NAME, "--port", str(self.port)),
                ],
                cwd=ROOT,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        process = self.process

        def is_up() -> bool:
            assert process.poll() is None, self.log.read_text()
            return "FastChat serves" in self.log.read_text()

        wait_until(is_up, 180, "FastChat did not start")
        (line,) = re.findall(r"^FastChat serves .*\((.*)\)$", self.log.read_text(), re.M)
        self.pids = {name: int(pid) for name, pid in re.findall(r"(\w+) (\d+)", line)}

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)

    def kill(self, name: str) -> None:
        """kill -9 one of `controller`, `worker`, `api`; the others then end by themselves."""
        os.kill(self.pids[name], signal.SIGKILL)

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def at_work(self) -> int:
        """Generations that its worker works on now."""
        command = Path(f"/proc/{self.pids['worker']}/cmdline").read_bytes().decode().split("\0")
        address = command[command.index("--worker-address") + 1]
        answer = httpx.post(f"{address}/worker_get_status", timeout=10, trust_env=False)
        return int(answer.json()["queue_length"])

    def cpu_seconds(self) -> float:
        """Time that its worker has computed for."""
        fields = Path(f"/proc/{self.pids['worker']}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastChat]:
    if not sys.platform.startswith("linux"):
        pytest.fail("these tests read /proc, as the machines that run them have")
    if not PYTHON.exists():
        pytest.fail("FastChat is not installed; make test-fastchat does it")
    server = FastChat(tmp_path_factory.mktemp("fastchat"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def fastchat(started: FastChat) -> FastChat:
    """FastChat, up, whatever the test before did to it."""
    if started.has_ended():
        started.start()
    return started


@pytest.fixture(scope="session")
def installation(
    started: FastChat, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("kbadmin")
    with installed(folder, bundle) as kbadmin:
        kbadmin.environment |= {
            "KBADMIN_UPSTREAM_URL": f"{started.url}/v1",
            "KBADMIN_UPSTREAM_TIMEOUT": "60",
            "LOG_LEVEL": "INFO",
        }
        documents = folder / "documents"
        documents.mkdir()
        for name, text in DOCUMENTS.items():
            (documents / name).write_text(text)
        kbadmin.run("ingest", str(documents), "--collection", "docs", "--wait")
        kbadmin.run("shell", "-v", "0", "-c", ADD_KEY)
        kbadmin.serve()
        yield kbadmin


@pytest.fixture
def url(installation: Installation, fastchat: FastChat) -> str:
    """Where kbadmin answers, with FastChat up behind it."""
    return f"http://127.0.0.1:{installation.port}"


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    """The official client, at the gateway."""
    with DefaultHttpxClient(trust_env=False, timeout=120) as http:
        yield OpenAI(base_url=f"{url}/v1", api_key=KEY, http_client=http, max_retries=0)


@pytest.fixture
def direct(fastchat: FastChat) -> Iterator[OpenAI]:
    """The official client, at FastChat itself."""
    with DefaultHttpxClient(trust_env=False, timeout=120) as http:
        yield OpenAI(base_url=f"{fastchat.url}/v1", api_key="none", http_client=http, max_retries=0)
