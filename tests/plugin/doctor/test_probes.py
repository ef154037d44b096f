"""Live probes against a real server that misbehaves on request."""

import io
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from PIL import Image

from plugin.doctor import Consumer, Finding, Severity, Verdict, exchanges
from plugin.doctor.exchanges import other_cases
from plugin.doctor.probes import Probed, probe_address, probe_document, probe_own
from plugin.doctor.sources import Fetched, Unavailable
from tests.plugin.doctor.plugins import OPEN, ORIGIN, PREFLIGHT, good_plugin, picture
from tests.web_server import Site, serve

HTML = "<!doctype html><title>Nothing here</title>"


@pytest.fixture
def site(settings: Any) -> Iterator[Site]:
    """A plugin that is served as it should be."""
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    with serve() as site:
        good_plugin(site)
        yield site


def probe(site: Site) -> Probed:
    return probe_address(f"{site.url}/ai-plugin.json")


def live(probed: Probed) -> list[Finding]:
    """What the probes found, not the rules of documents."""
    return [one for one in probed.report.findings if one.rule[:3] == "KB7" or one.rule == "KB101"]


def only(probed: Probed) -> Finding:
    [found] = live(probed)
    return found


def test_a_plugin_that_is_served_well_passes(site: Site) -> None:
    probed = probe(site)
    assert live(probed) == []
    verdicts = dict(probed.report.consumers)
    assert verdicts.pop(Consumer.GPT_ACTIONS) is Verdict.ERROR  # it is served on this machine
    assert set(verdicts.values()) == {Verdict.OK}
    asked = [(one.what, one.method, one.url.removeprefix(site.url)) for one in probed.exchanges]
    assert asked == [
        ("document", "GET", "/ai-plugin.json"),
        ("document", "GET", "/openapi.yaml"),
        ("logo", "GET", "/logo.png"),
        ("legal", "GET", "/legal"),
        ("cors", "GET", "/openapi.yaml"),
        ("preflight", "OPTIONS", "/search"),
    ]
    assert probed.logo is not None
    assert Image.open(io.BytesIO(probed.logo)).size == (96, 96)


def test_every_exchange_can_be_read_as_it_was(site: Site) -> None:
    probed = probe(site)
    cors = next(one for one in probed.exchanges if one.what == "cors")
    assert f"Origin: {ORIGIN}" in cors.raw
    assert "200 http://127.0.0.1" in cors.raw
    assert f"access-control-allow-origin: {ORIGIN}" in cors.raw
    assert "operationId: search" in cors.raw
    logo = next(one for one in probed.exchanges if one.what == "logo")
    assert "bytes)" in logo.excerpt
    assert all(one.seconds > 0 for one in probed.exchanges)


# --- The logo --------------------------------------------------------------------------------


def move(site: Site, old: str, new: str) -> None:
    site.pages[new] = site.pages.pop(old)


@pytest.mark.parametrize("right", ["/Logo.png", "/logo.PNG", "/LOGO.PNG"])
def test_the_case_that_works_is_named(site: Site, right: str) -> None:
    move(site, "/logo.png", right)
    probed = probe(site)
    found = only(probed)
    assert (found.rule, found.severity, found.pointer) == ("KB101", Severity.ERROR, "/logo_url")
    lines = site.pages["/ai-plugin.json"][2].decode().splitlines()
    assert "logo_url" in lines[found.line - 1]
    assert f"{site.url}{right} is a picture" in found.message
    assert probed.report.consumers[Consumer.CHATGPT] is Verdict.ERROR
    assert probed.report.consumers[Consumer.NEXTCHAT] is Verdict.OK
    mended = json.loads(next(iter(probed.report.mended.values())))
    assert mended["logo_url"] == site.url + right
    assert probed.logo is not None


def test_a_server_that_answers_everything_with_a_page_does_not_hide_the_case(site: Site) -> None:
    move(site, "/logo.png", "/Logo.png")
    site.page("/logo.png", HTML)
    site.page("/logo.PNG", HTML)
    assert f"{site.url}/Logo.png is a picture" in only(probe(site)).message


def test_a_suspicion_ends_where_the_logo_is_found(site: Site) -> None:
    status, headers, body = site.pages["/ai-plugin.json"]
    site.pages["/ai-plugin.json"] = (status, headers, body.replace(b"logo.png", b"logo.PNG"))
    move(site, "/logo.png", "/logo.PNG")
    assert live(probe(site)) == []


