"""What we tell chat programs about ourselves passes the doctor."""

from pathlib import Path

import pytest
from django.core.checks import run_checks

from plugin.doctor import Consumer, Severity, Verdict
from plugin.doctor.formats import rules_as_markdown
from plugin.doctor.registry import RULES
from plugin.doctor.sources import check_own

pytestmark = pytest.mark.django_db

RULES_PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor-rules.md"


@pytest.fixture(params=["http://127.0.0.1:8001", "https://kb.acme-notes.com"])
def public(request, settings):
    url = settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = request.param
    return url


@pytest.mark.parametrize("auth", ["bearer", "none"])
def test_it_passes_every_consumer_without_a_warning(public, settings, auth):
    settings.PLUGIN_AUTH = auth
    report = check_own()
    assert [found for found in report.findings if found.severity > Severity.ADVICE] == []
    assert report.consumers == dict.fromkeys(Consumer, Verdict.OK)


def test_the_tools_are_those_that_chat_programs_get():
    tools = {tool.name: tool for tool in check_own().tools}
    assert tools.keys() == {"search", "submitFeedback"}
    assert tools["search"].parameters["required"] == ["query"]
    assert tools["search"].description.startswith("Find passages")


def own_messages():
    return [message for message in run_checks() if str(message.id).startswith("plugin.")]


def test_an_error_of_the_own_manifest_is_a_warning_of_the_system_check(settings):
    assert own_messages() == []
    settings.PUBLIC_URL = "http://kb.acme-notes.com"
    found = own_messages()
    assert "plugin.KB145" in {message.id for message in found}
    assert all(message.hint and not message.is_serious() for message in found)


def test_the_page_of_rules_is_made_of_the_rules():
    assert RULES_PAGE.read_text() == rules_as_markdown()


def test_every_rule_says_what_why_and_how():
    for rule in RULES.values():
        assert rule.id.startswith("KB") and len(rule.id) == 5
        assert rule.what.endswith(".") and rule.why.endswith(".") and rule.fix.endswith(".")
        assert rule.levels
