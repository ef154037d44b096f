"""How long each page of the admin takes over a large database, and how often it asks it.

    python -m benchmarks.pages [WORD ...] [--repeat N] [--fresh]

WORDs choose the pages whose names hold one of them; see README.md.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.system import ROOT, environment, free_port, machine

#: Kept between runs: filling the large one takes minutes.
FOLDER = ROOT / "build" / "bench-pages"
#: What is promised of every page.
MOST_MILLISECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Measured:
    name: str
    address: str
    milliseconds: list[float]
    cpu: float  #: milliseconds of this process, which a neighbour on the machine changes little
    queries: list[str]  #: the SQL, in order
    slowest: str  #: the query that took longest, its milliseconds and its plan
    problem: str  #: what is wrong with the answer, if anything

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of names of pages (all)")
    parser.add_argument("--repeat", type=int, default=7, help="times that each is asked for (7)")
    parser.add_argument("--fresh", action="store_true", help="fill the databases anew")
    parser.add_argument("--size", choices=("small", "large"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.size:
        return measure(given)
    if given.fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    print(machine())
    small, large = (in_process(size, given) for size in ("small", "large"))
    return verdict(small, large)


def in_process(size: str, given: argparse.Namespace) -> list[Measured]:
    """The pages over one of the databases: settings are read once, so in a process of its own."""
    # No Chroma listens there, which is what a page has to live with.
    env = environment(FOLDER / size, free_port()) | {"DEBUG": "false", "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "benchmarks.pages", *given.words]
    command += ["--size", size, "--repeat", str(given.repeat)]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return [Measured(**row) for row in json.loads(done.stdout.splitlines()[-1])]


# --- In the process that has a database ------------------------------------------------------


def measure(given: argparse.Namespace) -> int:
    import django

    django.setup()
    prepare(given.size)

    from django.contrib.auth.models import User
    from django.test import Client
    from django.utils import timezone

    from retrieval.models import Worker
    from tests.kbadmin.pages_of_admin import keys, pages

    Worker.objects.update(seen_at=timezone.now())
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get())
    found = keys()
    chosen = [
        page
        for page in pages()
        if not given.words or any(word in page.name for word in given.words)
    ]
    rows = [one(client, page, found, given.repeat) for page in chosen]
    print(json.dumps([asdict(row) for row in rows]))
    return 0


def prepare(size: str) -> None:
    """A filled database, unless the one that is there is as this version would make it."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connections

    from benchmarks import rows

    mark = Path(settings.DATA_DIR) / "filled.json"
    sizes = rows.LARGE if size == "large" else rows.SMALL
    wanted = {"version": rows.VERSION, **asdict(sizes)}
    is_filled = mark.exists() and json.loads(mark.read_text()) == wanted
    if not is_filled:
        connections.close_all()
        for path in Path(settings.DATA_DIR).glob("kbadmin.sqlite3*"):
            path.unlink()
    # Migrations that are newer than the rows run on the rows that are there.
    call_command("migrate", verbosity=0)
    if not is_filled:
        begun = time.monotonic()
        print(f"filling the {size} database …", file=sys.stderr, flush=True)
        rows.Filler(sizes).fill()
        mark.write_text(json.dumps(wanted))
        print(f"filled in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def one(client: Any, page: Any, found: dict[str, Any], repeat: int) -> Measured:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    address = page.address.format_map(found)
    # The first answer fills caches and loads modules; the second is looked at.
    client.get(address)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
        consume(answer)
    queries = captured.captured_queries  # gone with the next request
    times = []
    used = time.process_time()
    for _ in range(repeat):
        begun = time.perf_counter()
        consume(client.get(address))
        times.append((time.perf_counter() - begun) * 1000)
    used = (time.process_time() - used) * 1000 / repeat
    problem = "" if answer.status_code == page.status else f"answered {answer.status_code}"
    return Measured(
        name=page.name,
        address=address,
        milliseconds=times,
        cpu=used,
        queries=[query["sql"] for query in queries],
        slowest=plan(max(queries, key=lambda query: float(query["time"]), default=None)),
        problem=problem,
    )


def consume(answer: Any) -> None:
    """A file that is sent takes its time while it is read."""
    if getattr(answer, "streaming", False):
        b"".join(answer.streaming_content)


def plan(query: dict[str, str] | None) -> str:
    """The text of a query, how long it took, and how the database goes about it."""
    from django.db import DatabaseError, connection

    if query is None:
        return ""
    try:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + query["sql"].replace("%", "%%"), [])
            steps = "\n".join(f"      {row[-1]}" for row in cursor.fetchall())
    except DatabaseError as error:
        steps = f"      no plan: {error}"
    return f"    {float(query['time']) * 1000:.0f} ms: {query['sql'][:2000]}\n{steps}"


# --- What came out -----------------------------------------------------------------------------


def shapes(queries: list[str]) -> Counter[str]:
    """Queries without their values, so that those of two databases can be compared."""
    from re import sub

    return Counter(sub(r"'[^']*'|\b\d+\b", "?", sql)[:160] for sql in queries)


def verdict(small: list[Measured], large: list[Measured]) -> int:
    print(f"\n{'page':<34} {'median':>8} {'max':>8} {'CPU':>8} {'queries':>8} {'if small':>9}")
    slow, growing, wrong = [], [], []
    for few, many in zip(small, large, strict=True):
        marks = []
        if many.median >= MOST_MILLISECONDS:
            slow.append(many)
            marks.append("slow")
        if len(many.queries) > len(few.queries):
            growing.append((few, many))
            marks.append("more queries")
        if many.problem or few.problem:
            wrong.append(many)
            marks.append(many.problem or f"{few.problem} when small")
        print(
            f"{many.name:<34} {many.median:>5.0f} ms {max(many.milliseconds):>5.0f} ms "
            f"{many.cpu:>5.0f} ms {len(many.queries):>8} {len(few.queries):>9}  {', '.join(marks)}"
        )
    for page in slow:
        print(f"\n{page.name} {page.address}\n{page.slowest}")
    for few, many in growing:
        print(f"\n{many.name} {many.address} asks more often:")
        for sql, number in (shapes(many.queries) - shapes(few.queries)).items():
            print(f"    {number} x {sql}")
    total = len(large)
    print()
    for text, missed in (
        (f"a page in less than {MOST_MILLISECONDS:.0f} ms (median)", len(slow)),
        ("as many queries as over a small database", len(growing)),
        ("the answer that is expected", len(wrong)),
    ):
        print(f"{'MISSED' if missed else 'reached'}: {text}: {total - missed} of {total} pages")
    return 1 if slow or growing or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