@pytest.mark.parametrize(
    ("break_it", "rule", "severity", "said"),
    [
        (lambda s: s.pages.pop("/logo.png"), "KB701", 3, "no page at this address (404)"),
        (lambda s: s.page("/logo.png", "", status=500), "KB701", 3, "an error (500)"),
        (lambda s: s.page("/logo.png", "", status=403), "KB701", 3, "without a login (403)"),
        (lambda s: s.leads("/logo.png", "/logo.png"), "KB701", 3, "more than 5 times"),
        (lambda s: s.leads("/logo.png", "file:///etc/passwd"), "KB701", 3, "not fetched"),
        (lambda s: s.page("/logo.png", HTML), "KB702", 3, "a page of the web"),
        (lambda s: s.page("/logo.png", b"", "image/png"), "KB702", 3, "with nothing"),
        (lambda s: s.page("/logo.png", picture()[:300], "image/png"), "KB702", 3, "no picture"),
        (lambda s: s.page("/logo.png", b"a" * 3_000_000, "image/png"), "KB701", 3, "than 2 MB"),
        (
            lambda s: s.page("/logo.png", picture(), "text/plain"),
            "KB703",
            2,
            "It is a PNG, served as text/plain",
        ),
        (
            lambda s: s.page("/logo.png", picture(), "text/html", X_Content_Type_Options="nosniff"),
            "KB703",
            3,
            "browsers do not show it",
        ),
        (
            lambda s: s.page("/logo.png", "<svg xmlns='x'></svg>", "text/xml"),
            "KB703",
            3,
            "It is a SVG",
        ),
        (lambda s: s.page("/logo.png", picture(48, 48), "image/png"), "KB704", 1, "small"),
        (lambda s: s.page("/logo.png", picture(512, 128), "image/png"), "KB704", 1, "not square"),
    ],
)
def test_a_bad_logo_is_told(
    site: Site, break_it: Callable[[Site], Any], rule: str, severity: int, said: str
) -> None:
    break_it(site)
    found = live(probe(site))
    assert (found[0].rule, found[0].severity) == (rule, severity)
    assert said in found[0].message


def test_a_picture_that_unpacks_to_gigabytes_is_not_unpacked(site: Site) -> None:
    header = picture(8, 8)
    # The size that its header claims: 60,000 × 60,000 pixels.
    size = (60_000).to_bytes(4, "big")
    site.page("/logo.png", header[:16] + size + size + header[24:], "image/png")
    assert only(probe(site)).rule == "KB702"


# --- Documents -------------------------------------------------------------------------------


def header(site: Site, path: str, **headers: str) -> None:
    status, old, body = site.pages[path]
    new = {name.replace("_", "-"): value for name, value in headers.items()}
    site.pages[path] = (status, {**old, **new}, body)


@pytest.mark.parametrize(
    ("headers", "severity"),
    [
        ({"Cache_Control": "public, max-age=3600"}, Severity.ADVICE),
        ({"Cache_Control": "max-age=31536000, immutable"}, Severity.WARNING),
        ({"Cache_Control": "", "Expires": "Wed, 21 Oct 2099 07:28:00 GMT"}, Severity.WARNING),
        ({"Cache_Control": "max-age=60"}, None),
        ({"Cache_Control": "no-store, max-age=99999"}, None),
        ({"Cache_Control": "max-age=never", "Expires": "0"}, None),
        ({"Cache_Control": "max-age=60, stale-while-revalidate=86400"}, Severity.ADVICE),
        ({"Cache_Control": "s-maxage=86400, max-age=0"}, Severity.ADVICE),
        # Without a word, browsers guess a tenth of its age.
        (
            {"Cache_Control": "", "Last_Modified": "Tue, 01 Sep 2020 07:28:00 GMT"},
            Severity.WARNING,
        ),
        ({"Cache_Control": "no-cache", "Last_Modified": "Tue, 01 Sep 2020 07:28:00 GMT"}, None),
        ({"Age": "86400"}, Severity.ADVICE),
    ],
)
def test_copies_that_live_long_are_told(
    site: Site, headers: dict[str, str], severity: Severity | None
) -> None:
    header(site, "/ai-plugin.json", **headers)
    found = [(one.rule, one.severity) for one in live(probe(site))]
    assert found == ([("KB708", severity)] if severity else [])


def test_what_is_wrong_with_the_openapi_document_is_told_where_it_is_named(site: Site) -> None:
    header(site, "/openapi.yaml", Cache_Control="max-age=31536000")
    found = only(probe(site))
    assert (found.rule, found.document, found.pointer) == ("KB708", "manifest", "/api/url")
    lines = site.pages["/ai-plugin.json"][2].decode().splitlines()
    assert "/openapi.yaml" in lines[found.line - 1]
    assert "max-age=31536000" in found.message
    alone = live(probe_address(f"{site.url}/openapi.yaml"))
    assert {(one.document, one.pointer) for one in alone} == {("openapi", "")}


