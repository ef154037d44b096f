"""Certificates and TLS, against real servers whose certificates are made here."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plugin.doctor import Severity
from plugin.doctor.probes import probe_address
from plugin.doctor.sources import Unavailable
from tests.certificates import Authority
from tests.plugin.doctor.plugins import ORIGIN, good_plugin
from tests.web_server import Site, serve


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    return made


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]


@contextmanager
def plugin(context: ssl.SSLContext, host: str = "127.0.0.1") -> Iterator[Site]:
    with serve(tls=context, host=host) as site:
        good_plugin(site)
        yield site


def live(address: str) -> list[Any]:
    report = probe_address(address).report
    return [one for one in report.findings if one.rule.startswith("KB7")]


def failure(site: Site) -> str:
    with pytest.raises(Unavailable) as caught:
        probe_address(f"{site.url}/ai-plugin.json")
    return str(caught.value)


def test_a_good_certificate_passes(authority: Authority) -> None:
    with plugin(authority.server()) as site:
        assert live(f"{site.url}/ai-plugin.json") == []


def test_a_certificate_that_soon_expires_is_told_once_with_the_day(authority: Authority) -> None:
    with plugin(authority.server(days=5)) as site:
        [found] = live(f"{site.url}/ai-plugin.json")
    assert (found.rule, found.severity) == ("KB712", Severity.WARNING)
    assert "The certificate of 127.0.0.1 expires in 4 days, on 20" in found.message


def test_that_of_the_logo_is_told_where_the_logo_is_named(authority: Authority) -> None:
    with serve(tls=authority.server(days=5)) as pictures, plugin(authority.server()) as site:
        good_plugin(pictures)
        good_plugin(site, logo_url=f"https://localhost:{pictures.port}/logo.png")
        [found] = live(f"{site.url}/ai-plugin.json")
        assert found.rule == "KB701"
        good_plugin(site, logo_url=f"{pictures.url}/logo.png")
        # The other certificate of this host was seen first.
        assert [one.rule for one in live(f"{site.url}/ai-plugin.json")] == ["KB712"]


def test_an_expired_certificate_is_told(authority: Authority) -> None:
    with plugin(authority.server(days=-1)) as site:
        assert "The certificate of 127.0.0.1 has expired." in failure(site)


def test_a_certificate_of_another_host_is_told(authority: Authority) -> None:
    with plugin(authority.server("DNS:kb.acme-notes.com")) as site:
        assert "The certificate is not for 127.0.0.1: it names other hosts" in failure(site)
    with plugin(authority.server("IP:127.0.0.1"), "localhost") as site:
        assert "The certificate is not for localhost: it names other hosts" in failure(site)


def test_a_certificate_that_nobody_trusts_is_told(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path / "empty").path))
    with plugin(authority.server()) as site:
        assert "is signed by nobody that programs trust" in failure(site)


def test_tls_that_is_too_old_is_told(authority: Authority) -> None:
    context = authority.server()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with plugin(context) as site:
        assert "127.0.0.1 speaks no TLS of version 1.2 or newer" in failure(site)


def test_plain_http_at_the_port_of_https_is_told(authority: Authority) -> None:
    with serve() as site:
        site.scheme = "https"
        assert "127.0.0.1 does not speak TLS at this port" in failure(site)


def test_a_server_of_operations_with_a_bad_certificate_is_told(authority: Authority) -> None:
    bad, good = authority.server("DNS:kb.acme-notes.com"), authority.server()
    with plugin(bad) as other, plugin(good) as site:
        status, headers, body = site.pages["/openapi.yaml"]
        changed = body.replace(f'"{site.url}"'.encode(), f'"{other.url}"'.encode())
        site.pages["/openapi.yaml"] = (status, headers, changed)
        [one] = [one for one in live(f"{site.url}/ai-plugin.json") if one.rule == "KB713"]
    assert one.severity is Severity.ERROR
    assert "The certificate is not for 127.0.0.1" in one.message
