#!/usr/bin/env python3
"""Make .venv and install what kbadmin needs; done already, return at once.

Standard library only, and the syntax of Python 3.6: it has to run on a Python that is too old
for kbadmin in order to say so. Every failure a person can mend is one sentence.
"""

import os
import sys

if sys.version_info < (3, 6):
    sys.exit("kbadmin needs Python 3.11 or newer.")

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
OLDEST = (3, 11)
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 3.0
FREE_BYTES = 3 * 1024**3
RUNTIME = ("requirements-runtime.txt", "requirements.txt")
DEVELOPMENT = (*RUNTIME, "requirements-dev.txt")
#: There while packages change: a .venv that still has it was left in the middle.
UNFINISHED = ".kbadmin-installing"
DISK_FULL = "No space left on device"


class Trouble(Exception):
    """Something the person can mend; the message is all they need."""


def say(text: str) -> None:
    print(text, flush=True)


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


# --- What is there -----------------------------------------------------------------------


def check_version(version: "tuple[int, ...]") -> None:
    if tuple(version[:2]) >= OLDEST:
        return
    import shutil

    newer = [name for name in NEWER_PYTHONS if shutil.which(name)]
    remedy = (
        "use the one that is here: make run PYTHON={}".format(newer[0])
        if newer
        else "install one and name it: make run PYTHON=python3.12"
    )
    raise Trouble(
        "Python {}.{} is too old; kbadmin needs {}.{} or newer: {}".format(
            version[0], version[1], OLDEST[0], OLDEST[1], remedy
        )
    )


def fingerprint(files: "tuple[str, ...]") -> str:
    """Changes with the requirements, the Python and the folder, which scripts have inside."""
    import hashlib

    digest = hashlib.sha256("{}.{} {}".format(*sys.version_info[:2], VENV).encode())
    for name in files:
        digest.update(read(os.path.join(ROOT, name)).encode())
    return digest.hexdigest()


def stamp_path(development: bool) -> str:
    return os.path.join(VENV, ".kbadmin-dev" if development else ".kbadmin-runtime")


def venv_python() -> str:
    return os.path.join(VENV, "bin", "python")


def is_installed(development: bool) -> bool:
    """What development needs includes what running needs."""
    if not os.access(venv_python(), os.X_OK) or os.path.exists(os.path.join(VENV, UNFINISHED)):
        return False
    if read(stamp_path(True)) == fingerprint(DEVELOPMENT):
        return True
    return not development and read(stamp_path(False)) == fingerprint(RUNTIME)


def venv_is_usable() -> bool:
    """Whether .venv can be built upon: whole, of this Python, made in this folder."""
    import subprocess

    if os.path.exists(os.path.join(VENV, UNFINISHED)) or not os.access(venv_python(), os.X_OK):
        return False
    probe = "import sys, pip; print('%d.%d' % sys.version_info[:2], sys.prefix)"
    result = subprocess.run(
        [venv_python(), "-c", probe],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        universal_newlines=True,
        check=False,
    )
    wanted = "{}.{} {}".format(*sys.version_info[:2], VENV)
    return result.returncode == 0 and result.stdout.strip() == wanted


def torch_requirement() -> str:
    """The exact pin, so that the step of its own installs what the list asks for."""
    for line in read(os.path.join(ROOT, "requirements.txt")).splitlines():
        requirement = line.split("#")[0].strip()
        if requirement.replace(" ", "").startswith("torch=="):
            return requirement
    raise Trouble("requirements.txt names no exact version of torch (torch==...)")


def has_nvidia_driver() -> bool:
    import shutil

    return os.path.exists("/proc/driver/nvidia/version") or bool(shutil.which("nvidia-smi"))


def is_reachable(url: str, seconds: float) -> bool:
    """Whether the address answers in time, through the proxy that the environment names."""
    import ssl
    import threading
    import urllib.error
    import urllib.request

    answers = []  # type: list[bool]

    def ask() -> None:
        try:
            with urllib.request.urlopen(url + "/", timeout=seconds):
                answers.append(True)
        except urllib.error.URLError as error:
            # pip may know the certificates of a company's network; let it try.
            answers.append(isinstance(getattr(error, "reason", None), ssl.SSLError))
        except OSError:
            answers.append(False)

    # A name that does not resolve ignores timeouts, so the wait is limited from outside.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])


# --- What is done ------------------------------------------------------------------------


def check_modules() -> None:
    """Distributions leave parts of the standard library out, or a compilation does."""
    for name, package in (
        ("venv", "python3-venv"),
        ("ensurepip", "python3-venv"),
        ("ssl", ""),
        ("sqlite3", ""),
    ):
        try:
            __import__(name)
        except ImportError:
            version = "{}.{}".format(*sys.version_info[:2])
            if package:
                remedy = "on Debian and Ubuntu: sudo apt install {} (or python{}-venv)".format(
                    package, version
                )
            else:
                remedy = "use a complete one: make run PYTHON=python3.12"
            raise Trouble("Python {} has no module {}; {}".format(version, name, remedy)) from None


