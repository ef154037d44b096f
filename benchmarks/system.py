"""A kbadmin of its own for a measurement: data folder, ports, processes, CPU time."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Digest of what makes a graph.
EXPORTER = hashlib.sha256(
    b"".join(
        (ROOT / "retrieval" / "embedding" / name).read_bytes() for name in ("export.py", "graph.py")
    )
).hexdigest()
#: The default model, kept between runs of benchmarks and tests, for exporting it takes a quarter
#: of a minute. Another exporter makes another one, so that nobody measures what is made no more.
MODEL_CACHE = ROOT / "build" / "test-models" / EXPORTER[:12]
OURS = ("KBADMIN_", "DATABASE_URL", "SECRET_KEY", "DEBUG", "HOST", "PORT", "LOG_LEVEL", "WEB_")


BUSY = "from retrieval.models import Revision; print(Revision.objects.unfinished().count())"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(folder: Path, chroma_port: int) -> dict[str, str]:
    """Nothing of the person's own settings, no network, a folder of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    return kept | {
        "DJANGO_SETTINGS_MODULE": "kbadmin.settings",
        "KBADMIN_DATA_DIR": str(folder),
        "KBADMIN_CHROMA_URL": f"http://127.0.0.1:{chroma_port}",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "LOG_LEVEL": "WARNING",
    }


def run(command: list[str], env: Mapping[str, str]) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def shell(code: str, env: Mapping[str, str]) -> str:
    """What some code prints that runs with kbadmin's models."""
    return run(["manage.py", "shell", "-v", "0", "-c", code], env).strip()


def last_json(output: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return record


@contextmanager
def running(command: list[str], env: Mapping[str, str]) -> Iterator[int]:
    """A process beside; yields its id."""
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env) as process:
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)


def wait_for_chroma(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def copy_model(target: Path) -> None:
    """The default model, exported once for all runs."""
    code = (
        "from retrieval import embedding; from pathlib import Path; import sys; "
        "print(embedding.prepare('sentence-transformers/all-MiniLM-L6-v2', "
        "Path(sys.argv[1]), lambda line: None).folder)"
    )
    folder = run(["-c", code, str(MODEL_CACHE)], os.environ).strip()
    shutil.copytree(folder, target / Path(folder).name)


def set_up(data: Path, models: Path, slug: str, env: Mapping[str, str]) -> None:
    """A new data folder with a prepared model and an empty collection."""
    data.mkdir()
    shutil.copytree(models, data / "models")
    run(["manage.py", "setup"], env)
    shell(
        "from retrieval.collections import create_collection; "
        f"create_collection(slug={slug!r}, title='Benchmark')",
        env,
    )


def wait_until_indexed(env: Mapping[str, str]) -> None:
    """The first start has documents of its own: they are none of a measurement."""
    while shell(BUSY, env) != "0":
        time.sleep(1)


def ingest(notes: Path, slug: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Bring notes in with the command, and wait until they can be searched; its report."""
    report: dict[str, Any] = json.loads(
        run(["manage.py", "ingest", str(notes), "--collection", slug, "--wait", "--json"], env)
    )
    assert report["added"] and not report["failed"], report
    return report


def family(pid: int) -> list[int]:
    """A process and all that it started, and those again; itself alone without /proc."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue  # it ended meanwhile
    found = [pid]
    for member in found:  # grows while it is read
        found += [child for child, parent in parents.items() if parent == member]
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time that processes have used; 0 where /proc does not tell."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        total += sum(map(int, fields[11:15]))  # with the children it has waited for
    return total / os.sysconf("SC_CLK_TCK")


def machine_seconds() -> float:
    """CPU time that the whole machine has spent on anything, on all cores; 0 without /proc."""
    try:
        user, nice, system, _, _, irq, softirq, *_ = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        )
    except OSError:
        return 0.0
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """The facts that a number depends on."""
    model = memory = "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = f"{size / 2**30:.0f} GB"
    except (OSError, StopIteration, ValueError):
        pass
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({model}), {memory}, load before the run {load:.1f}"
