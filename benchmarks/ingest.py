"""How fast notes are indexed, against the usual recipe and against the bare embedding loop.

    python -m benchmarks.ingest [NOTES_FOLDER] [--repeat N] [--workers N]

All three run one after the other on the same machine, `--repeat` times; see README.md.
"""

import argparse
import os
import resource
import shutil
import signal
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.notes import find_notes
from benchmarks.system import (
    copy_model,
    cpu_seconds,
    environment,
    free_port,
    ingest,
    last_json,
    machine,
    machine_seconds,
    run,
    running,
    set_up,
    wait_for_chroma,
    wait_until_indexed,
)

SLUG = "bench"
#: What is promised: times the recipe, and share of the bare loop.
LEAST_GAIN, LEAST_SHARE = 4.0, 0.7


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured. Times in seconds."""

    notes: int
    chunks: int
    baseline: float
    kbadmin: float
    bare: float
    cores: float  #: cores' worth of CPU time that kbadmin's processes used
    busy: float  #: cores that were busy with anything at all

    @property
    def gain(self) -> float:
        return self.baseline / self.kbadmin

    @property
    def share(self) -> float:
        return self.bare / self.kbadmin


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("notes", nargs="?", type=Path, help="folder of Markdown files")
    parser.add_argument("--repeat", type=int, default=1, help="rounds; medians are compared")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (1)")
    given = parser.parse_args()
    # Stopped by `kill` or `timeout`, it must not leave its processes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="kbadmin-bench-") as name:
        folder = Path(name)
        notes = given.notes or find_notes(folder)
        copy_model(folder / "models")
        print(machine())
        rounds = []
        for number in range(given.repeat):
            rounds.append(measure(notes, folder, folder / str(number), given.workers))
            print_round(rounds[-1])
    gain = statistics.median(one.gain for one in rounds)
    share = statistics.median(one.share for one in rounds)
    good = gain >= LEAST_GAIN and share >= LEAST_SHARE
    print(
        f"{'reached' if good else 'MISSED'}: {gain:.1f} times the recipe (at least "
        f"{LEAST_GAIN:.0f}), {share:.2f} of the bare embedding loop (at least {LEAST_SHARE})"
    )
    return 0 if good else 1


def measure(notes: Path, shared: Path, folder: Path, workers: int) -> Round:
    folder.mkdir()
    print("the recipe …", flush=True)
    recipe = run_baseline(notes, folder)
    print("kbadmin …", flush=True)
    port = free_port()
    env = environment(folder / "data", port)
    set_up(folder / "data", shared / "models", SLUG, env)
    with ExitStack() as processes:
        pids = [processes.enter_context(running(["manage.py", "chroma"], env))]
        wait_for_chroma(port)
        for _ in range(workers):
            pids.append(processes.enter_context(running(["manage.py", "worker"], env)))
        wait_until_indexed(env)
        used, busy = cpu_seconds(pids) + children_seconds(), machine_seconds()
        report = ingest(notes, SLUG, env)
        used = cpu_seconds(pids) + children_seconds() - used
        busy = machine_seconds() - busy
    print("the bare loop …", flush=True)
    bare = last_json(run(["-m", "benchmarks.bare", SLUG], env))
    shutil.rmtree(folder)
    per_note = recipe["seconds"] / recipe["notes"]
    return Round(
        notes=report["added"],
        chunks=bare["chunks"],
        baseline=per_note * report["added"],
        kbadmin=report["seconds"],
        bare=bare["seconds"],
        cores=used / report["seconds"],
        busy=busy / report["seconds"],
    )


def run_baseline(notes: Path, folder: Path) -> dict[str, float]:
    port = free_port()
    env = environment(folder / "baseline", port)
    with running(["manage.py", "chroma"], env):
        wait_for_chroma(port)
        return last_json(run(["benchmarks/baseline/ingest.py", str(notes), str(port)], env))


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def print_round(one: Round) -> None:
    print(f"\n{one.notes} notes, {one.chunks} chunks")
    for name, seconds in (
        ("the recipe (torch, one at a time)", one.baseline),
        ("kbadmin, accepted to indexed", one.kbadmin),
        ("bare embedding loop", one.bare),
    ):
        print(
            f"  {name:<36} {seconds:7.1f} s  {one.notes / seconds:7.1f} notes/s  "
            f"{one.chunks / seconds:7.1f} chunks/s"
        )
    print(
        f"  {one.gain:.1f} times the recipe, {one.share:.2f} of the bare loop; of "
        f"{os.cpu_count()} cores {one.busy:.2f} were busy, {one.cores:.2f} of them with kbadmin"
    )


if __name__ == "__main__":
    sys.exit(main())