def check_disk() -> None:
    import shutil

    free = shutil.disk_usage(ROOT).free
    if free < FREE_BYTES:
        raise Trouble(
            "The disk is too full: {} MB are free in {}, installing needs about {} MB; "
            "free some space and run it again".format(free // 2**20, ROOT, FREE_BYTES // 2**20)
        )


def make_venv() -> None:
    import shutil
    import subprocess

    if os.path.islink(VENV) or os.path.isfile(VENV):
        os.unlink(VENV)
    elif os.path.isdir(VENV):
        say("The .venv that is here is unfinished or of another Python; making it anew.")
        shutil.rmtree(VENV)
    # Started from inside a .venv, sys.executable may be what was just deleted.
    base = getattr(sys, "_base_executable", None) or sys.executable
    result = subprocess.run(
        [base, "-m", "venv", VENV],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=False,
    )
    if result.returncode:
        raise Trouble(explain(result.stdout.splitlines(), "Making .venv failed"))


def explain(lines: "list[str]", otherwise: str) -> str:
    """One sentence about what went wrong, then the tool's own last lines."""
    text = "\n".join(lines)
    if DISK_FULL in text or "Disk quota exceeded" in text:
        sentence = "The disk became full while installing; free some space and run it again"
    elif any(
        sign in text
        for sign in (
            "NewConnectionError",
            "Failed to establish a new connection",
            "Temporary failure in name resolution",
            "Name or service not known",
            "nodename nor servname",
            "ConnectTimeoutError",
            "Read timed out",
            "ReadTimeoutError",
            "ProxyError",
            "Network is unreachable",
            "Connection refused",
            "ConnectionResetError",
            "SSLError",
        )
    ):
        sentence = (
            "The package index cannot be reached; installing needs the network once "
            "(behind a proxy, set HTTPS_PROXY), then run it again"
        )
    else:
        sentence = otherwise
    return "\n".join([sentence + ".", *("    " + line for line in lines[-8:])])


def pip_install(*arguments: str) -> "tuple[int, list[str]]":
    """Run pip in .venv with the person's own configuration; returns its code and last lines."""
    import collections
    import shutil
    import subprocess

    pip = [venv_python(), "-m", "pip", "--disable-pip-version-check", "--no-input"]

    def end_with_this_process() -> None:
        # Killed with -9, this must not leave a pip that goes on in a .venv made anew.
        if sys.platform.startswith("linux"):
            import ctypes

            ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)

    process = subprocess.Popen(
        [*pip, "install", "--progress-bar", "off", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        cwd=ROOT,
        preexec_fn=end_with_this_process,
    )
    tail = collections.deque(maxlen=200)  # type: collections.deque[str]
    live = sys.stdout.isatty()
    try:
        for line in process.stdout or ():
            line = line.rstrip()
            tail.append(line)
            if live and line.startswith(("Collecting", "Downloading", "Installing")):
                width = shutil.get_terminal_size().columns - 4
                print("\r\033[K  " + line[:width], end="", flush=True)
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        if live:
            print("\r\033[K", end="", flush=True)
    return code, list(tail)


def pip_trouble(lines: "list[str]", what: str) -> Trouble:
    """pip fetches everything before it changes anything, so its own failures leave a whole
    .venv; not so a full disk, which stops it anywhere."""
    unfinished = os.path.join(VENV, UNFINISHED)
    if DISK_FULL not in "\n".join(lines) and os.path.exists(unfinished):
        os.unlink(unfinished)
    return Trouble(explain(lines, "pip could not install {}".format(what)))


def install_torch() -> None:
    """torch in a step of its own: the default index has only the CUDA build for Linux."""
    requirement = torch_requirement()
    if sys.platform.startswith("linux") and not has_nvidia_driver():
        if is_reachable(CPU_INDEX, PROBE_SECONDS):
            code, lines = pip_install("--retries", "1", "--index-url", CPU_INDEX, requirement)
            if code == 0:
                return
            if DISK_FULL in "\n".join(lines):
                raise pip_trouble(lines, requirement)
        say("PyTorch's CPU index cannot be used; taking torch from the default index.")
    code, lines = pip_install(requirement)
    if code:
        raise pip_trouble(lines, requirement)


def install(development: bool) -> None:
    check_modules()
    fresh = not venv_is_usable()
    if fresh:
        check_disk()
        say("Installing packages into .venv, once; this takes a few minutes ...")
        make_venv()
    else:
        say("Bringing the packages in .venv up to date ...")
    unfinished = os.path.join(VENV, UNFINISHED)
    with open(unfinished, "w"):
        pass
    for path in (stamp_path(True), stamp_path(False)):
        if os.path.exists(path):
            os.unlink(path)
    install_torch()
    files = DEVELOPMENT if development else RUNTIME
    code, lines = pip_install("-r", files[-1])
    if code:
        raise pip_trouble(lines, files[-1])
    with open(stamp_path(development), "w", encoding="utf-8") as file:
        file.write(fingerprint(files))
    os.unlink(unfinished)


def install_alone(development: bool) -> None:
    """Install while no other does: two at once would break each other's .venv."""
    import fcntl

    with open(os.path.abspath(__file__)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another installation is under way; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_installed(development):
            install(development)


def main(arguments: "list[str]") -> int:
    development = "--dev" in arguments
    try:
        check_version(tuple(sys.version_info[:2]))
        if not is_installed(development):
            install_alone(development)
    except Trouble as trouble:
        sys.stderr.write("{}\n".format(trouble))
        return 1
    except OSError as error:
        sys.stderr.write("Installing into {} failed: {}.\n".format(VENV, error))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped; the next run makes it whole.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
