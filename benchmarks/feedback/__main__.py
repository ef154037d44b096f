"""A month of feedback on a kbadmin as shipped: do answers get better, and only those?

    python -m benchmarks.feedback [--seed N] [--days N] [--chart FILE]

The documents are the paragraphs of XQuAD English and CMRC 2018 Chinese, in one collection, in a
data folder of its own. A tenth of them is withheld. Every day people ask through POST /search,
one question in ten about a withheld document. Who is not answered may send POST /feedback with the
set's answer, or the sentence that holds it; the worker puts these votes into groups, and a reviewer
accepts the worst of them as questions and answers. Days follow each other without waiting for the
clock, and everything is drawn beforehand with a seed.

Recall@5 of a question is 1 if its document, or an accepted entry that answers it, is among the
first five passages that /search returns, else 0; "first" is the same for the first passage alone.
An entry answers a question if it was made of a correction on the same document and holds the words
of the set's answer. The mean is measured on four kinds of questions, kept apart:

    asked        on withheld documents, by somebody, on some day of the month
    reworded     the same in other words, by rule: in a hurry, and with a preface; nobody asks them
    never asked  other questions on the withheld documents: nobody corrects them, so they are
                 answered only where what was said of another question answers them, too
    others       on all other documents; nobody asks them, and they must not get worse

What is measured is asked through POST /search as well, with a key whose questions are not logged.
Intervals are 95 % bootstrap intervals over the questions; differences are paired.
"""

import argparse
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks import quality
from benchmarks.feedback.chart import draw
from benchmarks.feedback.month import DAYS, Asked, Entry, Month, plan_month, rank_of
from benchmarks.quality import Corpus, wait_until_ready, write_corpus
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
from retrieval.likeness import question_key
from retrieval.metrics import Interval, mean_with_interval, paired_difference
from retrieval.questions import Question

COLLECTION = "everything"
TOP_K = 5
#: Groups that the reviewer accepts on a day, and days from one measurement to the next.
ACCEPTED, EVERY = 4, 3
#: Questions under way at once.
THREADS = 4
#: What the others may lose, among the first five and in the first place, where an answer to a
#: similar question may come before theirs; what is wanted of the questions that were accepted.
MOST_LOST, MOST_LOST_FIRST, FIRST = 0.01, 0.03, 0.95
UNLOGGED_KEY = (
    "from plugin.authentication import CHECK_KEY; from retrieval.models import ApiKey; "
    "print(ApiKey.issue('benchmark', CHECK_KEY + ApiKey.generate())[1])"
)
CHART = ROOT / "docs" / "images" / "feedback.svg"

#: Kind of questions → where what is right stands for each, from 1; None if nowhere.
Ranks = Mapping[str, Sequence[int | None]]


