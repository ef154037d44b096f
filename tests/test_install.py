"""deploy/install.py, with a pip that only pretends: nothing here uses the network."""

import ast
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "deploy" / "install.py"

#: Writes down how it was called, then does what the file `behaviour.json` says.
PIP = """
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
behaviour = json.loads((here / "behaviour.json").read_text())
print(behaviour.get("output", ""))
time.sleep(behaviour.get("sleep", 0))
sys.exit(behaviour.get("code", 0))
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """The module, for a checkout of its own."""
    spec = importlib.util.spec_from_file_location("kbadmin_install", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", str(tmp_path))
    monkeypatch.setattr(module, "VENV", str(tmp_path / ".venv"))
    (tmp_path / "requirements.txt").write_text("django==5.2\ntorch==9.8.7  # exact\n")
    (tmp_path / "requirements-dev.txt").write_text("-r requirements.txt\npytest==1\n")
    return module


class Checkout:
    """A folder with the script in it, and the pip that pretends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pip = folder / "stub" / "pip"
        self.pip.mkdir(parents=True)
        (self.pip / "__init__.py").touch()
        (self.pip / "__main__.py").write_text(PIP)
        (folder / "deploy").mkdir()
        shutil.copy(SCRIPT, folder / "deploy")
        (folder / "requirements.txt").write_text("torch==9.8.7\n")
        (folder / "requirements-dev.txt").write_text("-r requirements.txt\n")
        self.behave()

    def behave(self, **behaviour: object) -> None:
        (self.pip / "behaviour.json").write_text(json.dumps(behaviour))

    def calls(self) -> list[list[str]]:
        log = self.pip / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "deploy/install.py", *arguments],
            cwd=self.folder,
            # A proxy that refuses: PyTorch's index counts as unreachable at once.
            env={
                **os.environ,
                "PYTHONPATH": str(self.pip.parent),
                "HTTPS_PROXY": "http://127.0.0.1:9",
                "https_proxy": "http://127.0.0.1:9",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_it_parses_on_the_oldest_python_that_must_be_told():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))


def test_a_python_that_is_too_old_is_named_with_what_to_do(install):
    with pytest.raises(install.Trouble, match=r"Python 3\.9 is too old; kbadmin needs 3\.11"):
        install.check_version((3, 9, 18))
    install.check_version((3, 11, 0))


def test_a_missing_venv_module_names_the_package(install, monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(install.Trouble, match="apt install python3-venv"):
        install.check_modules()


def test_a_full_disk_is_one_sentence(install, monkeypatch):
    usage = shutil._ntuple_diskusage(10**12, 10**12, 50 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(install.Trouble, match="50 MB are free") as error:
        install.check_disk()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("ERROR: [Errno 28] No space left on device", "The disk became full"),
        ("NewConnectionError('Failed to establish')", "The package index cannot be reached"),
        ("ERROR: ResolutionImpossible", "pip failed."),
    ],
)
def test_pips_failure_becomes_a_sentence_and_its_last_lines(install, line, sentence):
    first, *rest = install.explain(["earlier", line], "pip failed").splitlines()
    assert first.startswith(sentence)
    assert rest[-1].strip() == line


def test_torch_is_installed_at_the_exact_version_of_the_list(install):
    assert install.torch_requirement() == "torch==9.8.7"


@pytest.fixture
def pip_calls(install, monkeypatch):
    calls: list[tuple[str, ...]] = []

    def pip_install(*arguments: str) -> tuple[int, list[str]]:
        calls.append(arguments)
        return (1, ["broken"]) if "--index-url" in arguments and install.cpu_fails else (0, [])

    install.cpu_fails = False
    monkeypatch.setattr(install, "pip_install", pip_install)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(install, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(install, "is_reachable", lambda url, seconds: True)
    return calls


def test_without_a_driver_torch_comes_from_the_cpu_index(install, pip_calls):
    install.install_torch()
    (call,) = pip_calls
    assert call[-3:] == ("--index-url", install.CPU_INDEX, "torch==9.8.7")


def test_an_unreachable_cpu_index_is_not_tried(install, pip_calls, monkeypatch):
    monkeypatch.setattr(install, "is_reachable", lambda url, seconds: False)
    install.install_torch()
    assert pip_calls == [("torch==9.8.7",)]


def test_a_failing_cpu_index_falls_back_to_the_default(install, pip_calls):
    install.cpu_fails = True
    install.install_torch()
    assert pip_calls[-1] == ("torch==9.8.7",)
    assert len(pip_calls) == 2


def test_with_a_driver_torch_comes_from_the_default_index(install, pip_calls, monkeypatch):
    monkeypatch.setattr(install, "has_nvidia_driver", lambda: True)
    install.install_torch()
    assert pip_calls == [("torch==9.8.7",)]


def test_a_silent_index_is_given_up_in_time(install, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        started = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert not install.is_reachable(url, 0.5)
        assert time.monotonic() - started < 2


def test_a_first_run_installs_and_a_second_does_nothing(checkout):
    code, output = checkout.run()
    assert code == 0, output
    assert "Installing packages" in output
    assert [call[-1] for call in checkout.calls()] == ["torch==9.8.7", "requirements.txt"]
    started = time.monotonic()
    assert checkout.run() == (0, "")
    assert time.monotonic() - started < 1
    assert len(checkout.calls()) == 2


def test_changed_requirements_are_installed_into_the_same_venv(checkout):
    checkout.run("--dev")
    assert checkout.run() == (0, ""), "what development needs includes what running needs"
    inode = (checkout.folder / ".venv").stat().st_ino
    (checkout.folder / "requirements.txt").write_text("torch==9.8.8\n")
    code, output = checkout.run()
    assert (code, "up to date" in output) == (0, True)
    assert checkout.calls()[-2][-1] == "torch==9.8.8"
    assert (checkout.folder / ".venv").stat().st_ino == inode


def test_a_run_killed_in_the_middle_is_repaired_by_the_next(checkout):
    checkout.behave(sleep=60)
    process = checkout.start()
    deadline = time.monotonic() + 60
    while not checkout.calls():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=70)
    checkout.behave()
    code, output = checkout.run()
    assert code == 0, output
    assert "unfinished" in output
    assert checkout.run() == (0, "")


def test_without_network_it_ends_with_one_sentence(checkout):
    checkout.behave(code=1, output="NewConnectionError: Name or service not known")
    code, output = checkout.run()
    assert code == 1
    assert "The package index cannot be reached" in output
    assert "Traceback" not in output
    checkout.behave()
    assert checkout.run()[0] == 0, "and the next run succeeds"
