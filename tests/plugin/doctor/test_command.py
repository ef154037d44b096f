"""manage.py validate_manifest: sources, formats, exit codes."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from django.core.management import call_command
from django.core.management.base import CommandError

from plugin.doctor import Consumer, Document
from plugin.doctor.registry import RULES
from plugin.doctor.sources import Unavailable, check, fetch_document
from retrieval import fetching


def run(*arguments: str, stdin: bytes | None = None, monkeypatch=None):
    """Exit code, standard output, standard error."""
    if stdin is not None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("validate_manifest", *arguments, stdout=out, stderr=err)
    except SystemExit as exit_:
        return exit_.code, out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


@pytest.fixture
def folder(tmp_path, good_manifest, good_openapi):
    (tmp_path / "ai-plugin.json").write_text(json.dumps(good_manifest, indent=2))
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(good_openapi, sort_keys=False))
    return tmp_path


@pytest.fixture
def broken(folder):
    path = folder / "broken.json"
    path.write_text((folder / "ai-plugin.json").read_text().replace('"auth":', "'auth':"))
    return path


def test_a_good_manifest_gives_0(folder):
    code, out, err = run(str(folder / "ai-plugin.json"), "--offline")
    assert (code, err) == (0, "")
    assert "0 errors, 0 warnings" in out
    assert "search(query, top_k?" in out


def test_errors_give_1(broken):
    code, out, _ = run(str(broken), "--offline")
    assert code == 1
    assert "KB106 json-single-quotes" in out


@pytest.mark.parametrize(
    "source", ["/not/there.json", "https://kb.acme-notes.com/.well-known/ai-plugin.json", "a\0b"]
)
def test_what_cannot_be_had_gives_2(source):
    code, out, err = run(source, "--offline")
    assert (code, out) == (2, "")
    assert err.strip()


def test_an_empty_folder_gives_2(tmp_path):
    with pytest.raises(CommandError) as refusal:
        call_command("validate_manifest", str(tmp_path))
    assert refusal.value.returncode == 2


def test_json_has_the_agreed_form(broken):
    code, out, _ = run(str(broken), "--offline", "--format", "json")
    assert code == 1
    body = json.loads(out)
    assert body.keys() == {"findings", "consumers"}
    assert body["consumers"] == {
        "chatgpt": "error", "gpt-actions": "ok", "nextchat": "ok", "langchain": "error",
        "mcp": "ok",
    }  # fmt: skip
    (found,) = body["findings"]
    assert found.keys() == {"rule", "severity", "pointer", "line", "column", "message", "fix"}
    assert (found["rule"], found["severity"], found["pointer"]) == ("KB106", "error", "")
    assert (found["line"], found["column"]) == (7, 3)
    assert found["message"]
    assert found["fix"]


def test_it_prints_the_mended_document(broken, folder):
    code, out, _ = run(str(broken), "--offline", "--mend")
    assert code == 1
    assert out == (folder / "ai-plugin.json").read_text()
    code, out, _ = run(str(folder / "ai-plugin.json"), "--offline", "--mend")
    assert (code, out) == (0, (folder / "ai-plugin.json").read_text())


def test_a_consumer_sees_only_what_concerns_it(broken):
    code, out, _ = run(str(broken), "--offline", "--consumer", "nextchat", "--format", "json")
    assert code == 0
    assert json.loads(out) == {"findings": [], "consumers": {"nextchat": "ok"}}


def test_sarif_names_rules_and_places(broken):
    code, out, _ = run(str(broken), "--offline", "--format", "sarif")
    assert code == 1
    body = json.loads(out)
    assert body["version"] == "2.1.0"
    (one,) = body["runs"]
    (result,) = one["results"]
    assert one["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "KB106"
    assert result["level"] == "error"
    physical = result["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == str(broken)
    assert physical["region"] == {"startLine": 7, "startColumn": 3}


def test_a_finding_in_the_other_document_says_so_and_where(folder, good_openapi):
    good_openapi["servers"] = []
    (folder / "openapi.yaml").write_text(yaml.safe_dump(good_openapi, sort_keys=False))
    source = str(folder / "ai-plugin.json")
    code, out, _ = run(source, "--offline", "--format", "json")
    assert code == 1
    (found,) = json.loads(out)["findings"]
    assert found["message"].startswith("In the OpenAPI document: ")
    assert found["pointer"] == "/servers"
    _, out, _ = run(source, "--offline", "--format", "sarif")
    place = json.loads(out)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == str(folder / "openapi.yaml")


def test_an_openapi_document_alone_is_known_as_one(folder):
    code, out, _ = run(str(folder / "openapi.yaml"), "--offline", "--format", "json")
    assert (code, json.loads(out)["findings"]) == (0, [])


def test_a_document_that_is_both_is_judged_as_both(tmp_path, good_manifest, good_openapi):
    path = tmp_path / "both.json"
    path.write_text(json.dumps({**good_manifest, **good_openapi}))
    report = check(str(path), offline=True)
    assert {tool.name for tool in report.tools} == {"search", "submitFeedback"}
    assert [found for found in report.findings if found.severity > 1] == []


def test_several_sources_and_folders_are_a_list(folder, broken):
    code, out, _ = run(str(folder), "--offline", "--format", "json")
    assert code == 1
    assert [report["source"] for report in json.loads(out)] == [
        str(folder / name) for name in ("ai-plugin.json", "broken.json", "openapi.yaml")
    ]


def test_standard_input_is_read(folder, monkeypatch):
    data = (folder / "ai-plugin.json").read_bytes()
    openapi = f"--openapi={folder / 'openapi.yaml'}"
    code, out, _ = run("-", openapi, "--format=json", stdin=data, monkeypatch=monkeypatch)
    assert (code, json.loads(out)["findings"]) == (0, [])


@pytest.mark.django_db
def test_our_own_are_checked(settings):
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = "https://kb.acme-notes.com"
    code, out, _ = run("own", "--format", "json")
    assert code == 0
    assert set(json.loads(out)["consumers"].values()) == {"ok"}


@pytest.mark.django_db
def test_on_this_machine_our_own_are_an_error_for_those_who_cannot_reach_it(settings):
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = "http://127.0.0.1:8001"
    code, out, _ = run("own", "--format", "json")
    assert code == 1
    verdicts = json.loads(out)["consumers"]
    assert [name for name, verdict in verdicts.items() if verdict != "ok"] == ["gpt-actions"]
    code, out, _ = run("own", "--consumer", "nextchat")
    assert code == 0


def test_without_the_openapi_document_the_report_says_so(folder):
    (folder / "openapi.yaml").unlink()
    report = check(str(folder / "ai-plugin.json"), offline=True)
    (found,) = report.findings
    assert (found.rule, found.severity.label) == ("KB205", "advice")


def test_all_rules_are_printed():
    code, out, _ = run("--rules")
    assert code == 0
    assert all(f"**{rule}**" in out for rule in RULES)


# --- Addresses -------------------------------------------------------------------------------


class Site(BaseHTTPRequestHandler):
    pages: dict[str, bytes]

    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", self.pages["/away"].decode())
            self.end_headers()
            return
        data = self.pages.get(self.path)
        self.send_response(200 if data is not None else 404)
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    """The address of a server on this machine, and what it answers."""

    class Handler(Site):
        pages = {}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Handler.pages
    server.shutdown()
    server.server_close()


def test_an_address_is_fetched_with_its_openapi_document(
    site, settings, good_manifest, good_openapi
):
    address, pages = site
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
    good_manifest["api"]["url"] = f"{address}/openapi.yaml"
    pages["/ai-plugin.json"] = json.dumps(good_manifest).encode()
    pages["/openapi.yaml"] = yaml.safe_dump(good_openapi).encode()
    report = check(f"{address}/ai-plugin.json")
    assert {tool.name for tool in report.tools} == {"search", "submitFeedback"}
    assert report.documents == {
        Document.MANIFEST: f"{address}/ai-plugin.json",
        Document.OPENAPI: f"{address}/openapi.yaml",
    }


def test_a_relative_address_is_resolved(site, settings, good_manifest, good_openapi):
    address, pages = site
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
    good_manifest["api"]["url"] = "../openapi.yaml"
    pages["/.well-known/ai-plugin.json"] = json.dumps(good_manifest).encode()
    pages["/openapi.yaml"] = yaml.safe_dump(good_openapi).encode()
    report = check(f"{address}/.well-known/ai-plugin.json")
    assert len(report.tools) == 2
    assert report.consumers[Consumer.LANGCHAIN] == "error"


def test_an_openapi_document_that_cannot_be_had_gives_2(site, settings, good_manifest):
    address, pages = site
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
    good_manifest["api"]["url"] = f"{address}/openapi.yaml"
    good_manifest["logo_url"] = good_manifest["legal_info_url"] = f"{address}/missing"
    pages["/ai-plugin.json"] = json.dumps(good_manifest).encode()
    code, out, err = run(f"{address}/ai-plugin.json", "--consumer", "nextchat")
    assert code == 2
    assert "KB205" in out
    assert "404" in err


def test_a_private_address_is_not_fetched(site):
    address, pages = site
    pages["/ai-plugin.json"] = b"{}"
    with pytest.raises(Unavailable, match="not on the public internet"):
        fetch_document(f"{address}/ai-plugin.json")


def test_a_manifest_leads_to_no_private_address(site, good_manifest, tmp_path):
    address, pages = site
    pages["/secret"] = b"openapi: 3.0.3"
    good_manifest["api"]["url"] = f"{address}/secret"
    path = tmp_path / "ai-plugin.json"
    path.write_text(json.dumps(good_manifest))
    report = check(str(path))
    assert "not on the public internet" in report.unavailable
    assert report.openapi is None


def test_our_own_address_is_allowed_at_our_own_port_only(site, settings):
    address, pages = site
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = address
    pages["/ai-plugin.json"] = b"{}"
    assert fetch_document(f"{address}/ai-plugin.json").data == b"{}"
    with pytest.raises(Unavailable, match="not on the public internet"):
        fetch_document("http://127.0.0.1:1/")
    pages["/away"] = b"http://127.0.0.1:1/"
    with pytest.raises(Unavailable):
        fetch_document(f"{address}/away")


def test_references_to_other_addresses_are_not_fetched(folder, good_openapi, monkeypatch):
    """Neither by our rules nor by the validator."""

    def refuse(*args, **kwargs):
        raise AssertionError("a request left")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    post = good_openapi["paths"]["/search"]["post"]
    post["parameters"] = [{"$ref": "http://127.0.0.1:9/x.json#/p"}]
    post["responses"]["200"] = {"$ref": "file:///etc/passwd#/a"}
    good_openapi["components"]["schemas"] = {"A": {"$id": "http://127.0.0.1:9/", "$ref": "b#/c"}}
    for version in ("3.0.3", "3.1.0"):
        good_openapi["openapi"] = version
        (folder / "openapi.yaml").write_text(yaml.safe_dump(good_openapi))
        report = check(str(folder / "ai-plugin.json"), offline=True)
        assert "KB208" in {found.rule for found in report.findings}


def test_nothing_is_fetched_offline(folder, monkeypatch):
    monkeypatch.setattr(fetching, "fetch", lambda *a, **k: 1 / 0)
    (folder / "openapi.yaml").unlink()
    assert check(str(folder / "ai-plugin.json"), offline=True).findings
