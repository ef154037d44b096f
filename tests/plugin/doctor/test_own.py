"""What we tell chat programs about ourselves passes the doctor."""

import io
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from plugin.checks import check_own_manifest
from plugin.doctor import Consumer, Severity, Verdict, own
from plugin.doctor.formats import rules_as_markdown
from plugin.doctor.registry import RULES
from plugin.doctor.sources import check_own
from tests.test_architecture import modules_loaded_by

pytestmark = pytest.mark.django_db

RULES_PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor-rules.md"


LOCAL = "http://127.0.0.1:8001"


@pytest.fixture(params=[LOCAL, "https://kb.acme-notes.com"])
def public(request, settings):
    url = settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = request.param
    return url


@pytest.mark.parametrize("auth", ["bearer", "none"])
def test_it_passes_every_consumer_that_reaches_it_without_a_warning(public, settings, auth):
    settings.PLUGIN_AUTH = auth
    report = check_own()
    found = {one.rule for one in report.findings if one.severity > Severity.ADVICE}
    expected = dict.fromkeys(Consumer, Verdict.OK)
    if public == LOCAL:
        # OpenAI's servers never reach this machine.
        assert found == {"KB224"}
        expected[Consumer.GPT_ACTIONS] = Verdict.ERROR
    else:
        assert found == set()
    assert report.consumers == expected


def test_the_tools_are_those_that_chat_programs_get():
    tools = {tool.name: tool for tool in check_own().tools}
    assert tools.keys() == {"search", "submitFeedback"}
    assert tools["search"].parameters["required"] == ["query"]
    assert tools["search"].description.startswith("Find passages")


def system_check():
    told = io.StringIO()
    call_command("check", stdout=told, stderr=told)
    return told.getvalue()


def test_an_error_of_the_own_manifest_is_a_warning_of_the_system_check(settings):
    assert "plugin." not in system_check()
    settings.PUBLIC_URL = "http://kb.acme-notes.com"
    found = check_own_manifest()
    assert "plugin.KB145" in {message.id for message in found}
    assert all(message.hint and not message.is_serious() for message in found)
    assert "(plugin.KB145)" in system_check()


def test_other_commands_do_not_wait_for_it(settings):
    settings.PUBLIC_URL = "http://kb.acme-notes.com"
    system_check()
    assert not [message for message in run_checks() if str(message.id).startswith("plugin.")]


@pytest.mark.parametrize("command", ["migrate", "ingest", "check"])
def test_only_check_loads_the_validator(tmp_path, command):
    arguments = '["--help"]' if command == "ingest" else "[]"
    loaded = modules_loaded_by(
        f"""
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "kbadmin.settings"
from django.core.management import execute_from_command_line
try:
    execute_from_command_line(["manage.py", {command!r}, *{arguments}])
except SystemExit as end:
    assert not end.code
""",
        tmp_path,
    )
    assert ("openapi_spec_validator" in loaded) is (command == "check")


def test_what_is_wrong_with_it_is_counted_once_for_each_state(settings, monkeypatch):
    own._judged.cache_clear()
    assert own.health() == own.Health(0, 0)
    with monkeypatch.context() as patched:
        patched.setattr("plugin.doctor.sources.check_own", lambda: 1 / 0)
        assert own.health() == own.Health(0, 0)
    settings.PUBLIC_URL = "http://kb.acme-notes.com"
    assert own.health().errors > 0


def test_the_page_of_rules_is_made_of_the_rules():
    assert RULES_PAGE.read_text() == rules_as_markdown()


def test_every_rule_says_what_why_and_how():
    for rule in RULES.values():
        assert rule.id.startswith("KB") and len(rule.id) == 5
        assert rule.what.endswith(".") and rule.why.endswith(".") and rule.fix.endswith(".")
        assert rule.levels
