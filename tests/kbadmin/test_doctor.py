"""The page of the plugin doctor, and its report for programs."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from kbadmin.templatetags.kbadmin import with_code
from plugin.models import Check
from tests.plugin.doctor.plugins import picture
from tests.web_server import Site, serve

URL = "/admin/plugin-doctor/"
JSON_URL = "/admin/plugin-doctor/report.json"

MANIFEST: dict[str, Any] = {
    "schema_version": "v1",
    "name_for_model": "acme_notes",
    "name_for_human": "Acme notes",
    "description_for_model": "Search the notes of Acme before answering about its products.",
    "description_for_human": "Answers from the notes of Acme.",
    "auth": {"type": "none"},
    "api": {"type": "openapi", "url": "https://acme-notes.com/openapi.yaml"},
    "logo_url": "https://acme-notes.com/logo.png",
    "contact_email": "help@acme-notes.com",
    "legal_info_url": "https://acme-notes.com/legal",
}
OPENAPI: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Acme notes", "version": "1", "description": "The notes of Acme."},
    "servers": [{"url": "https://acme-notes.com"}],
    "paths": {
        "/search": {
            "post": {
                "operationId": "search",
                "description": "Find passages of the notes.",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["query"],
                                "properties": {"query": {"type": "string", "description": "What?"}},
                            }
                        }
                    },
                },
                "responses": {"200": {"description": "Passages"}},
            }
        }
    },
}


def manifest(**changes: Any) -> str:
    return json.dumps(MANIFEST | changes, indent=2)


@pytest.fixture
def site(settings: Any) -> Iterator[Site]:
    """A plugin whose logo is served under another case than its manifest says."""
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
    with serve() as site:
        names = {"logo_url": f"{site.url}/Logo.png", "legal_info_url": f"{site.url}/legal"}
        api = {"type": "openapi", "url": f"{site.url}/openapi.json"}
        site.page("/ai-plugin.json", manifest(api=api, **names), "application/json")
        site.page(
            "/openapi.json",
            json.dumps(OPENAPI | {"servers": [{"url": site.url}]}),
            "application/json",
        )
        site.page("/logo.png", picture(), "image/png")
        site.page("/legal", "<script>alert(1)</script>")
        site.answer("/search", '{"results": []}')
        yield site


@pytest.fixture
def check(page: Client) -> Callable[..., str]:
    """Asks the page, and gives its text."""

    def check(status: int = 200, **given: Any) -> str:
        response = page.post(URL, given)
        assert response.status_code == status
        return response.content.decode()

    return check


def test_before_the_first_check_it_says_what_it_is_for(page: Client) -> None:
    html = page.get(URL).content.decode()
    assert "See what stops a chat program" in html
    assert "Check our own" in html


@pytest.fixture
def public(settings: Any) -> None:
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = "https://kb.acme-notes.com"


@pytest.mark.usefixtures("public")
def test_our_own_is_right_for_every_program(page: Client) -> None:
    html = page.get(f"{URL}?kind=own").content.decode()
    assert "Right for every program" in html
    assert html.count("kb-badge kb-verdict-ok") == 5
    assert "submitFeedback" in html


def test_a_fault_is_told_with_its_place_its_reason_and_a_mended_text(
    check: Callable[..., str],
) -> None:
    html = check(kind="text", text=manifest().replace('"v1",', '"v1",,'))
    assert "error to mend" in html
    assert "KB103 json-trailing-comma" in html
    assert "line 2, column 26" in html
    assert "Delete the comma." in html
    assert "strict JSON reader" in html
    mended = html.split('id="kb-mended-text-manifest"')[1].split("</pre>")[0]
    assert "&quot;v1&quot;,\n" in mended.replace("\r", "")
    assert ",," not in mended


def test_one_program_may_read_what_another_does_not(page: Client) -> None:
    broken = json.loads(json.dumps(OPENAPI))
    del broken["paths"]["/search"]["post"]["operationId"]
    response = page.post(
        URL, {"kind": "text", "text": manifest(), "openapi_text": json.dumps(broken)}
    )
    rows = {row.name: row for row in response.context["matrix"]}
    assert rows["LangChain"].verdict == "ok"
    assert rows["GPT Actions"].verdict == "error"
    assert "operationId" in rows["GPT Actions"].reason


def test_the_tools_are_shown_as_the_model_sees_them(check: Callable[..., str]) -> None:
    html = check(kind="text", text=json.dumps(OPENAPI))
    assert "<strong>search</strong>(query)" in html
    assert "Find passages of the notes." in html
    assert "POST /search" in html


def test_it_shows_how_the_plugin_is_listed_in_light_and_dark(check: Callable[..., str]) -> None:
    html = check(kind="text", text=manifest(name_for_human="<b>Acme</b>"))
    for theme in ("light", "dark"):
        card = html.split(f"kb-preview-{theme}")[1].split("</figure>")[0]
        assert "&lt;b&gt;Acme&lt;/b&gt;" in card
        assert "Answers from the notes of Acme." in card
    assert "<b>Acme" not in html


def test_files_are_judged_like_pasted_text(page: Client) -> None:
    files = {
        "file": SimpleUploadedFile("ai-plugin.json", manifest().encode()),
        "openapi_file": SimpleUploadedFile("openapi.json", json.dumps(OPENAPI).encode()),
    }
    response = page.post(URL, {"kind": "file", **files})
    assert "Right for every program" in response.content.decode()
    assert response.context["report"].source == "ai-plugin.json"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Say what is to be checked"),
        ({"kind": "psychic"}, "Say what is to be checked"),
        ({"kind": "url"}, "Give the address of a manifest."),
        ({"kind": "url", "address": "example.com"}, "with http:// or https:// in front"),
        ({"kind": "url", "address": "https://" + "a" * 3000}, "at most 2000 characters"),
        ({"kind": "text", "text": " \n"}, "Paste a manifest or an OpenAPI document."),
        ({"kind": "file"}, "Choose a file."),
    ],
)
def test_what_cannot_be_checked_is_refused_in_words(
    check: Callable[..., str], given: dict[str, str], sentence: str
) -> None:
    assert sentence in check(400, **given)


def test_a_file_that_is_too_large_is_refused(check: Callable[..., str]) -> None:
    large = SimpleUploadedFile("large.json", b" " * (2 * 1024 * 1024 + 1))
    assert "large.json is too large" in check(400, kind="file", file=large)


@pytest.mark.parametrize("data", [b"", b"\x00\xff\xfe\x00", b"<!doctype html><p>", b"[1]", b"null"])
def test_no_file_is_too_strange_for_a_report(page: Client, data: bytes) -> None:
    response = page.post(URL, {"kind": "file", "file": SimpleUploadedFile("x", data)})
    assert response.status_code == 200
    assert response.context["report"].has_errors


def test_a_link_makes_no_request(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a request left")

    monkeypatch.setattr("socket.getaddrinfo", never)
    html = page.get(f"{URL}?kind=url&address=https://example.com/x").content.decode()
    assert "https://example.com/x" in html
    assert 'id="kb-report"' not in html


def test_the_servers_are_asked_and_what_they_said_is_shown(
    check: Callable[..., str], site: Site
) -> None:
    html = check(kind="url", address=f"{site.url}/ai-plugin.json", live="on")
    assert "KB101 logo-url-case" in html
    assert f"{site.url}/logo.png is a picture" in html
    assert "<img" in html
    assert 'src="data:image/png;base64,' in html
    assert f"OPTIONS {site.url}/search" in html
    # What came back is shown as text.
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert" not in html


def test_without_asking_only_the_documents_are_fetched(
    check: Callable[..., str], site: Site
) -> None:
    html = check(kind="url", address=f"{site.url}/ai-plugin.json")
    assert {path for _, path in site.asked} == {"/ai-plugin.json", "/openapi.json"}
    assert "What the servers answered" not in html


@pytest.mark.parametrize("live", ["", "on"])
@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/ai-plugin.json",
        "http://localhost:{port}/ai-plugin.json",
        "http://2130706433:{port}/ai-plugin.json",
        "http://0x7f.1:{port}/ai-plugin.json",
        "http://0177.0.0.1:{port}/ai-plugin.json",
        "http://127.1:{port}/ai-plugin.json",
        "http://0:{port}/ai-plugin.json",
        "http://[::1]:{port}/ai-plugin.json",
        "http://[::ffff:127.0.0.1]:{port}/ai-plugin.json",
        "http://[64:ff9b::7f00:1]:{port}/ai-plugin.json",
        "http://innocent.example:{port}/ai-plugin.json",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://100.100.100.200/",
        "http://10.0.0.1/",
        "http://user:secret@127.0.0.1:{port}/ai-plugin.json",
        "http://example.com\\@127.0.0.1:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "ftp://127.0.0.1/",
    ],
)
def test_no_address_leads_into_this_network(
    check: Callable[..., str],
    site: Site,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    live: str,
) -> None:
    settings.FETCH_ALLOWED_HOSTS = []
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **more: Any) -> Any:
        return look_up("127.0.0.1" if host == "innocent.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    html = check(422, kind="url", address=address.format(port=site.port), live=live)
    assert 'role="alert"' in html
    assert site.asked == []


@pytest.mark.parametrize("method", ["get", "post"])
def test_only_those_who_may_see_the_status_may_check(db: None, client: Client, method: str) -> None:
    user = User.objects.create_user("guest", password="x", is_staff=True)
    client.force_login(user)
    given = {"kind": "own"}
    assert getattr(client, method)(URL, given).status_code == 403
    assert getattr(client, method)(JSON_URL, given).json()["error"]["code"] == "permission_denied"
    user.user_permissions.add(Permission.objects.get(codename="view_index"))
    assert getattr(client, method)(URL, given).status_code == 200
    assert getattr(client, method)(JSON_URL, given).status_code == 200


@pytest.mark.usefixtures("public")
def test_programs_get_the_same_report_as_json(page: Client) -> None:
    own = page.get(JSON_URL).json()
    assert own["source"] == "own"
    assert own["consumers"] == dict.fromkeys(
        ["chatgpt", "gpt-actions", "nextchat", "langchain", "mcp"], "ok"
    )
    report = page.post(JSON_URL, {"kind": "text", "text": "{"}).json()
    assert report["findings"][0].keys() == {
        "rule", "severity", "pointer", "line", "column", "message", "fix",
    }  # fmt: skip
    assert report["consumers"]["chatgpt"] == "error"


def test_the_page_speaks_the_readers_language_and_programs_english(page: Client) -> None:
    given = {"kind": "text", "text": manifest().replace('"v1",', '"v1",,'), "live": ""}
    chinese = {"Accept-Language": "zh-CN"}
    html = page.post(URL, given, headers=chinese).content.decode()
    assert "多了一个逗号。" in html
    assert "删除该逗号。" in html
    assert "A comma too many." not in html
    report = page.post(JSON_URL, given, headers=chinese).json()
    assert report["findings"][0]["message"] == "A comma too many."
    kept = page.get(f"{URL}checks/{Check.objects.newest_first()[0].pk}/")
    assert "A comma too many." in kept.content.decode()


def test_what_is_quoted_is_code_and_nothing_else() -> None:
    assert with_code("Write `a < b`.") == "Write <code>a &lt; b</code>."
    assert with_code("It is <b>: `.") == "It is &lt;b&gt;: `."


def test_programs_are_told_what_is_wrong(page: Client, client: Client) -> None:
    response = page.post(JSON_URL, {"kind": "url"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    response = page.post(JSON_URL, {"kind": "url", "address": "http://10.0.0.1/x"})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "unavailable")
    client.logout()
    assert client.get(JSON_URL).status_code == 401


def test_its_queries_do_not_depend_on_the_report(
    page: Client, django_assert_max_num_queries: Any, tmp_path: Path
) -> None:
    page.get(URL)
    for text in ("{", manifest()):
        # Half of them keep it.
        with django_assert_max_num_queries(11):
            page.post(URL, {"kind": "text", "text": text})
