"""How good the answers are: XQuAD (English) and CMRC 2018 (Chinese), asked over HTTP.

    python -m benchmarks.quality [--against-postgres] [--sample N]

Every paragraph is a document, every question goes through POST /search of a kbadmin as shipped,
with a data folder of its own: dense, lexical and hybrid side by side, each language alone and
both in one collection. With DATABASE_URL=postgres://… in the environment it runs on that server,
in a database that is made for it and dropped; `--against-postgres` starts a server of its own
and compares the two.
"""

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from benchmarks.system import (
    ROOT,
    copy_model,
    environment,
    free_port,
    ingest,
    machine,
    running,
    set_up,
    shell,
    wait_for_chroma,
    wait_until_indexed,
)
from retrieval.metrics import Interval, measure, summarise
from retrieval.questions import Question, load_questions, normalised
from retrieval.types import Mode
from tests.postgres import find_binaries, running_postgres

DATA = ROOT.parent / "shared" / "data" / "eval"
MIXED = "mixed"
TOP_K = 10
SHOWN = ("hit@1", "hit@5", "MRR@10")
#: Questions under way at once.
THREADS = 4
#: What hybrid search has to reach on each set alone, and may lose in a mixed collection; how far
#: two databases may lie apart, in any mode.
BARS = {
    "xquad-en": {"hit@1": 0.93, "MRR@10": 0.957},
    "cmrc-zh": {"hit@1": 0.96, "MRR@10": 0.975},
}
MIXED_LOSS, DATABASE_DIFFERENCE = 0.01, 0.02


@dataclass(frozen=True, slots=True)
class Corpus:
    """Paragraphs as files in a folder, and questions with the file that answers each."""

    slug: str
    title: str
    folder: Path
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """What a row of the table is about."""

    corpus: str
    collection: str  #: the corpus alone, or mixed
    mode: str


Values = Mapping[str, Sequence[float]]  #: metric → one value for each question
Results = Mapping[Cell, Values]
Summary = Mapping[Cell, Mapping[str, Interval]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument(
        "--against-postgres", action="store_true", help="on SQLite and on PostgreSQL; compare"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="ask N questions of each set")
    given = parser.parse_args()
    # Stopped by `kill` or `timeout`, it must not leave its processes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not DATA.is_dir():
        print(f"LEFT OUT: nothing was measured, the evaluation data is not in {DATA}.")
        return 0
    binaries = find_binaries() if given.against_postgres else None
    if given.against_postgres and binaries is None:
        print("LEFT OUT: PostgreSQL is not installed (Debian's package postgresql).")
        return 1
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="kbadmin-eval-") as name, ExitStack() as servers:
        folder = Path(name)
        corpora = [
            write_corpus(DATA / "xquad.en.json", folder / "xquad-en", "xquad", "XQuAD English"),
            write_corpus(
                DATA / "cmrc2018.trial.zh.json", folder / "cmrc-zh", "cmrc", "CMRC Chinese"
            ),
        ]
        if given.sample:
            corpora = [sampled(corpus, given.sample) for corpus in corpora]
        copy_model(folder / "models")
        url = os.environ.get("DATABASE_URL", "")
        addresses = {"PostgreSQL": url} if url.startswith("postgres") else {"SQLite": ""}
        if binaries is not None:
            addresses = {
                "SQLite": "",
                "PostgreSQL": servers.enter_context(running_postgres(binaries)),
            }
        summaries: dict[str, Summary] = {}
        for number, (database, address) in enumerate(addresses.items()):
            with fresh_database(address) as own:
                results = measure_all(corpora, folder, folder / f"data-{number}", own)
            summaries[database] = {cell: summarise(values) for cell, values in results.items()}
            print_table(database, corpora, summaries[database])
    checks = [
        (is_reached, f"{database}: {text}")
        for database, summary in summaries.items()
        for is_reached, text in judge(summary)
    ]
    if len(summaries) > 1:
        checks += judge_databases(*summaries.values())
    for is_reached, text in checks:
        print(f"{'reached' if is_reached else 'MISSED'}: {text}")
    return 0 if all(is_reached for is_reached, _ in checks) else 1


# --- Paragraphs and questions ---------------------------------------------------------------


def write_corpus(path: Path, folder: Path, prefix: str, title: str) -> Corpus:
    """Each paragraph of a SQuAD-style file as a text file, and the questions about them."""
    folder.mkdir()
    names: dict[str, str] = {}
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            if normalised(context) in names:
                continue
            name = f"{prefix}-{len(names) + 1:04}.txt"
            names[normalised(context)] = name
            (folder / name).write_text(context, encoding="utf-8")
    asked = load_questions(path)
    if asked.empty:
        print(f"{path.name}: {asked.empty} empty questions are left out.")
    questions = tuple(
        Question(item.question, frozenset({names[item.passage]}), quote=item.quote)
        for item in asked.questions
    )
    return Corpus(folder.name, title, folder, questions)


