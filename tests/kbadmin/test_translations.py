"""The Chinese catalogue knows every sentence, and what is compiled is what is written."""

import gettext
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Path("locale/zh_Hans/LC_MESSAGES/django.po")

pytestmark = pytest.mark.skipif(shutil.which("msgfmt") is None, reason="needs gettext")


def tool(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The catalogue brought up to date with today's sources, in a copy."""
    for folder in ("retrieval", "kbadmin", "plugin", "templates", "locale"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "-l", "zh_Hans", "--no-obsolete"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    return tmp_path / CATALOGUE


def test_every_sentence_is_translated(fresh: Path) -> None:
    assert tool("msgattrib", "--untranslated", "--no-wrap", str(fresh)) == ""


def test_no_translation_is_a_guess(fresh: Path) -> None:
    assert tool("msgattrib", "--only-fuzzy", "--no-wrap", str(fresh)) == ""


def test_the_compiled_catalogue_is_the_written_one(tmp_path: Path) -> None:
    source = ROOT / CATALOGUE
    compiled = tmp_path / "django.mo"
    tool("msgfmt", "--check-format", "-o", str(compiled), str(source))
    catalogues = []
    for path in (compiled, source.with_suffix(".mo")):
        with path.open("rb") as file:
            catalogues.append(gettext.GNUTranslations(file)._catalog)  # type: ignore[attr-defined]
    assert catalogues[0] == catalogues[1]