def test_a_redirect_of_a_document_is_told(site: Site) -> None:
    move(site, "/ai-plugin.json", "/v2.json")
    site.leads("/ai-plugin.json", "/v2.json", status=301)
    found = only(probe(site))
    assert (found.rule, found.message) == (
        "KB705",
        f"{site.url}/ai-plugin.json leads on to {site.url}/v2.json.",
    )


def test_a_wrong_content_type_of_a_document_is_told(site: Site) -> None:
    header(site, "/openapi.yaml", **{"Content-Type": "text/html"})
    assert only(probe(site)).rule == "KB706"


def test_html_instead_of_yaml_is_told(site: Site) -> None:
    site.page("/openapi.yaml", HTML, **OPEN)
    report = probe(site).report
    assert "KB121" in {one.rule for one in report.findings}
    assert report.consumers[Consumer.NEXTCHAT] is Verdict.ERROR


def test_a_missing_openapi_document_is_told_with_the_case_that_works(site: Site) -> None:
    move(site, "/openapi.yaml", "/OPENAPI.YAML")
    report = probe(site).report
    assert f"{site.url}/OPENAPI.YAML answers" in report.unavailable
    assert "KB205" in {one.rule for one in report.findings}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/missing", "no page at this address"),
        ("/AI-Plugin.json", "Only the case of its letters is wrong"),
        ("/bad-endless", "more than 2 MB"),
        ("/bad-bomb", "more than 2 MB"),
        ("/bad-silence", "did not answer within 1 seconds"),
        ("/bad-drip", "did not answer within 1 seconds"),
        ("/bad-close", "127.0.0.1"),
    ],
)
def test_a_manifest_that_cannot_be_had_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    if "within" in said:
        monkeypatch.setattr(exchanges, "TIMEOUT", 1.0)
    with pytest.raises(Unavailable, match=r"^http://127\.0\.0\.1") as caught:
        probe_address(site.url + path)
    assert said in str(caught.value)


def test_a_slow_document_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin.doctor.served.SLOW", 0.0)
    assert {one.rule for one in live(probe(site))} == {"KB707"}


def test_a_legal_page_that_is_gone_or_empty_is_told(site: Site) -> None:
    site.page("/legal", " ")
    assert only(probe(site)).rule == "KB711"
    move(site, "/legal", "/Legal")
    found = only(probe(site))
    assert (found.rule, found.severity) == ("KB701", Severity.WARNING)
    assert f"{site.url}/Legal answers" in found.message


# --- CORS ------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", ["", "https://chat.example", "null"])
def test_a_document_that_no_page_may_read_is_told(site: Site, allowed: str) -> None:
    header(site, "/openapi.yaml", Access_Control_Allow_Origin=allowed)
    probed = probe(site)
    found = only(probed)
    assert found.rule == "KB709"
    assert ORIGIN in found.message
    assert probed.report.consumers[Consumer.NEXTCHAT] is Verdict.WARNING


def test_a_permission_that_stands_twice_is_none(site: Site) -> None:
    status, headers, body = site.pages["/openapi.yaml"]
    # As two servers in a row write it; the names differ for the dictionary alone.
    twice = {**headers, "access-control-allow-origin": ORIGIN}
    site.pages["/openapi.yaml"] = (status, twice, body)
    found = only(probe(site))
    assert found.rule == "KB709"
    assert "more than once" in found.message


def test_every_step_on_the_way_needs_the_permission(site: Site) -> None:
    move(site, "/openapi.yaml", "/v2.yaml")
    site.leads("/openapi.yaml", "/v2.yaml")
    found = {one.rule: one for one in live(probe(site))}
    assert found.keys() == {"KB705", "KB709"}
    assert "is missing" in found["KB709"].message
    site.page("/openapi.yaml", b"", status=302, Location="/v2.yaml", **OPEN)
    assert [one.rule for one in live(probe(site))] == ["KB705"]


def test_a_copy_with_the_permission_of_another_origin_is_told(site: Site, settings: Any) -> None:
    site.preflight = (204, {**PREFLIGHT, "Access-Control-Allow-Origin": "*"})
    header(site, "/openapi.yaml", Cache_Control="max-age=60")
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN, ORIGIN]
    assert {one.severity for one in live(probe(site))} == {Severity.ADVICE}
    assert all("Vary" in one.message for one in live(probe(site)))
    header(site, "/openapi.yaml", Vary="Accept, Origin")
    assert live(probe(site)) == []


def test_the_star_is_every_origin(site: Site) -> None:
    header(site, "/openapi.yaml", Access_Control_Allow_Origin="*")
    assert live(probe(site)) == []


