"""The guard over a small suite of its own, in one process and in several."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONFTEST = """
from pathlib import Path
from tests.count_guard import CountGuard

HERE = Path(__file__).parent

def pytest_configure(config):
    guard = CountGuard(config, HERE / "expected_count", HERE / "shared")
    config.pluginmanager.register(guard, "count-guard")
"""
SUITE = {
    "conftest.py": CONFTEST,
    "pytest.ini": "[pytest]\ntestpaths = suite\nmarkers =\n    shared\n    fastchat\n",
    "suite/test_a.py": (
        "import pytest\n"
        "def test_it_runs(): pass\n"
        "@pytest.mark.skip\ndef test_it_is_skipped(): pass\n"
        "@pytest.mark.xfail\ndef test_it_fails_as_expected(): assert False\n"
    ),
    "suite/test_b.py": (
        "import pytest\n"
        "def test_it_runs_too(): pass\n"
        "@pytest.mark.shared\ndef test_it_needs_data(): pass\n"
        "@pytest.mark.fastchat\ndef test_it_needs_fastchat(): pass\n"
    ),
}


class Suite:
    def __init__(self, folder: Path, options: list[str]) -> None:
        self.folder = folder
        self.options = options
        self.shared = folder / "shared"
        for name, text in SUITE.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def run(self, expected: str, *arguments: str) -> tuple[int, str]:
        """What is expected of it, as the file says it; returns (exit status, output)."""
        (self.folder / "expected_count").write_text(expected)
        command = ["-m", "pytest", "-p", "no:cacheprovider", *self.options, *arguments]
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTEST_ADDOPTS": "",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout


@pytest.fixture(
    params=[[], ["-p", "xdist.plugin", "-n", "2", "--dist", "loadfile"]],
    ids=["alone", "in two processes"],
)
def suite(request, tmp_path):
    return Suite(tmp_path, request.param)


def test_a_run_of_as_many_as_expected_succeeds(suite):
    suite.shared.mkdir()
    status, output = suite.run("tests 3\nshared 1\nfastchat 1\n")
    assert status == 0, output
    assert "LEFT OUT: 1 tests need FastChat" in output
    assert "evaluation data" not in output
    assert "FAILED" not in output


def test_a_test_that_did_not_run_fails_it(suite):
    suite.shared.mkdir()
    status, output = suite.run("tests 4\nshared 2\n")
    assert status == 1, output
    assert "FAILED: 3 tests ran, expected_count says 4" in output
    assert "FAILED: 1 shared ran, expected_count says 2" in output


def test_what_is_left_out_without_its_data_is_said_and_not_counted(suite):
    status, output = suite.run("tests 3\nshared 1\n")
    assert status == 0, output
    assert "LEFT OUT: 1 tests need evaluation data" in output


def test_more_than_expected_is_a_hint(suite):
    suite.shared.mkdir()
    status, output = suite.run("tests 1\nshared 1\n")
    assert status == 0, output
    assert "write `tests 3` into tests/expected_count" in output


def test_a_part_of_the_suite_is_not_judged(suite):
    status, output = suite.run("tests 100\n", "suite/test_a.py")
    assert status == 0, output
    assert "FAILED" not in output
