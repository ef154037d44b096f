"""Fails a run of the whole suite in which fewer tests ran than there are.

A test that is skipped, deselected or no longer collected looks like success. The number that
has to run is written in tests/expected_count and only ever raised by hand. Two kinds are counted
apart, and it is said where they are left out: tests marked `shared`, without the data they need,
and tests marked `fastchat`, which `make test-fastchat` runs and no other.

Where several processes share the tests, each says what it left out, and the one that started them
counts and judges.
"""

from pathlib import Path
from typing import Any

import pytest

EXPECTED = Path(__file__).with_name("expected_count")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared"
KINDS = ("tests", "shared", "fastchat")
#: Under this name a process of pytest-xdist tells the one that counts.
OUTPUT = "count-guard"


def read_expected(path: Path) -> dict[str, int]:
    """Lines such as `tests N` and `shared N`; a missing one is 0."""
    pairs = (line.split() for line in path.read_text().splitlines() if line.strip())
    return dict.fromkeys(KINDS, 0) | {kind: int(number) for kind, number in pairs}


class CountGuard:
    def __init__(
        self,
        config: pytest.Config,
        expected: Path = EXPECTED,
        shared_data: Path = SHARED_DATA,
    ) -> None:
        self.config = config
        self.expected = expected
        self.has_shared_data = shared_data.is_dir()
        self.shared: set[str] = set()
        self.left_out = 0
        self.others = 0
        self.ran: set[str] = set()
        self.lines: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if not self.is_for_fastchat():
            others = [item for item in items if item.get_closest_marker("fastchat")]
            self.others = len(others)
            if others:
                self.config.hook.pytest_deselected(items=others)
                items[:] = [item for item in items if item not in others]
        shared = [item for item in items if item.get_closest_marker("shared")]
        self.shared = {item.nodeid for item in shared}
        if shared and not self.has_shared_data:
            self.left_out = len(shared)
            self.config.hook.pytest_deselected(items=shared)
            items[:] = [item for item in items if item.nodeid not in self.shared]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # An expected failure reports as skipped, but it ran.
        if report.when == "call" and (not report.skipped or hasattr(report, "wasxfail")):
            self.ran.add(report.nodeid)

    def is_for_fastchat(self) -> bool:
        return bool(getattr(self.config.option, "markexpr", "") == "fastchat")

    def is_narrowed(self, *more: str) -> bool:
        options = ("keyword", "lf", "deselect", "ignore", "ignore_glob", "collectonly", "stepwise")
        return any(getattr(self.config.option, name, None) for name in (*options, *more))

    def is_whole_suite(self) -> bool:
        return (
            self.config.args_source == pytest.Config.ArgsSource.TESTPATHS
            and not self.is_narrowed("markexpr")
        )

    def is_all_of_fastchat(self) -> bool:
        return (
            self.is_for_fastchat()
            and not self.is_narrowed()
            and self.config.args == ["tests/fastchat"]
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """One of the processes of pytest-xdist ended. Each of them collected all tests."""
        self.shared, self.left_out, self.others = getattr(node, "workeroutput", {}).get(
            OUTPUT, (self.shared, self.left_out, self.others)
        )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (output := getattr(self.config, "workeroutput", None)) is not None:
            output[OUTPUT] = (self.shared, self.left_out, self.others)
            return
        if self.left_out:
            self.lines.append(
                f"LEFT OUT: {self.left_out} tests need evaluation data, which is not here"
            )
        if self.others:
            self.lines.append(
                f"LEFT OUT: {self.others} tests need FastChat; make test-fastchat runs them"
            )
        if self.is_all_of_fastchat():
            counted = {"fastchat": len(self.ran)}
        elif self.is_whole_suite():
            counted = {"tests": len(self.ran - self.shared)}
            if self.has_shared_data:
                counted["shared"] = len(self.ran & self.shared)
        else:
            return
        for kind, number in read_expected(self.expected).items():
            if kind not in counted:
                continue
            if counted[kind] < number:
                self.lines.append(
                    f"FAILED: {counted[kind]} {kind} ran, {self.expected.name} says {number}"
                )
                if session.exitstatus == pytest.ExitCode.OK:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED
            elif counted[kind] > number:
                self.lines.append(
                    f"{counted[kind]} {kind} ran, more than the {number} that are expected: "
                    f"write `{kind} {counted[kind]}` into tests/{self.expected.name}"
                )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.lines:
            terminalreporter.section("number of tests")
            for line in self.lines:
                terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CountGuard(config), "count-guard")
