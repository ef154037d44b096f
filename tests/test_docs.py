"""README, guide and change log say what the code does: names, defaults, links, addresses."""

import ast
import json
import re
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.urls import resolve

from retrieval import exceptions
from retrieval.folders import FolderReport
from retrieval.management.commands.ingest import as_json
from retrieval.models import Collection
from retrieval.parsers.detection import BY_SUFFIX

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
GUIDE = sorted((ROOT / "kb").rglob("*.md"))
DOCUMENTS = [README, CHINESE, ROOT / "CHANGELOG.md", *GUIDE]
READERS = {"read": 1, "read_url": 0, "read_origins": 0}  #: position of the variable's name
COMPUTED = object()
LARGEST_PICTURE = 300 * 1024


def settings_read() -> dict[str, Any]:
    """Environment variable → default, or COMPUTED where it is no literal."""
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse((ROOT / "kbadmin" / "settings.py").read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        position = READERS.get(node.func.id)
        if position is None or not isinstance(node.args[position], ast.Constant):
            continue
        name = ast.literal_eval(node.args[position])
        found[name] = literal(node.args[position + 1])
    return found


def literal(node: ast.expr) -> Any:
    """A constant, or a product of constants."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = literal(node.left), literal(node.right)
        return COMPUTED if COMPUTED in (left, right) else left * right
    try:
        return ast.literal_eval(node)
    except ValueError:
        return COMPUTED


def settings_table() -> dict[str, tuple[str, str]]:
    """Environment variable → (default, what it does) as README has them."""
    section = README.read_text().split("\n## Configure\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows}), "a setting is listed twice"
    return {name: (default, meaning) for name, default, meaning in rows}


def code_in(text: str) -> list[str]:
    """What is set as code: the lines of fences and the spans in backticks."""
    fences = re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [
        *(line for fence in fences for line in fence.splitlines()),
        *re.findall(r"`(.+?)`", rest),
    ]


def test_readme_lists_every_setting_and_no_other():
    assert settings_table().keys() == settings_read().keys()


def test_readme_gives_each_literal_default():
    table = settings_table()
    for name, default in settings_read().items():
        shown = table[name][0]
        if default is COMPUTED or default in ("", []):
            assert not re.fullmatch(r"`[^`]*`", shown) or shown.strip("`") in table, (
                f"{name}: {shown} reads like a fixed value"
            )
            continue
        value = shown.strip("`")
        if isinstance(default, bool):
            assert value == str(default).lower(), name
        elif isinstance(default, int | float):
            assert float(value) == default, name
        else:
            assert value == default, name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_only_settings_that_exist(path):
    named = set(re.findall(r"\bKBADMIN_[A-Z_]+", path.read_text()))
    assert named <= settings_read().keys()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_only_commands_that_exist(path):
    code = "\n".join(code_in(path.read_text()))
    commands = set(re.findall(r"manage\.py ([a-z_]+)", code))
    assert commands <= get_commands().keys()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:^|\s)make ([a-z0-9-]+)", code, re.MULTILINE)) <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_are_there(path):
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if "://" in target or target.startswith("#"):
            continue
        assert (path.parent / unquote(target.split("#")[0])).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_addresses_of_this_server_are_there(path):
    for address in re.findall(r"http://127\.0\.0\.1:8001(/[\w./-]*)", path.read_text()):
        resolve(address)


def test_endpoints_that_readme_names_are_there():
    section = README.read_text().split("\n## Connect\n")[1].split("\n## ")[0]
    named = re.findall(r"`(?:POST )?(/[\w./-]+)`", section)
    assert {"/search", "/feedback", "/openapi.json", "/readyz"} <= set(named)
    for address in named:
        resolve(address)


def test_guide_names_every_kind_of_file_that_is_read():
    for path in (
        ROOT / "kb" / language / "formats-and-front-matter.md" for language in ("en", "zh")
    ):
        text = path.read_text()
        assert [ending for ending in BY_SUFFIX if f"`{ending}`" not in text] == [], path.name


@pytest.mark.parametrize("language", ["en", "zh"])
def test_guide_explains_every_way_in_which_a_document_fails(language):
    text = (ROOT / "kb" / language / "failed-documents.md").read_text()
    rows = re.findall(r"^\| (`.+?`) \| ", text, re.MULTILINE)
    listed = {code for row in rows for code in re.findall(r"`([a-z_]+)`", row)}
    kinds = [exceptions.ParseError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {kind.code for kind in kinds[1:]} <= listed
    known = {getattr(kind, "code", None) for kind in vars(exceptions).values()}
    assert listed - known <= {"unreadable_file"}


def options_of(command: BaseCommand) -> set[str]:
    """Long options that a command adds to those of every command."""
    actions = command.create_parser("manage.py", "command")._actions
    common = BaseCommand().create_parser("manage.py", "command")._actions
    names = [
        {name for action in part for name in action.option_strings} for part in (actions, common)
    ]
    return {name for name in names[0] - names[1] if name.startswith("--")}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_guide_explains_every_option_and_field_of_ingest(language):
    text = (ROOT / "kb" / language / "ingest-folder.md").read_text()
    listed = set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE))
    assert listed == options_of(load_command_class("retrieval", "ingest"))
    example = json.loads(text.split("```json\n")[1].split("```")[0])
    real = json.loads(as_json(Collection(slug="docs"), FolderReport(), 0))
    assert example.keys() == real.keys()
    assert example["documents"].keys() == real["documents"].keys()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_only_options_that_exist(path):
    for line in code_in(path.read_text()):
        found = re.search(r"manage\.py ([a-z_]+)(.*)", line)
        if found is None or found[1] in {"changepassword", "migrate"}:
            continue
        app = get_commands()[found[1]]
        command = app if isinstance(app, BaseCommand) else load_command_class(app, found[1])
        assert set(re.findall(r"(--[a-z-]+)", found[2])) <= options_of(command), line


def blocks(path: Path) -> list[str]:
    """The shape of a document, line by line: headings, rows of tables, items, paragraphs."""
    text = re.sub(r"^```.*?^```", "```", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    kinds = {"#": "heading", "|": "row", "- ": "item", "!": "picture", "```": "code"}
    shape = []
    for line in filter(None, text.splitlines()):
        kind = next((name for mark, name in kinds.items() if line.startswith(mark)), "text")
        level = len(line) - len(line.lstrip("#")) if kind == "heading" else line.count(" | ")
        shape.append(f"{kind} {level}" if kind in {"heading", "row"} else kind)
    return shape


def spans(path: Path) -> list[str]:
    """What is set as code, in any order: other grammar, other order of words."""
    return sorted(code_in(path.read_text()))


def settings_in_order(path: Path) -> list[str]:
    return re.findall(r"^\| `([A-Z_]+)` \|", path.read_text(), re.MULTILINE)


def test_both_readmes_have_the_same_sections_tables_and_lists():
    assert blocks(CHINESE) == blocks(README)


def test_both_readmes_have_the_same_commands_names_and_values():
    # An example of a time zone nearer to its readers.
    theirs = {"Asia/Shanghai": "Europe/Berlin"}
    assert sorted(theirs.get(span, span) for span in spans(CHINESE)) == spans(README)
    assert settings_in_order(CHINESE) == settings_in_order(README)


def test_the_readmes_lead_to_each_other_and_to_the_same_documents():
    def targets(path: Path) -> list[str]:
        return sorted(re.findall(r"\]\(([^)]+)\)", path.read_text()))

    assert "README.zh-CN.md" in targets(README)
    assert "README.md" in targets(CHINESE)
    english = [target.replace("kb/zh/", "kb/en/") for target in targets(CHINESE)]
    assert sorted(set(english) - {"README.md"}) == sorted(set(targets(README)) - {CHINESE.name})


def test_the_chinese_readme_is_written_in_chinese():
    prose = re.sub(r"^```.*?^```", "", CHINESE.read_text(), flags=re.DOTALL | re.MULTILINE)
    long_lines = [line for line in prose.splitlines() if len(line) > 60 and "http" not in line]
    assert [line for line in long_lines if not re.search(r"[\u4e00-\u9fff]{2}", line)] == []


def test_pictures_are_small_enough_to_load():
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size >= LARGEST_PICTURE] == []


@pytest.mark.django_db
def test_logo_is_a_square_png_of_512_pixels(client):
    response = client.get("/logo.png")
    assert response.status_code == 200
    assert response["Content-Type"] == "image/png"
    assert response.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", response.content[16:24]) == (512, 512)
    assert len(response.content) < 40 * 1024


@pytest.mark.parametrize("readme", [README, CHINESE], ids=lambda path: path.name)
def test_the_map_names_every_room_and_nothing_that_is_gone(readme):
    named = re.findall(r"^\| `((?:kbadmin|plugin|retrieval)/\S+)` \|", readme.read_text(), re.M)
    assert [place for place in named if not (ROOT / place).exists()] == []
    rooms = {
        f"{path.parent.relative_to(ROOT)}/"
        for project in ("kbadmin", "plugin", "retrieval")
        for path in (ROOT / project).glob("*/__init__.py")
    }
    of_django = ("formats/", "management/", "migrations/", "templatetags/")
    assert {room for room in rooms if not room.endswith(of_django)} <= set(named)