def sampled(corpus: Corpus, count: int) -> Corpus:
    """Every n-th question, about `count` of them."""
    step = max(1, len(corpus.questions) // count)
    return Corpus(corpus.slug, corpus.title, corpus.folder, corpus.questions[::step])


# --- A kbadmin of its own -------------------------------------------------------------------


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """The address of an empty database on a PostgreSQL server, dropped afterwards; "" for SQLite,
    which lies in the data folder."""
    if not url:
        yield ""
        return
    name = f"kbadmin_eval_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def measure_all(
    corpora: Sequence[Corpus], shared: Path, data: Path, database: str
) -> dict[Cell, Values]:
    """Ingest everything into a new kbadmin and ask every question in every mode."""
    chroma, port, key = free_port(), free_port(), secrets.token_urlsafe(24)
    env = environment(data, chroma) | {"PORT": str(port), "KBADMIN_API_KEY": key}
    if database:
        env["DATABASE_URL"] = database
    set_up(data, shared / "models", MIXED, env)
    for corpus in corpora:
        shell(
            "from retrieval.collections import create_collection; "
            f"create_collection(slug={corpus.slug!r}, title={corpus.title!r})",
            env,
        )
    with ExitStack() as processes:
        processes.enter_context(running(["manage.py", "chroma"], env))
        wait_for_chroma(chroma)
        processes.enter_context(running(["manage.py", "worker"], env))
        wait_until_indexed(env)
        for corpus in corpora:
            for slug in (corpus.slug, MIXED):
                count = ingest(corpus.folder, slug, env)["added"]
                print(f"{slug}: {count} paragraphs of {corpus.title} ingested", flush=True)
        gunicorn = ["-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "kbadmin.wsgi"]
        processes.enter_context(running(gunicorn, env))
        client = processes.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {key}"},
                timeout=60,
            )
        )
        wait_until_ready(client)
        return {
            cell: ask_all(client, corpus, cell) for corpus in corpora for cell in cells_of(corpus)
        }


def cells_of(corpus: Corpus) -> list[Cell]:
    return [
        Cell(corpus.slug, collection, mode)
        for collection in (corpus.slug, MIXED)
        for mode in (Mode.DENSE, Mode.LEXICAL, Mode.HYBRID)
    ]


def wait_until_ready(client: httpx.Client, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if client.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("kbadmin did not get ready")
        time.sleep(0.2)


def ask_all(client: httpx.Client, corpus: Corpus, cell: Cell) -> Values:
    """Every question of a corpus; every metric's value for each."""
    began = time.monotonic()

    def ask(question: Question) -> dict[str, float]:
        body: dict[str, Any] = {
            "query": question.question,
            "collection": cell.collection,
            "top_k": TOP_K,
            "mode": cell.mode,
        }
        answer = client.post("/search", json=body).raise_for_status().json()
        if answer["degraded"]:
            raise RuntimeError(f"an answer was degraded: {answer['degraded_reason']}")
        found = list(dict.fromkeys(result["external_id"] for result in answer["results"]))
        return measure(found, question.relevant)

    values: dict[str, list[float]] = defaultdict(list)
    with ThreadPoolExecutor(THREADS) as threads:
        for measured in threads.map(ask, corpus.questions):
            for name, value in measured.items():
                values[name].append(value)
    rate = len(corpus.questions) / (time.monotonic() - began)
    print(
        f"{cell.collection}, {cell.mode}: {len(corpus.questions)} questions of {corpus.title}, "
        f"{rate:.0f}/s",
        flush=True,
    )
    return values


# --- What came out --------------------------------------------------------------------------


def print_table(database: str, corpora: Sequence[Corpus], summary: Summary) -> None:
    heads = "".join(f"{name:<22}" for name in SHOWN)
    print(f"\n{database + ' (95 % intervals)':<42}{heads}".rstrip())
    for corpus in corpora:
        print(f"{corpus.title}, {len(corpus.questions)} questions")
        for cell in cells_of(corpus):
            where = "alone" if cell.collection == corpus.slug else "in the mixed collection"
            numbers = "".join(f"{shown(summary[cell][name]):<22}" for name in SHOWN)
            print(f"  {where:<26}{cell.mode:<14}{numbers}".rstrip())
    print(flush=True)


def shown(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.3f}-{interval.high:.3f})"


def judge(summary: Summary) -> list[tuple[bool, str]]:
    """Whether hybrid search reaches its bars, and what each language loses in the mix."""
    checks = []
    for slug, bars in BARS.items():
        alone = summary[Cell(slug, slug, Mode.HYBRID)]
        mixed = summary[Cell(slug, MIXED, Mode.HYBRID)]
        for name, least in bars.items():
            got = alone[name].mean
            checks.append((got >= least, f"{slug} hybrid {name} {got:.4f}, at least {least}"))
        for name in bars:
            loss = alone[name].mean - mixed[name].mean
            checks.append(
                (
                    loss <= MIXED_LOSS,
                    f"{slug} hybrid {name} loses {loss:+.4f} in the mix, at most {MIXED_LOSS}",
                )
            )
    return checks


def judge_databases(one: Summary, other: Summary) -> list[tuple[bool, str]]:
    """The largest difference of each metric between two databases, over all rows."""
    checks = []
    for name in SHOWN:
        cell = max(one, key=lambda cell: abs(one[cell][name].mean - other[cell][name].mean))
        apart = abs(one[cell][name].mean - other[cell][name].mean)
        where = f"{cell.corpus} in {cell.collection}, {cell.mode}"
        checks.append(
            (
                apart <= DATABASE_DIFFERENCE,
                f"{name} of both databases is at most {apart:.4f} apart ({where}), "
                f"allowed are {DATABASE_DIFFERENCE}",
            )
        )
    return checks


if __name__ == "__main__":
    sys.exit(main())
