"""The verdict for MCP clients of our own documents: the endpoint itself is asked."""

import json
from typing import Any

import pytest

from plugin.doctor import Consumer, Severity, Verdict
from plugin.doctor.probes import Probed, probe_address, probe_own
from tests.plugin.mcp.conftest import installation, url  # noqa: F401 - fixtures
from tests.web_server import Site, serve

pytestmark = pytest.mark.django_db

TOOLS = [{"name": "search"}, {"name": "fetch"}]
BEGUN = {"protocolVersion": "2025-11-25"}


def answering(site: Site, result: Any) -> None:
    site.page("/mcp", json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}), "application/json")


@pytest.fixture
def site(settings):
    """Something that serves documents, as if it were us."""
    with serve() as site:
        settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = site.url
        from plugin.manifest import manifest
        from plugin.openapi import document

        site.page("/.well-known/ai-plugin.json", json.dumps(manifest()), "application/json")
        site.page("/openapi.yaml", json.dumps(document()), "application/yaml")
        answering(site, {**BEGUN, "tools": TOOLS})
        yield site


def found(probed: Probed) -> dict[str, Any]:
    return {one.rule: one for one in probed.report.findings if one.rule.startswith("KB6")}


def test_an_endpoint_that_answers_is_no_finding(site):
    probed = probe_own()
    assert found(probed) == {}
    asked = [one for one in probed.exchanges if one.what == "mcp"]
    assert [one.method for one in asked] == ["POST", "POST"]
    assert all(one.status == 200 for one in asked)
    assert "Bearer kb_" not in "".join(one.raw for one in asked)


@pytest.mark.parametrize(
    "page",
    [(404, b"not found"), (302, b""), (401, b"login"), (200, b"<html>"), (200, b"{}"), (502, b"")],
    ids=lambda page: f"{page[0]}",
)
def test_an_endpoint_that_is_no_endpoint_is_an_error_for_its_clients(site, page):
    status, body = page
    site.pages["/mcp"] = (status, {"Location": "/elsewhere"}, body)
    probed = probe_own()
    (finding,) = found(probed).values()
    assert finding.rule == "KB602"
    assert finding.severity is Severity.ERROR
    assert f"{site.url}/mcp" in finding.message
    assert probed.report.consumers[Consumer.MCP] is Verdict.ERROR
    assert finding.consumers.keys() == {Consumer.MCP}


def test_tools_that_connectors_need_are_missed(site):
    answering(site, {**BEGUN, "tools": TOOLS[:1]})
    finding = found(probe_own())["KB603"]
    assert "fetch" in finding.message


def test_an_endpoint_for_older_clients_only_is_a_warning(site):
    answering(site, BEGUN)
    findings = found(probe_own())
    assert findings.keys() == {"KB603", "KB604"}
    assert {one.severity for one in findings.values()} == {Severity.WARNING}


def test_of_others_nothing_is_asked_there(site, settings):
    settings.PUBLIC_URL = "https://kb.acme-notes.com"
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
    probe_address(f"{site.url}/.well-known/ai-plugin.json")
    assert "/mcp" not in [path for _, path in site.asked]


REAL = """
from plugin.doctor.probes import probe_own
probed = probe_own()
print([one.rule for one in probed.report.findings if one.rule.startswith("KB6")])
print([one.status for one in probed.exchanges if one.what == "mcp"], probed.report.consumers["mcp"])
"""


@pytest.mark.timeout(600)
def test_the_real_endpoint_passes(installation, url):  # noqa: F811 - the fixtures
    told = installation.run("shell", "-v", "0", "-c", REAL).splitlines()
    assert told[-2:] == ["[]", "[200, 200] ok"]
