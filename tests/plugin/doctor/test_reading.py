"""Any text at all is read: with places, without a crash, and as programs understand it."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plugin.doctor import Document, examine
from plugin.doctor.almost_json import parse
from plugin.doctor.reading import read

M, O = Document.MANIFEST, Document.OPENAPI  # noqa: E741 - the two documents

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)


@given(values, st.sampled_from([None, 2]), st.booleans())
@settings(max_examples=200)
def test_good_json_is_read_as_it_is(value, indent, escaped):
    parsed = parse(json.dumps(value, indent=indent, ensure_ascii=escaped))
    assert parsed.is_complete
    assert parsed.faults == [] or not str(value).isprintable()
    if not parsed.faults:
        assert json.dumps(parsed.value, sort_keys=True) == json.dumps(value, sort_keys=True)


@given(st.text(alphabet="{}[]\"':,/*#\\ \n\t01-.eEtrufalsn_ab“”$<!>`=&|", max_size=60))
@example('{"a": "\\u12')
@example("{'a'")
@example("<" * 40)
@example("{\ufeff")
@settings(max_examples=1500)
def test_no_text_crashes_the_doctor(text):
    for expect in Document:
        report = examine(text, openapi=text, expect=expect)
        assert report.consumers
        for found in report.findings:
            assert found.line >= 0
            assert found.column >= 0


OPENAPI = {
    "openapi": "3.0.3",
    "info": {"title": "x", "version": "1"},
    "servers": [{"url": "https://a.example.net"}],
    "paths": {
        "/x": {
            "parameters": [{"name": "p", "in": "query", "schema": {"type": "string"}}],
            "post": {
                "operationId": "x",
                "description": "x",
                "security": [{"k": []}],
                "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
                "responses": {"200": {"description": "x", "content": {}}},
            },
        }
    },
    "components": {"securitySchemes": {"k": {"type": "http", "scheme": "bearer"}}},
}
MANIFEST = {
    "schema_version": "v1", "name_for_model": "x", "name_for_human": "x",
    "description_for_model": "x", "description_for_human": "x",
    "auth": {"type": "oauth", "client_url": "x", "scope": ""},
    "api": {"type": "openapi", "url": "https://a.example.net/o.yaml"},
    "logo_url": "https://a.example.net/l.png", "contact_email": "a@b.de", "legal_info_url": "x",
}  # fmt: skip


def pointers(value, pointer=()):
    yield pointer
    items = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else items:
        yield from pointers(inner, (*pointer, key))


@pytest.mark.parametrize("new", [None, True, 7, "", "http://[", [], [None], {}, {"$ref": "#/x"}])
@pytest.mark.parametrize("expect", list(Document))
def test_any_value_can_stand_anywhere(expect, new):
    good = MANIFEST if expect is M else OPENAPI
    for pointer in pointers(good):
        if not pointer:
            continue
        changed = json.loads(json.dumps(good))
        holder = changed
        for key in pointer[:-1]:
            holder = holder[key]
        holder[pointer[-1]] = new
        assert examine(json.dumps(changed), expect=expect).consumers, pointer


def test_places_are_those_of_an_editor():
    reading = read('{\n  "a": 1,\r\n  "日本": {"b/c": [true, "x"]}\n}')
    assert reading.place("/a") == (2, 3)
    assert reading.place("/日本") == (3, 3)
    assert reading.place("/日本/b~1c/1") == (3, 24)
    assert reading.place("/not/there") == (1, 1)


def test_places_in_yaml_are_those_of_the_names():
    reading = read("# 日本\nopenapi: 3.0.3\npaths:\n  /search:\n    post: {}\n", expect=O)
    assert reading.place("/paths/~1search/post") == (5, 5)


def test_yaml_is_read_as_javascript_reads_it():
    text = "paths: {}\nresponses:\n  200: ok\n  on: no\ndate: 2024-01-01\nyes: true\n"
    assert read(text, expect=O).value == {
        "paths": {},
        "responses": {"200": "ok", "on": "no"},
        "date": "2024-01-01",
        "yes": True,
    }


def test_yaml_merges_and_aliases_are_followed():
    text = "paths: {}\na: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\n"
    value = read(text, expect=O).value
    assert value["b"] == {"x": 1, "y": 2}
    assert value["c"] == {"x": 1}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        "{" * 100_000 + "}" * 100_000,
        "paths: " + "[" * 50_000,
        "- " * 50_000,
        "a: &a [x]\n"
        + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)},' * 12}]\n" for n in range(12)
        ),
        "a: &a\n  b: *a\n",
        '{"a": "' + "\\u0041" * 100_000,
        "{" + '"a":1,' * 50_000 + "}",
        '{"a": ' + "9" * 100_000 + "}",
        "'" * 100_000,
        "/*" * 100_000,
        "{" + "//\n" * 100_000 + "}",
        "{" + '"a' * 50_000 + "}",
        '{"a": "' + "\n" * 100_000 + '"}',
        "{" + ",".join(f'"k{n}": 1' for n in range(30_000)) + "}",
    ],
    ids=range(16),
)
def test_a_hostile_text_is_answered_quickly(text):
    begun = time.monotonic()
    for expect in Document:
        report = examine(text, expect=expect)
        assert report.has_errors or report.findings
    assert time.monotonic() - begun < 20


def test_of_many_faults_of_one_kind_the_first_is_shown_with_their_number():
    report = examine("{'a': 'b', 'c': 'd'}", expect=M)
    (found,) = [one for one in report.findings if one.rule == "KB106"]
    assert (found.line, found.column) == (1, 2)
    assert "(and 3 more)" in found.message
    assert report.mended[M] == '{"a": "b", "c": "d"}'


def test_every_kind_of_fault_at_once_is_mended():
    text = """// our plugin
{
  schema_version: 'v1', /* always */
  "name_for_model": “notes”
  'name_for_human': "My notes,
  "api": {"type": "openapi", url = "https://a.de/o.yaml",},
  "auth": {"type": "none"},,
  "is_dev": False, # for now
"""
    report = examine(text, expect=M)
    assert json.loads(report.mended[M]) == {
        "schema_version": "v1",
        "name_for_model": "notes",
        "name_for_human": "My notes",
        "api": {"type": "openapi", "url": "https://a.de/o.yaml"},
        "auth": {"type": "none"},
        "is_dev": False,
    }
