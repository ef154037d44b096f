"""How many searches a second, and how long each takes, against the usual search service.

    python -m benchmarks.search [NOTES_FOLDER] [--repeat N] [--seconds S]

Both sides take turns on the same machine, `--repeat` times; see README.md.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.notes import find_notes, questions
from benchmarks.system import (
    ROOT,
    copy_model,
    cpu_seconds,
    environment,
    family,
    free_port,
    ingest,
    last_json,
    machine,
    run,
    running,
    set_up,
    shell,
    wait_for_chroma,
    wait_until_indexed,
)

SLUG = "bench"
CONNECTIONS = 8
TOP_K = 4
WARM_UP = 3.0
#: Questions made for each second; nobody has to answer so many.
QUESTIONS_PER_SECOND = 2000
#: What is promised: times the baseline's throughput, and share of its p99.
LEAST_GAIN, MOST_SHARE = 2.0, 1.0
LOGGED = (
    "from retrieval.models import Search; rows = Search.objects.all(); "
    "print(rows.count(), rows.exclude(degraded='').count(), rows.exclude(result_count={}).count())"
)


@dataclass(frozen=True, slots=True)
class Service:
    """Something that answers POST /search while it runs."""

    port: int
    processes: dict[str, int]  #: name → id
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one side did in one round."""

    answers: int
    seconds: float
    p50: float  #: seconds
    p99: float  #: seconds
    cpu: dict[str, float]  #: name of a process → its CPU seconds

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("notes", nargs="?", type=Path, help="folder of Markdown files")
    parser.add_argument("--repeat", type=int, default=4, help="rounds; medians are compared (4)")
    parser.add_argument("--seconds", type=float, default=12, help="measured per side and round")
    given = parser.parse_args()
    # Stopped by `kill` or `timeout`, it must not leave its processes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="kbadmin-bench-") as name:
        folder = Path(name)
        notes = given.notes or find_notes(folder)
        print(machine())
        print("filling both …", flush=True)
        baseline, kbadmin = Baseline(folder, notes), Kbadmin(folder, notes)
        # Not the same questions in the next round: pages of files would still be at hand.
        asked = questions(notes)
        count = int((WARM_UP + given.seconds) * QUESTIONS_PER_SECOND)
        rounds = []
        for number in range(given.repeat):
            bodies = [
                json.dumps({"query": question, "top_k": TOP_K}, ensure_ascii=False)
                for question in islice(asked, count)
            ]
            print(f"\nround {number + 1} of {given.repeat}", flush=True)
            rounds.append(
                tuple(measure(side, bodies, given.seconds) for side in (baseline, kbadmin))
            )
    return verdict(rounds)


class Baseline:
    """FastAPI under uvicorn with one process per core, and a Chroma of its own."""

    name = "the baseline"

    def __init__(self, folder: Path, notes: Path) -> None:
        self._chroma_port = free_port()
        self._env = environment(folder / "baseline", self._chroma_port)
        with running(["manage.py", "chroma"], self._env):
            wait_for_chroma(self._chroma_port)
            run(["benchmarks/baseline/fill.py", str(notes), str(self._chroma_port)], self._env)

    @contextmanager
    def started(self) -> Iterator[Service]:
        port = free_port()
        command = ["-m", "uvicorn", "--app-dir", "benchmarks/baseline", "search:app"]
        command += ["--workers", str(os.cpu_count()), "--port", str(port)]
        # A line for each request would only cost it time.
        command += ["--no-access-log", "--log-level", "warning"]
        # Python warns of semaphores when uvicorn's processes are told to stop.
        env = self._env | {"CHROMA_PORT": str(self._chroma_port), "PYTHONWARNINGS": "ignore"}
        with running(["manage.py", "chroma"], self._env) as chroma:
            wait_for_chroma(self._chroma_port)
            with running(command, env) as web:
                yield Service(port, {"web": web, "chroma": chroma}, {})

    def check(self, answers: int) -> None:
        """It keeps no log that could be looked at."""


