"""What the database decides, on PostgreSQL too: the tests of those modules once more, in a
process of their own with a server of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pytest

from tests import postgres

ROOT = Path(__file__).resolve().parent.parent
MODULES = [
    "tests.plugin.test_vote_rate",
    "tests.retrieval.feedback.test_grouping",
    "tests.retrieval.feedback.test_loop",
    "tests.retrieval.feedback.test_queue",
    "tests.retrieval.feedback.test_regrouping",
    "tests.retrieval.feedback.test_votes",
    "tests.retrieval.lexical.test_lexical_index",
    "tests.retrieval.test_duplicates",
    "tests.retrieval.test_filters",
    "tests.retrieval.test_history",
    "tests.retrieval.test_indexing",
    "tests.retrieval.test_ingest",
    "tests.retrieval.test_maintenance",
    "tests.retrieval.test_search",
    "tests.retrieval.test_sync",
    "tests.retrieval.test_usage",
    "tests.retrieval.test_worker",
]
#: Seconds for all modules together, which one test waits for: a minute or two, and many more
#: where other work runs beside. Its own limit lies above, so that the output is still shown.
TIME_LIMIT = 840


def run_on(url: str, report: Path) -> str:
    """Run the modules on a database, and write a JUnit report; returns what was printed."""
    environment = os.environ | {"TEST_DATABASE_URL": url}
    environment.pop("PYTEST_ADDOPTS", None)
    paths = [f"{module.replace('.', '/')}.py" for module in MODULES]
    child = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *paths],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A group of its own, so that its Chroma and its workers end with it.
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
        pytest.fail(f"no end after {TIME_LIMIT} s:\n{output}", pytrace=False)
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        raise
    if child.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        pytest.fail(output, pytrace=False)
    return output


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[ElementTree.Element]:
    """Every test that ran on PostgreSQL, as JUnit has it."""
    report = tmp_path_factory.mktemp("postgres") / "report.xml"
    with postgres.running_postgres(postgres.binaries_or_leave_out()) as url:
        run_on(url, report)
    return list(ElementTree.parse(report).iter("testcase"))


def problems(case: ElementTree.Element) -> Iterator[str]:
    """Why a test cannot count as passed, in full; one that was skipped cannot either."""
    for kind in ("failure", "error", "skipped"):
        for found in case.findall(kind):
            yield f"{case.get('classname')}::{case.get('name')}: {kind}\n{found.text}"


@pytest.mark.timeout(TIME_LIMIT + 60)
@pytest.mark.parametrize("module", MODULES)
def test_it_holds_on_postgresql_too(cases, module):
    of_module = [case for case in cases if f"{case.get('classname')}.".startswith(f"{module}.")]
    assert of_module, f"nothing of {module} ran"
    failures = [problem for case in of_module for problem in problems(case)]
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)


def test_without_postgresql_the_tests_are_left_out_aloud(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(postgres, "find_binaries", lambda: None)
    with pytest.raises(pytest.skip.Exception, match="LEFT OUT"):
        postgres.binaries_or_leave_out()


def test_in_ci_they_cannot_be_left_out(monkeypatch):
    monkeypatch.setenv("CI", "1")
    monkeypatch.setattr(postgres, "find_binaries", lambda: None)
    with pytest.raises(pytest.fail.Exception, match="LEFT OUT"):
        postgres.binaries_or_leave_out()


def test_the_newest_complete_version_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert postgres.find_binaries(tmp_path) is None
    for version, names in {"9.6": ["initdb", "postgres"], "15": ["initdb", "postgres"],
                           "17": ["initdb"]}.items():  # fmt: skip
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    assert postgres.find_binaries(tmp_path) == tmp_path / "15" / "bin"


def test_the_server_ends_with_its_user_and_leaves_nothing():
    class Trouble(Exception):
        pass

    binaries = postgres.binaries_or_leave_out()
    with pytest.raises(Trouble), postgres.running_postgres(binaries) as url:
        connection = psycopg.connect(url)
        row = connection.execute("SHOW unix_socket_directories").fetchone()
        assert row is not None
        folder = Path(row[0])
        raise Trouble
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    assert not folder.exists()
