"""axe-core, fetched from npm when a test first needs it and kept below build/."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

import pytest

from tests.isolation import alone

VERSION = "4.14.1"
#: As `npm view axe-core@VERSION dist.integrity` says.
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
FOLDER = Path(__file__).resolve().parent.parent / "build" / "axe-core"
MEMBER = "package/axe.min.js"


class AxeUnavailable(Exception):
    """It could not be had; the message says why and what to do."""


@cache
def source() -> str:
    """The script that makes `axe` known to a page. Raises AxeUnavailable."""
    script = FOLDER / VERSION / "axe.min.js"
    with alone(FOLDER):
        if not script.exists():
            fetch(script)
    return script.read_text(encoding="utf-8")


def fetch(script: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise AxeUnavailable("npm is not installed; on Debian: apt-get install npm")
    script.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [npm, "pack", f"axe-core@{VERSION}", "--pack-destination", str(script.parent)],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    archive = script.parent / f"axe-core-{VERSION}.tgz"
    if done.returncode or not archive.exists():
        raise AxeUnavailable(f"npm could not fetch axe-core {VERSION}: {done.stderr.strip()}")
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if base64.b64encode(digest).decode() != SHA512:
        raise AxeUnavailable(f"{archive} is not the axe-core {VERSION} that was expected")
    with tarfile.open(archive) as files:
        member = files.extractfile(MEMBER)
        assert member is not None
        script.write_bytes(member.read())


def source_or_skip() -> str:
    """The script; without it a test is skipped with the reason, and fails under CI=1."""
    try:
        return source()
    except AxeUnavailable as problem:
        if os.environ.get("CI"):
            pytest.fail(str(problem))
        pytest.skip(f"LEFT OUT: accessibility was not looked at. {problem}")
