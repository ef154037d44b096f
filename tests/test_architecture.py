"""The arrows of DESIGN.md, held by reading every import with `ast`, also those in functions.

Imports below `if TYPE_CHECKING:` bind nothing at run time, so they may name a heavy room's
types; they count like the others wherever a direction is at stake.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("kbadmin", "plugin", "retrieval")
OURS = {"kbadmin", "plugin", "retrieval", "tests", "deploy"}
#: The admin of a model is a page, whatever folder it lives in: it may know requests.
ADMIN = "retrieval/admin"
MODELS_AND_SETTINGS = ("retrieval.models", "django", "kbadmin")

#: Who touches the environment beside kbadmin/settings.py, and why.
ENVIRONMENT_READERS = {
    "kbadmin/settings.py": "the one reader",
    "kbadmin/supervisor.py": "hands its environment on to the processes it starts",
    "kbadmin/wsgi.py": "names the settings module",
    "manage.py": "names the settings module",
    "kbadmin/management/commands/chroma.py": "quietens Chroma, which it becomes by exec",
    "retrieval/__init__.py": "settles what libraries read while they are imported",
}


@dataclass(frozen=True)
class Import:
    module: str  #: dotted, with the imported name: `from a import b` is a.b
    line: int
    only_for_types: bool


def files_of(*rooms: str) -> list[Path]:
    found = []
    for room in rooms:
        path = ROOT / room
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(source: str) -> Iterator[Import]:
    def visit(node: ast.AST, only_for_types: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, only_for_types)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are banned"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", node.lineno, only_for_types)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    yield Import(str(argument.value), node.lineno, only_for_types)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for below in node.body:
                yield from visit(below, True)
            for below in node.orelse:
                yield from visit(below, only_for_types)
            return
        for child in ast.iter_child_nodes(node):
            yield from visit(child, only_for_types)

    return visit(ast.parse(source), False)


def belongs_to(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offenders(
    files: list[Path], forbidden: tuple[str, ...], *, types_allowed: bool = False
) -> list[str]:
    """`file:line imports module` for every import of what is forbidden there."""
    return [
        f"{name_of(path)}:{item.line} imports {item.module}"
        for path in files
        for item in imports_of(path.read_text(encoding="utf-8"))
        if belongs_to(item.module, forbidden) and not (types_allowed and item.only_for_types)
    ]


def test_the_reader_of_imports_sees_every_kind():
    source = """
import a.b
from c import d
def f():
    import e
if TYPE_CHECKING:
    from g import h
else:
    import i
