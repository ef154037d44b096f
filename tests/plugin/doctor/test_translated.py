"""All that the doctor says is there in Chinese; programs get it in English whatever is active."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import translation
from django.utils.translation import gettext

from plugin.doctor import Consumer, Report, examine
from plugin.doctor.formats import as_json, as_sarif, as_text, rules_as_markdown
from plugin.doctor.reading import PROBLEMS
from plugin.doctor.registry import RULES
from retrieval.sentences import Sentence
from tests.conftest import SHARED_DATA
from tests.plugin.doctor.test_broken import FAULTS, Fault, documents, judged

CHINESE = re.compile(r"[\u4e00-\u9fff]")
#: Names, which are the same in every language.
NAMES = {"GPT Actions", "NextChat", "LangChain"}
#: What others say is put into, which has no words of its own.
FRAMES = {"%(text)s", "%(first)s, %(next)s", "%(address)s: %(reason)s"}
TEXTS = [
    "a: b: c",
    "a:\n\t- b",
    "paths:\n  /a:\n get: {}",
    "openapi: 3.0.3\npaths: {a: 1",
    "a: &x [*x]",
    "a: *nothing",
    "openapi: 3.0.3\n---\npaths: {}",
    "? [a]\n: b",
    '{"openapi": "3.0.3", "paths": {"/a": null}}',
    '{"openapi": "3.0.3", "info": {"title": "A", "version": "1"}, "servers": 7, "x": 1,'
    ' "paths": {"/a": {"get": {"responses": [], "parameters": [{"in": "nowhere"}]}}}}',
    "",
    "<html></html>",
    "[]",
    "7",
]


@pytest.fixture(autouse=True)
def chinese() -> Iterator[None]:
    with translation.override("zh-hans"):
        yield


def parts(sentence: Sentence) -> Iterator[Sentence]:
    """A sentence and those in it."""
    yield sentence
    for value in sentence.values.values():
        if isinstance(value, Sentence):
            yield from parts(value)


def is_translated(sentence: Sentence) -> bool:
    said = [part for part in parts(sentence) if part.msgid not in FRAMES]
    return bool(said) and all(CHINESE.search(gettext(part.msgid)) for part in said)


def untranslated(report: Report) -> list[Sentence]:
    said = [text for one in report.findings for text in (one.message, one.why, one.fix)]
    said += [report.message_of(one) for one in report.findings]
    return [sentence for sentence in said if not is_translated(sentence)]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_every_fault_is_told_in_chinese(fault: Fault, good_manifest, good_openapi):
    report = judged(*documents(fault, good_manifest, good_openapi))
    assert report.findings
    assert untranslated(report) == []


@pytest.mark.parametrize("text", TEXTS)
def test_so_is_a_text_that_nobody_can_read(text):
    report = examine(text)
    assert report.findings
    assert untranslated(report) == []


@pytest.mark.shared
def test_so_are_the_faults_of_published_documents():
    for path in sorted((SHARED_DATA / "manifests").iterdir()):
        spec = next((SHARED_DATA / "specs").glob(f"{path.stem}.*"), None)
        report = examine(path.read_bytes(), openapi=spec.read_bytes() if spec else None)
        assert untranslated(report) == [], path.name


def test_every_rule_is_documented_in_chinese_too():
    said = [text for rule in RULES.values() for text in (rule.what, rule.why, rule.fix)]
    assert [text for text in said if not is_translated(text)] == []
    assert [text for text in PROBLEMS.values() if not is_translated(text)] == []
    labels = [consumer.label for consumer in Consumer if consumer.label not in NAMES]
    assert [label for label in labels if not is_translated(label)] == []


def test_programs_get_english(good_manifest, good_openapi):
    reports = [judged(*documents(fault, good_manifest, good_openapi)) for fault in FAULTS[:1]]
    for written in (as_json(reports), as_sarif(reports), as_text(reports[0]), rules_as_markdown()):
        assert not CHINESE.search(written)
    with translation.override("en"):
        assert json.loads(as_json(reports)) == reports[0].as_json()


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_is_kept_can_be_told_in_either_language(fault: Fault, good_manifest, good_openapi):
    for found in judged(*documents(fault, good_manifest, good_openapi)).findings:
        again = Sentence.from_data(json.loads(json.dumps(found.message.as_data())))
        assert (again, again.translated) == (found.message, found.message.translated)


def test_no_sentence_of_the_doctor_is_put_together_unseen():
    """An f-string in a sentence would never be found for translation."""
    room = Path(__file__).resolve().parents[3] / "plugin" / "doctor"
    for path in room.rglob("*.py"):
        assert not re.search(r"\b_\(\s*f[\"']", path.read_text()), path