@dataclass
class Record:
    """What has happened so far."""

    curve: list[tuple[int, Ranks]] = field(default_factory=list)  #: day, and what it ended with
    entries: dict[str, Entry] = field(default_factory=dict)  #: by document
    accepted: list[dict[str, Any]] = field(default_factory=list)
    corrections: int = 0
    refused: int = 0
    open: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.feedback",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--days", type=int, default=DAYS, help="a shorter month, for a try")
    parser.add_argument("--chart", type=Path, default=CHART, help="where the chart is written")
    given = parser.parse_args()
    # Stopped by `kill` or `timeout`, it must not leave its processes behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not quality.DATA.is_dir():
        print(f"LEFT OUT: nothing was measured, the evaluation data is not in {quality.DATA}.")
        return 0
    print(machine(), flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kbadmin-feedback-") as name:
        folder = Path(name)
        corpora = [
            write_corpus(
                quality.DATA / "xquad.en.json", folder / "xquad-en", "xquad", "XQuAD English"
            ),
            write_corpus(
                quality.DATA / "cmrc2018.trial.zh.json", folder / "cmrc-zh", "cmrc", "CMRC Chinese"
            ),
        ]
        month = plan_month(corpora, given.seed, given.days)
        for withheld in month.withheld:
            for corpus in corpora:
                (corpus.folder / withheld).unlink(missing_ok=True)
        describe(month)
        copy_model(folder / "models")
        record = simulate(corpora, month, folder)
    draw(
        [
            (day, {kind: within(row, TOP_K) for kind, row in ranks.items()})
            for day, ranks in record.curve
        ],
        given.chart,
    )
    checks = report(month, record)
    print(f"{time.monotonic() - began:.0f} s; the chart is in {given.chart}")
    for is_reached, text in checks:
        print(f"{'reached' if is_reached else 'MISSED'}: {text}")
    return 0 if all(is_reached for is_reached, _ in checks) else 1


def kinds_of(month: Month) -> dict[str, tuple[Question, ...]]:
    return {
        "asked": month.asked,
        "reworded": month.reworded,
        "never asked": month.never_asked,
        "others": month.others,
    }


def describe(month: Month) -> None:
    asked = sum(map(len, month.days))
    counts = ", ".join(f"{len(questions)} {kind}" for kind, questions in kinds_of(month).items())
    print(
        f"{len(month.withheld)} documents are withheld; {asked} questions in {len(month.days)} days"
    )
    print(f"measured: {counts}", flush=True)


# --- The month ------------------------------------------------------------------------------


def simulate(corpora: Sequence[Corpus], month: Month, folder: Path) -> Record:
    chroma, port, key = free_port(), free_port(), secrets.token_urlsafe(24)
    env = environment(folder / "data", chroma) | {
        "PORT": str(port),
        "KBADMIN_API_KEY": key,
        # A day takes seconds.
        "KBADMIN_FEEDBACK_RATE": "none",
    }
    set_up(folder / "data", folder / "models", COLLECTION, env)
    record = Record()
    with ExitStack() as processes:
        processes.enter_context(running(["manage.py", "chroma"], env))
        wait_for_chroma(chroma)
        processes.enter_context(running(["manage.py", "worker"], env))
        wait_until_indexed(env)
        for corpus in corpora:
            ingest(corpus.folder, COLLECTION, env)
        gunicorn = ["-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "kbadmin.wsgi"]
        processes.enter_context(running(gunicorn, env))
        # As with the doctor's key, nobody's question: it is not logged, and no group of the queue.
        unlogged = shell(UNLOGGED_KEY, env)
        client, observer = (
            processes.enter_context(
                httpx.Client(
                    base_url=f"http://127.0.0.1:{port}",
                    headers={"Authorization": f"Bearer {given}"},
                    timeout=60,
                )
            )
            for given in (key, unlogged)
        )
        wait_until_ready(client)
        reviewer = processes.enter_context(reviewing(env))
        rows = [(item.question, *item.relevant) for item in month.golden]
        reviewer.ask({"do": "golden", "rows": rows})
        measure(observer, month, record, 0)
        for day, asked in enumerate(month.days, start=1):
            live_day(client, asked, record)
            review_day(reviewer, month, record)
            if day % EVERY == 0 or day == len(month.days):
                measure(observer, month, record, day)
    return record


def search(client: httpx.Client, question: str) -> dict[str, Any]:
    body = {"query": question, "collection": COLLECTION, "top_k": TOP_K}
    answer: dict[str, Any] = client.post("/search", json=body).raise_for_status().json()
    if answer["degraded"]:
        raise RuntimeError(f"an answer was degraded: {answer['degraded_reason']}")
    return answer


def ask(client: httpx.Client, question: Question, record: Record) -> tuple[str, int | None]:
    """The answer's id, and the rank of what is right in it."""
    answer = search(client, question.question)
    found = [result["external_id"] for result in answer["results"]]
    return answer["query_id"], rank_of(found, question, record.entries.values())


def live_day(client: httpx.Client, asked: Sequence[Asked], record: Record) -> None:
    """Everybody asks, and says what they think of the answer, if they do."""

    def live(one: Asked) -> bool:
        query_id, rank = ask(client, one.question, record)
        opinion: dict[str, str] = {}
        if rank is None and one.correction:
            opinion = {"rating": "down", "correction": one.correction}
        elif rank is not None and one.praises:
            opinion = {"rating": "up"}
        if opinion:
            body = opinion | {"query_id": query_id, "voter": one.person}
            client.post("/feedback", json=body).raise_for_status()
        return "correction" in opinion

    with ThreadPoolExecutor(THREADS) as threads:
        record.corrections += sum(threads.map(live, asked))


def review_day(reviewer: "Reviewer", month: Month, record: Record) -> None:
    done = reviewer.ask({"do": "review", "most": ACCEPTED})
    record.open = done["open"]
    record.refused += done["refused"]
    record.accepted += done["accepted"]
    about = {
        question_key(one.question.question): one.question.relevant
        for day in month.days
        for one in day
    }
    for row in done["accepted"]:
        if row["state"] == "final":
            names = [about[question_key(text)] for text in row["questions"]]
            record.entries[row["document"]] = Entry(
                row["document"], row["answer"], frozenset().union(*names)
            )


def measure(client: httpx.Client, month: Month, record: Record, day: int) -> None:
    ranks = {}
    with ThreadPoolExecutor(THREADS) as threads:
        for kind, questions in kinds_of(month).items():
            ranks[kind] = list(
                threads.map(lambda question: ask(client, question, record)[1], questions)
            )
    record.curve.append((day, ranks))
    numbers = ", ".join(
        f"{kind} {sum(within(row, TOP_K)) / len(row):.3f}" for kind, row in ranks.items()
    )
    print(f"day {day:>2}: {len(record.entries):>3} entries; recall@{TOP_K} {numbers}", flush=True)


def within(ranks: Sequence[int | None], k: int) -> list[float]:
    """1 for each question that is answered among the first k, else 0."""
    return [float(rank is not None and rank <= k) for rank in ranks]


# --- The reviewer ---------------------------------------------------------------------------


class Reviewer:
    """The other end of `benchmarks.feedback.reviewer`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, wanted: Mapping[str, Any]) -> Any:
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None
        to.write(json.dumps({"collection": COLLECTION, **wanted}) + "\n")
        to.flush()
        answer = back.readline()
        if not answer:
            raise RuntimeError("the reviewer has ended; what stopped it stands above")
        return json.loads(answer)


@contextmanager
def reviewing(env: Mapping[str, str]) -> Iterator[Reviewer]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.feedback.reviewer"],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Reviewer(process)
        finally:
            process.terminate()
            process.wait(60)


# --- What came out --------------------------------------------------------------------------


def report(month: Month, record: Record) -> list[tuple[bool, str]]:
    final = [row for row in record.accepted if row["state"] == "final"]
    moved = [row for row in record.accepted if row["worse"]]
    seconds = [row["seconds"] for row in record.accepted if row["seconds"] is not None]
    proven = [is_first for row in final for is_first in row["first"]]
    several = sum(len(row["questions"]) > 1 for row in final)
    print(
        f"\n{record.corrections} corrections; {len(record.accepted)} acceptances, {len(final)} of "
        f"them final, {several} of those for several questions; {record.refused} refused because "
        f"they said nothing new; {record.open} groups open at the end"
    )
    print(
        f"proven after {median(seconds):.1f} s (median), {max(seconds):.1f} s at most; "
        f"{len(moved)} moved golden questions down"
    )
    for row in moved:
        for line in row["worse"]:
            print(f"  {line['question']}: {line['before']} → {line['after']} ({row['state']})")
    print(f"\n{'95 % intervals':<42}{'before':>24}{'after':>24}{'difference':>26}")
    for kind, questions in kinds_of(month).items():
        for k, name in ((TOP_K, f"recall@{TOP_K}"), (1, "first")):
            before, after = (within(record.curve[end][1][kind], k) for end in (0, -1))
            numbers = (
                f"{shown(mean_with_interval(before)):>24}{shown(mean_with_interval(after)):>24}"
                f"{shown(paired_difference(before, after)):>26}"
            )
            print(f"{f'{kind}, {len(questions)} questions, {name}':<42}{numbers}")
    print()
    return judge(record.curve[0][1], record.curve[-1][1], proven)


def change_of(before: Sequence[int | None], after: Sequence[int | None], k: int) -> Interval:
    return paired_difference(within(before, k), within(after, k))


def shown(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def judge(before: Ranks, after: Ranks, first: Sequence[bool]) -> list[tuple[bool, str]]:
    """Whether what was withheld is found by now, and nothing else is found worse."""
    checks = []
    for kind in ("asked", "reworded"):
        rise = change_of(before[kind], after[kind], TOP_K)
        checks.append(
            (rise.low > 0, f"recall on questions {kind} rises by {shown(rise)}, more than chance")
        )
    for k, most, what in ((TOP_K, MOST_LOST, "recall"), (1, MOST_LOST_FIRST, "the first place")):
        change = change_of(before["others"], after["others"], k)
        checks.append(
            (
                change.mean >= -most,
                f"{what} on the others changes by {change.mean:+.4f} ({change.low:+.4f} to "
                f"{change.high:+.4f}), at most {most} are lost",
            )
        )
    share = sum(first) / len(first) if first else 0.0
    checks.append(
        (
            share >= FIRST,
            f"{share:.3f} of {len(first)} accepted questions have their entry first, "
            f"at least {FIRST}",
        )
    )
    return checks


if __name__ == "__main__":
    sys.exit(main())
