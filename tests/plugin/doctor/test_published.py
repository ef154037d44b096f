"""The doctor over manifests and OpenAPI documents that a store once accepted.

Every error reported on them is listed in published_errors.json with the reason why it is true of
today's clients, and looked at here once more by other means than the rule's own.
published_tools.json holds what NextChat's own code (app/store/plugin.ts on openapi-client-axios
7.9, run by Node) makes of each document: the number of tools and a hash of them, or null where it
refuses the document.
"""

import hashlib
import json
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command

from plugin.doctor import Consumer, Document, Severity, examine
from plugin.doctor.subject import at
from tests.conftest import SHARED_DATA

pytestmark = pytest.mark.shared

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "published_errors.json").read_text())
TOOLS = json.loads((HERE / "published_tools.json").read_text())
#: Their examples are dates, which js-yaml turns into points in time.
WITH_DATES = {"api.litmaps.com.yaml", "partners.api.vio.com.yaml"}
MANIFESTS, SPECS = SHARED_DATA / "manifests", SHARED_DATA / "specs"


def test_all_are_checked_offline_in_one_run():
    out, begun = StringIO(), time.monotonic()
    with pytest.raises(SystemExit) as exit_:
        call_command("validate_manifest", str(MANIFESTS), "--offline", "--format=json", stdout=out)
    assert time.monotonic() - begun < 60
    assert exit_.value.code == 1
    reports = json.loads(out.getvalue())
    assert len(reports) == 203
    found: dict[str, dict[str, list[str]]] = {}
    for report in reports:
        assert set(report["consumers"]) == set(Consumer)
        for one in report["findings"]:
            if one["severity"] == "error":
                name = Path(report["source"]).stem
                found.setdefault(one["rule"], {}).setdefault(name, []).append(one["pointer"])
    assert found == {rule: entry["found"] for rule, entry in EXPECTED.items()}


def test_the_store_that_accepted_them_has_no_error():
    """What ChatGPT's own store took is no error for ChatGPT."""
    for path in sorted(MANIFESTS.iterdir()):
        spec = next(SPECS.glob(f"{path.stem}.*"), None)
        report = examine(path.read_bytes(), openapi=spec.read_bytes() if spec else None)
        errors = [
            found
            for found in report.findings
            if found.consumers.get(Consumer.CHATGPT) is Severity.ERROR
        ]
        assert errors == [], path.name


# --- Each error, seen with other eyes --------------------------------------------------------


class RefusesTwins(yaml.SafeLoader):
    pass


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    names = [key.value for key, _ in node.value]
    if len(names) != len(set(names)):
        raise yaml.YAMLError("duplicated mapping key")
    return dict(loader.construct_pairs(node))


RefusesTwins.add_constructor("tag:yaml.org,2002:map", _mapping)


def has_twins(raw: str) -> bool:
    try:
        yaml.load(raw, RefusesTwins)
    except yaml.YAMLError as error:
        return "duplicated" in str(error)
    return False


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for value in node.values() for found in references(value)]


def leads_through_nothing(spec: Any, reference: str) -> bool:
    parts = reference.split("/")[1:]
    return len(parts) > 1 and not at(spec, "/" + "/".join(parts[:-1]))


def is_unusable(spec: Any, raw: str, pointer: str) -> bool:
    value = at(spec, pointer)
    if pointer.endswith("/required"):
        # The second: NextChat adds a parameter of the query that the body requires already.
        return isinstance(value, bool) or bool(value)
    if not isinstance(value, dict):
        return False
    return (
        value.get("schema", {}).get("type") == "array"
        # Bodies that two operations share get the names of both operations' parameters.
        or raw.count(f"#{pointer}") > 1
        or any(at(spec, one[1:]) is None for one in references(value))
        or (value.get("type") == "array" and "items" not in value)
    )


SEEN = {
    "KB125": lambda manifest, spec, raw, pointer: has_twins(raw),
    "KB141": lambda manifest, spec, raw, pointer: "type" not in manifest["api"],
    "KB143": lambda manifest, spec, raw, pointer: manifest["api"]["url"].startswith("/"),
    "KB209": lambda manifest, spec, raw, pointer: not at(spec, pointer).get("operationId"),
    "KB210": lambda manifest, spec, raw, pointer: raw.count(json.dumps(at(spec, pointer))) == 2,
    "KB211": lambda manifest, spec, raw, pointer: " " in at(spec, pointer),
    "KB212": lambda manifest, spec, raw, pointer: len(at(spec, pointer)) > 64,
    "KB220": lambda manifest, spec, raw, pointer: not spec.get("servers"),
    "KB224": lambda manifest, spec, raw, pointer: "//localhost:" in at(spec, pointer),
    "KB301": lambda manifest, spec, raw, pointer: any(
        leads_through_nothing(spec, one) for one in references(spec)
    ),
    "KB304": lambda manifest, spec, raw, pointer: is_unusable(spec, raw, pointer),
    "KB309": lambda manifest, spec, raw, pointer: at(spec, pointer).lower().startswith("x-"),
}


@pytest.mark.parametrize("rule", EXPECTED)
def test_every_error_is_true(rule):
    assert EXPECTED[rule]["reason"]
    for name, pointers in EXPECTED[rule]["found"].items():
        manifest = json.loads((MANIFESTS / f"{name}.json").read_bytes())
        path = next(SPECS.glob(f"{name}.*"), None)
        raw = path.read_text() if path else ""
        spec = yaml.safe_load(raw) if path else {}
        for pointer in pointers:
            assert SEEN[rule](manifest, spec, raw, pointer), (name, pointer)


# --- NextChat's own code ---------------------------------------------------------------------


def plain(value: Any) -> Any:
    """As JavaScript writes numbers."""
    if isinstance(value, float) and value == int(value):
        return int(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def test_the_tools_are_those_that_nextchat_makes():
    specs = sorted(SPECS.iterdir())
    assert {path.name for path in specs} == TOOLS.keys()
    for path in specs:
        report = examine(path.read_bytes(), expect=Document.OPENAPI)
        if TOOLS[path.name] is None:
            assert report.tools == (), path.name
            assert report.consumers[Consumer.NEXTCHAT] == "error", path.name
            continue
        number, expected = TOOLS[path.name]
        assert len(report.tools) == number, path.name
        tools = [
            {"name": t.name, "description": t.description, "parameters": plain(t.parameters)}
            for t in report.tools
        ]
        text = json.dumps(tools, sort_keys=True, ensure_ascii=False)
        if path.name not in WITH_DATES:
            assert hashlib.sha256(text.encode()).hexdigest()[:16] == expected, path.name
