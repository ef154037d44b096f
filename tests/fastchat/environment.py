"""FastChat in an environment of its own below build/, and a tiny model for it.

Run as a program by `make test-fastchat`; what is there already is not made again.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.install import CPU_INDEX, PROBE_SECONDS, is_reachable

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "deploy" / "fastchat"
FOLDER = ROOT / "build" / "fastchat"
PYTHON = FOLDER / "venv" / "bin" / "python"
MODEL = FOLDER / "tiny"
MAKER = Path(__file__).with_name("tiny_llama.py")


def prepare() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    pins = [PINS / "requirements.txt", PINS / "constraints.txt"]
    if not is_made("venv", pins):
        print("Installing FastChat into build/fastchat, once; this takes two minutes ...")
        shutil.rmtree(FOLDER / "venv", ignore_errors=True)
        run(sys.executable, "-m", "venv", FOLDER / "venv")
        install(pins)
        set_made("venv", pins)
    if not is_made("model", [MAKER]):
        shutil.rmtree(MODEL, ignore_errors=True)
        run(PYTHON, MAKER, ROOT / "kb", MODEL)
        set_made("model", [MAKER])


def install(pins: list[Path]) -> None:
    pip: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    (torch,) = [line for line in pins[0].read_text().splitlines() if line.startswith("torch==")]
    # The default index has only the CUDA build for Linux.
    if sys.platform.startswith("linux") and is_reachable(CPU_INDEX, PROBE_SECONDS):
        run(*pip, "--index-url", CPU_INDEX, torch)
    run(*pip, "--requirement", pins[0], "--constraint", pins[1])


def run(*command: str | Path) -> None:
    # Warnings of pip about indexes are of no use here; an error says itself.
    subprocess.run([str(word) for word in command], check=True)


def fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256(f"{sys.version_info[:2]} {FOLDER}".encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_made(what: str, files: list[Path]) -> bool:
    stamp = FOLDER / f".{what}"
    return stamp.exists() and stamp.read_text() == fingerprint(files)


def set_made(what: str, files: list[Path]) -> None:
    (FOLDER / f".{what}").write_text(fingerprint(files))


if __name__ == "__main__":
    prepare()