class Kbadmin:
    """kbadmin as it is started by `make run`, with a key asked for and every search logged."""

    name = "kbadmin"

    def __init__(self, folder: Path, notes: Path) -> None:
        chroma_port, self._port = free_port(), free_port()
        self._chroma_port = chroma_port
        copy_model(folder / "models")
        self._env = environment(folder / "data", chroma_port) | {
            "PORT": str(self._port),
            "KBADMIN_DEFAULT_COLLECTION": SLUG,
            "KBADMIN_PLUGIN_AUTH": "bearer",
            "DEBUG": "false",
        }
        set_up(folder / "data", folder / "models", SLUG, self._env)
        with running(["manage.py", "chroma"], self._env):
            wait_for_chroma(chroma_port)
            with running(["manage.py", "worker"], self._env):
                wait_until_indexed(self._env)
                ingest(notes, SLUG, self._env)
        issue = "from retrieval.models import ApiKey; print(ApiKey.issue('Benchmark')[1])"
        self._headers = {"Authorization": f"Bearer {shell(issue, self._env)}"}

    @contextmanager
    def started(self) -> Iterator[Service]:
        with ExitStack() as stack:
            pids = {"chroma": stack.enter_context(running(["manage.py", "chroma"], self._env))}
            wait_for_chroma(self._chroma_port)
            # The lines of the Procfile.
            for name, command in (
                ("worker", ["manage.py", "worker"]),
                ("web", ["-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "kbadmin.wsgi"]),
            ):
                pids[name] = stack.enter_context(running(command, self._env))
            service = Service(self._port, pids, self._headers)
            wait_until(lambda: ask(service.port, {}) == 401)
            yield service

    def check(self, answers: int) -> None:
        """Every answer was logged, whole, and from both arms."""
        logged, degraded, short = map(int, shell(LOGGED.format(TOP_K), self._env).split())
        assert logged >= answers, f"{answers} answers, but {logged} are in the log"
        assert not degraded, f"{degraded} answers came from one arm alone"
        assert not short, f"{short} answers have fewer results than asked for"
        shell("from retrieval.models import Search; Search.objects.all().delete()", self._env)


def ask(port: int, headers: Mapping[str, str]) -> int:
    """Status of one search; 0 while nobody listens."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/search",
        data=json.dumps({"query": "list the files of a folder", "top_k": TOP_K}).encode(),
        headers={"Content-Type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {seconds:g} s")
        time.sleep(0.2)


def used_by(service: Service) -> dict[str, float]:
    return {name: cpu_seconds(family(pid)) for name, pid in service.processes.items()}


def settle(service: Service) -> None:
    """Wait until every process has loaded what it loads at its start."""
    before = -1.0
    while (now := sum(used_by(service).values())) > before + 0.1:
        before = now
        time.sleep(1)


def measure(side: Baseline | Kbadmin, bodies: list[str], seconds: float) -> Measured:
    # The other side is not even running.
    with side.started() as service:
        wait_until(lambda: ask(service.port, service.headers) == 200)
        settle(service)
        record, cpu = load(service, bodies, seconds)
    assert not record["failures"], f"{side.name}: {record['failures']} answers were not 200"
    side.check(record["all_answers"])
    measured = Measured(
        answers=record["answers"],
        seconds=record["seconds"],
        p50=record["p50"],
        p99=record["p99"],
        cpu=cpu | {"load": record["cpu"]},
    )
    print_side(side.name, measured)
    return measured


def load(
    service: Service, bodies: list[str], seconds: float
) -> tuple[dict[str, Any], dict[str, float]]:
    """What the load program reports, and the CPU seconds of each process meanwhile."""
    order = {
        "port": service.port,
        "path": "/search",
        "headers": service.headers,
        "connections": CONNECTIONS,
        "warm_up": WARM_UP,
        "seconds": seconds,
        "bodies": bodies,
    }
    command = [sys.executable, "-m", "benchmarks.load"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        json.dump(order, process.stdin)
        process.stdin.close()
        process.stdout.readline()  # the warm-up is over
        before = used_by(service)
        output = process.stdout.read()
        after = used_by(service)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return last_json(output), {name: after[name] - before[name] for name in after}


def print_side(name: str, one: Measured) -> None:
    each = ", ".join(f"{part} {used / one.answers * 1000:.2f}" for part, used in one.cpu.items())
    total = sum(one.cpu.values()) / one.answers * 1000
    print(
        f"  {name:<13} {one.rate:7.1f} requests/s   p50 {one.p50 * 1000:6.1f} ms   "
        f"p99 {one.p99 * 1000:6.1f} ms   CPU ms per request: {total:.2f} ({each})",
        flush=True,
    )


def verdict(rounds: list[tuple[Measured, ...]]) -> int:
    def medians(side: int) -> tuple[float, float]:
        return (
            statistics.median(one[side].rate for one in rounds),
            statistics.median(one[side].p99 for one in rounds),
        )

    (slow_rate, slow_p99), (rate, p99) = medians(0), medians(1)
    gain, share = rate / slow_rate, p99 / slow_p99
    good = gain >= LEAST_GAIN and share <= MOST_SHARE
    print(
        f"\n{'reached' if good else 'MISSED'}: {gain:.2f} times the baseline's throughput (at "
        f"least {LEAST_GAIN:.0f}), {share:.2f} of its p99 (at most {MOST_SHARE:.0f})"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
