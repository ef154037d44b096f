"""Nothing is told to anybody behind the owner's back."""

import os
import subprocess
import sys
from pathlib import Path

from retrieval.embedding import Bundle
from tests.test_architecture import ROOT

USE = """
import sys
from pathlib import Path
from retrieval.embedding import find, load
embedder = load(find(Path(sys.argv[1]), sys.argv[2]), 1)
assert embedder.embed_query("Who is told?").shape == (embedder.dimension,)
import magika
magika.Magika().identify_bytes(b"who is told?")
"""


def test_models_run_without_telemetry(bundle: Bundle, tmp_path: Path) -> None:
    """onnxruntime's is on unless told otherwise: a thread that sends, and a file in the home
    folder for what could not be sent yet."""
    home = tmp_path / "home"
    home.mkdir()
    given = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    given |= {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(bundle.folder.parent), bundle.name],
        cwd=ROOT, env=given, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    assert list(home.rglob("*")) == []