importlib.import_module("j.k")
"""
    seen = {(item.module, item.only_for_types) for item in imports_of(source)}
    assert seen == {
        ("a.b", False),
        ("c.d", False),
        ("e", False),
        ("g.h", True),
        ("i", False),
        ("j.k", False),
    }


def test_the_rooms_are_where_this_test_looks_for_them():
    names = {name_of(path) for path in files_of(*ROOMS)}
    assert {"kbadmin/settings.py", "plugin/views.py", "retrieval/search.py"} <= names


def test_retrieval_knows_neither_plugin_nor_the_project():
    assert not offenders(files_of("retrieval"), ("plugin", "kbadmin"))


def test_plugin_does_not_know_the_project():
    assert not offenders(files_of("plugin"), ("kbadmin",))


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("types.py", ()),
        ("exceptions.py", ()),
        ("hashing.py", ()),
        ("metrics.py", ()),
        ("fusion.py", ("retrieval.types", "retrieval.lexical.tokenizer")),
        ("lexical/tokenizer.py", ()),
        ("lexical/weights.py", ()),
    ],
)
def test_a_pure_module_imports_nothing_of_ours_and_no_framework(module, allowed):
    path = ROOT / "retrieval" / module
    if not path.exists():
        assert module == "metrics.py", f"{module} is gone: this table describes another house"
        return
    for item in imports_of(path.read_text(encoding="utf-8")):
        package = item.module.split(".")[0]
        assert package not in OURS or belongs_to(item.module, allowed), item
        assert package not in {"django", "rest_framework", "chromadb", "torch"}, item


def test_adapters_know_neither_models_nor_settings():
    adapters = files_of(
        "retrieval/parsers", "retrieval/chunking.py", "retrieval/embedding",
        "retrieval/vector_store.py", "retrieval/fetching",
    )  # fmt: skip
    assert len(adapters) > 8
    assert not offenders(adapters, MODELS_AND_SETTINGS)


def test_adapters_do_not_know_who_combines_them():
    adapters = files_of("retrieval/parsers", "retrieval/embedding", "retrieval/vector_store.py")
    combining = tuple(
        f"retrieval.{name}"
        for name in ("factories", "embeddings", "ingest", "indexing", "sync", "search", "worker")
    )
    assert not offenders([*adapters, ROOT / "retrieval/chunking.py"], combining)


def test_only_the_vector_store_imports_chromadb():
    room = ROOT / "retrieval/vector_store.py"
    others = [path for path in files_of(*ROOMS, "manage.py", "deploy") if path != room]
    assert not offenders(others, ("chromadb",))
    assert offenders([room], ("chromadb",))


def test_only_embedding_loads_models():
    room = set(files_of("retrieval/embedding"))
    others = [path for path in files_of(*ROOMS, "manage.py", "deploy") if path not in room]
    heavy = ("sentence_transformers", "torch", "transformers", "onnxruntime")
    assert not offenders(others, heavy)
    assert offenders(sorted(room), heavy)


def test_retrieval_knows_no_requests_templates_or_rest_framework():
    files = [path for path in files_of("retrieval") if not name_of(path).startswith(ADMIN)]
    web = (
        "django.http", "django.shortcuts", "django.template", "django.urls", "django.views",
        "rest_framework", "drf_spectacular", "unfold", "django.contrib.admin",
    )  # fmt: skip
    assert len(files) > 40
    assert not offenders(files, web)


def test_only_the_adapters_of_models_write_raw_sql():
    """The lexical index has no model, and prepared queries run what querysets said; nothing
    else needs a cursor of its own."""
    allowed = ("retrieval/lexical/", "retrieval/migrations/", "retrieval/prepared.py")
    users = [
        name_of(path)
        for path in files_of("retrieval")
        if ".cursor()" in path.read_text(encoding="utf-8") and not name_of(path).startswith(allowed)
    ]
    assert users == []


def reads_environment(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
            return True
        named = {alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)}
        if isinstance(node, ast.ImportFrom) and named & {"environ", "environb", "getenv"}:
            return True
        if isinstance(node, ast.ImportFrom | ast.Import) and "environs" in ast.unparse(node):
            return True
    return False


def test_only_the_settings_read_the_environment():
    readers = {
        name_of(path)
        for path in files_of(*ROOMS, "manage.py")
        if reads_environment(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert readers <= ENVIRONMENT_READERS.keys(), readers - ENVIRONMENT_READERS.keys()
    assert "kbadmin/settings.py" in readers


def test_those_that_only_name_the_settings_module_read_nothing_else():
    for name in ("manage.py", "kbadmin/wsgi.py"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        touching = [line.strip() for line in lines if "environ" in line]
        assert touching == [
            'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kbadmin.settings")'
        ], name


# --- What a process really loads ---------------------------------------------------------


def modules_loaded_by(program: str, tmp_path: Path) -> set[str]:
    """Top-level modules in a fresh process after it ran a program that printed "done"."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KBADMIN_", "DATABASE_URL"))
    }
    environment |= {"KBADMIN_DATA_DIR": str(tmp_path), "LOG_LEVEL": "ERROR"}
    tail = "\nimport sys\nprint('done')\nprint(' '.join({m.split('.')[0] for m in sys.modules}))"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program + tail],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    *_, done, modules = result.stdout.splitlines()
    assert done == "done"
    return set(modules.split())


def test_the_web_process_starts_without_torch(tmp_path):
    loaded = modules_loaded_by(
        """
from kbadmin.wsgi import application
from django.urls import get_resolver
get_resolver().url_patterns
from django.urls import resolve
for path in ("/search", "/feedback", "/openapi.json", "/admin/", "/healthz", "/readyz"):
    resolve(path)
from django.test import Client
assert Client(SERVER_NAME="localhost").get("/healthz").status_code == 200
""",
        tmp_path,
    )
    assert "plugin" in loaded
    assert not loaded & {"torch", "sentence_transformers", "transformers"}


def test_ingesting_nothing_loads_no_model_and_no_chroma(tmp_path):
    (tmp_path / "empty").mkdir()
    loaded = modules_loaded_by(
        f"""
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "kbadmin.settings"
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from retrieval.models import Collection, EmbeddingModel
model = EmbeddingModel.objects.create(
    name="m", revision="r", runtime="onnx", dimension=3, max_tokens=9)
Collection.objects.create(slug="docs", title="Docs", embedding_model=model).open_first_index()
call_command("ingest", {str(tmp_path / "empty")!r}, "--collection", "docs", "--wait")
""",
        tmp_path / "data",
    )
    assert "retrieval" in loaded
    assert not loaded & {"chromadb", "onnxruntime", "torch", "sentence_transformers"}