@pytest.mark.parametrize(
    ("status", "changes", "said"),
    [
        (405, {}, "OPTIONS is answered with 405"),
        (302, {"Location": "/search/"}, "OPTIONS is answered with 302"),
        (200, {"Access-Control-Allow-Origin": "https://chat.example"}, "does not name it"),
        (200, {"Access-Control-Allow-Headers": "content-type"}, "authorization is not allowed"),
        (200, {"Access-Control-Allow-Headers": "*"}, "authorization is not allowed"),
        (200, {"Access-Control-Allow-Headers": "Authorization"}, "content-type is not allowed"),
    ],
)
def test_a_call_that_browsers_stop_is_told(
    site: Site, status: int, changes: dict[str, str], said: str
) -> None:
    site.preflight = (status, {**PREFLIGHT, **changes})
    found = only(probe(site))
    assert (found.rule, found.pointer) == ("KB710", "/paths/~1search/post")
    assert said in found.message


def test_each_configured_origin_is_asked_for(site: Site, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN] * 5 + ["https://other.example"]
    found = live(probe(site))
    assert {one.rule for one in found} == {"KB709", "KB710"}
    assert all("https://other.example" in one.message for one in found)


# --- Where nothing is asked ------------------------------------------------------------------


def test_what_a_manifest_names_inside_this_network_is_not_asked(
    site: Site, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FETCH_ALLOWED_HOSTS = []
    tried: list[Any] = []
    monkeypatch.setattr(socket, "create_connection", lambda *given, **_: tried.append(given))
    manifest = {
        "schema_version": "v1",
        "api": {"type": "openapi", "url": "http://169.254.169.254/latest/meta-data"},
        "logo_url": "http://[::ffff:127.0.0.1]:6379/logo.png",
        "legal_info_url": f"http://2130706433:{site.port}/legal",
    }
    spec = {
        "openapi": "3.0.3",
        "info": {"title": "t", "version": "1"},
        "servers": [{"url": f"http://0x7f.1:{site.port}"}],
        "paths": {"/search": {"post": {"responses": {"200": {"description": "ok"}}}}},
    }
    for openapi in (None, Fetched(json.dumps(spec).encode(), "")):
        probed = probe_document(Fetched(json.dumps(manifest).encode(), ""), openapi=openapi)
        assert all(one.page is None and one.error for one in probed.exchanges)
    assert tried == []
    assert site.asked == []


def test_a_redirect_into_this_network_is_not_followed(site: Site) -> None:
    site.leads("/logo.png", f"http://localhost:{site.port}/inside")
    assert "KBADMIN_FETCH_ALLOWED_HOSTS" in only(probe(site)).message
    assert "/inside" not in {path for _, path in site.asked}


def test_other_ports_of_our_own_host_are_not_asked(site: Site, settings: Any) -> None:
    settings.FETCH_ALLOWED_HOSTS = []
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = "http://127.0.0.1:1"
    with pytest.raises(Unavailable, match="not on the public internet"):
        probe(site)
    settings.PUBLIC_URL = settings.PLUGIN_SERVER_URL = site.url
    assert live(probe(site)) == []
    site.leads("/logo.png", "http://127.0.0.1:1/logo.png")
    assert "not on the public internet" in only(probe(site)).message


# --- Ways in ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_our_own_is_asked_at_its_public_address(site: Site, settings: Any) -> None:
    settings.PUBLIC_URL = site.url
    move(site, "/ai-plugin.json", "/.well-known/ai-plugin.json")
    probed = probe_own()
    assert probed.report.source == "own"
    assert probed.exchanges[0].url == f"{site.url}/.well-known/ai-plugin.json"


def test_the_command_asks_the_servers_of_an_address(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.pages.pop("/logo.png")
    with pytest.raises(SystemExit) as caught:
        call_command("validate_manifest", f"{site.url}/ai-plugin.json", "--format", "json")
    assert caught.value.code == 1
    report = json.loads(capsys.readouterr().out)
    errors = {found["rule"] for found in report["findings"] if found["severity"] == "error"}
    assert errors == {"KB701", "KB224"}


def test_addresses_of_another_case_differ_in_nothing_else() -> None:
    found = list(other_cases("https://acme.com/Img/Logo.PNG?v=2"))
    assert "https://acme.com/Img/logo.png?v=2" in found
    assert "https://acme.com/img/logo.png?v=2" in found
    assert len(found) == len(set(found)) <= 8
    assert all(one.lower() == "https://acme.com/img/logo.png?v=2" for one in found)
    assert list(other_cases("https://acme.com/")) == []
