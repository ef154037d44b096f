"""Pages are fetched from the public internet only, within limits, whatever a site does."""

import gzip
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from retrieval import fetching
from retrieval.exceptions import (
    AddressForbidden,
    FetchFailed,
    FetchUnreachable,
    FileTooLarge,
    InvalidAddress,
    UnsupportedFormat,
)
from retrieval.fetching import Page, content_of, filename_of, is_public, normalise
from tests.web_server import Site, serve

MEGABYTE = 1024 * 1024
LOCAL = {"127.0.0.1"}


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as site:
        yield site


def get(address: str, allowed: set[str] = LOCAL, timeout: float = 3.0, **more: Any) -> Page:
    return fetching.fetch(
        address, max_bytes=MEGABYTE, allowed_hosts=allowed, timeout=timeout, **more
    )


# --- Which addresses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        (" https://Example.COM ", "https://example.com/"),
        ("http://example.com:80/a#part", "http://example.com/a"),
        ("https://example.com:8443/a?q=1", "https://example.com:8443/a?q=1"),
        ("https://bücher.example/straße", "https://xn--bcher-kva.example/stra%C3%9Fe"),
        ("https://例子.测试/手册", "https://xn--fsqu00a.xn--0zwm56d/%E6%89%8B%E5%86%8C"),
        ("https://example.com/a%20b", "https://example.com/a%20b"),
        ("http://[2606:4700::1]/x", "http://[2606:4700::1]/x"),
    ],
)
def test_an_address_has_one_spelling(given: str, spelled: str) -> None:
    assert normalise(given) == spelled
    assert normalise(spelled) == spelled


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "gopher://example.com/",
        "http://",
        "http:///path",
        "http://user:secret@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/",
        "http://example.com/\r\nX: y",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://[::1",
        "https://example.com/" + "a" * 500,
    ],
)
def test_what_is_no_web_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidAddress):
        normalise(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "198.18.0.1",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "fe80::1%lo",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
    ],
)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ],
)
def test_no_disguise_leads_to_this_machine(site: Site, host: str) -> None:
    with pytest.raises((AddressForbidden, FetchFailed)):
        get(f"http://{host}:{site.port}/", allowed=set())
    assert site.asked == []


def answers(monkeypatch: pytest.MonkeyPatch, *rounds: list[str]) -> list[str]:
    """Names of hosts lead where a test says, another place with each question."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host in {ip for ips in rounds for ip in ips}:
            ips = [host]
        else:
            asked.append(host)
            ips = rounds[min(len(asked), len(rounds)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ips]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_that_leads_inside_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["127.0.0.1"])
    with pytest.raises(AddressForbidden, match="KBADMIN_FETCH_ALLOWED_HOSTS"):
        get(f"http://innocent.example:{site.port}/", allowed=set())
    assert site.asked == []


def test_one_address_inside_among_public_ones_is_enough(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, ["1.1.1.1", "127.0.0.1"])
    with pytest.raises(AddressForbidden):
        get(f"http://innocent.example:{site.port}/", allowed=set())


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere when it is asked for the second time gains nothing."""
    asked = answers(monkeypatch, ["1.2.3.4"], ["127.0.0.1"])
    tried: list[str] = []

    def create_connection(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", create_connection)
    with pytest.raises(FetchUnreachable):
        get(f"http://rebinding.example:{site.port}/", allowed=set())
    assert (asked, tried) == (["rebinding.example"], ["1.2.3.4"])


def test_the_site_sees_the_name_that_was_asked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, ["127.0.0.1"])
    site.page("/a", "<p>hello")
    assert get(f"http://wiki.example:{site.port}/a", {"wiki.example"}).data == b"<p>hello"
    assert site.asked == [(f"wiki.example:{site.port}", "/a")]


# --- Redirects -----------------------------------------------------------------------------


def test_redirects_are_followed_and_told(site: Site) -> None:
    site.page("/end", "<p>here")
    start = site.leads("/start", "next")
    site.leads("/next", "/end", status=308)
    page = get(start)
    assert (page.url, page.data) == (f"{site.url}/end", b"<p>here")
    assert page.redirects == (start, f"{site.url}/next")


def test_a_redirect_inside_is_refused(site: Site) -> None:
    for host in ("localhost", "2130706433", "[::1]", "169.254.169.254"):
        with pytest.raises((AddressForbidden, FetchFailed)):
            get(site.leads("/out", f"http://{host}:{site.port}/secret"))
    assert {path for _, path in site.asked} == {"/out"}


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.com/", "http://a:b@c/"])
def test_a_redirect_to_something_else_is_refused(site: Site, target: str) -> None:
    with pytest.raises(AddressForbidden, match="leads on to something"):
        get(site.leads("/out", target))


def test_a_circle_ends(site: Site) -> None:
    with pytest.raises(FetchFailed, match="more than 5 times"):
        get(site.leads("/round", "/round"))
    assert len(site.asked) == 6


# --- Sites that misbehave ------------------------------------------------------------------


@pytest.mark.parametrize("path", ["bad-drip", "bad-headers", "bad-silence"])
def test_time_is_up_for_a_slow_site(site: Site, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(FetchUnreachable, match=r"did not answer within 0\.5 seconds"):
        get(f"{site.url}/{path}", timeout=0.5)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("path", ["bad-endless", "bad-bomb"])
def test_a_page_without_end_is_too_large(site: Site, path: str) -> None:
    with pytest.raises(FileTooLarge, match="KBADMIN_MAX_FILE_SIZE"):
        get(f"{site.url}/{path}")


def test_a_page_that_says_it_is_too_large_is_not_read(site: Site) -> None:
    address = site.page("/big", b"x", Content_Length=str(MEGABYTE + 1))
    with pytest.raises(FileTooLarge):
        get(address)


def test_half_a_page_is_none(site: Site) -> None:
    with pytest.raises(FetchUnreachable, match="before the page was complete"):
        get(f"{site.url}/bad-short")


@pytest.mark.parametrize("path", ["bad-protocol", "bad-close"])
def test_nonsense_is_a_failure_and_no_crash(site: Site, path: str) -> None:
    with pytest.raises(FetchFailed):
        get(f"{site.url}/{path}")


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(FetchUnreachable, match="cannot be reached"):
        get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (404, FetchFailed, "no page at this address"),
        (403, FetchFailed, "without a login"),
        (500, FetchUnreachable, "Try again later"),
        (429, FetchUnreachable, "Try again later"),
        (304, FetchFailed, "304 instead of a page"),
    ],
)
def test_an_error_of_the_site_is_told(
    site: Site, status: int, kind: type[FetchFailed], words: str
) -> None:
    with pytest.raises(kind, match=words) as failure:
        get(site.page("/a", "", status=status))
    assert failure.value.retryable is (kind is FetchUnreachable)


def test_a_packed_page_is_unpacked(site: Site) -> None:
    body = gzip.compress(b"<p>hello")
    assert get(site.page("/z", body, Content_Encoding="gzip")).data == b"<p>hello"
    parts = gzip.compress(b"<p>he") + gzip.compress(b"llo")
    assert get(site.page("/z", parts, Content_Encoding="gzip")).data == b"<p>hello"
    with pytest.raises(FetchUnreachable, match="before the page was complete"):
        get(site.page("/z", body[:-4], Content_Encoding="gzip"))


# --- What a page is ------------------------------------------------------------------------


def page(url: str, kind: str, data: bytes = b"") -> Page:
    return Page(url, 200, {"content-type": kind}, data)


@pytest.mark.parametrize(
    ("url", "kind", "name"),
    [
        ("https://a.example/", "text/html; charset=utf-8", "a.example.html"),
        ("https://a.example/guide", "text/html", "guide.html"),
        ("https://a.example/guide.htm", "TEXT/HTML", "guide.htm"),
        ("https://a.example/index.php", "application/xhtml+xml", "index.php.html"),
        ("https://a.example/report.md", "text/html", "report.md.html"),
        ("https://a.example/report.md", "text/plain", "report.md"),
        ("https://a.example/report", "text/plain", "report.txt"),
        ("https://a.example/file.pdf", "application/octet-stream", "file.pdf"),
        ("https://a.example/get?id=1", "application/pdf", "get.pdf"),
        ("https://a.example/%E6%89%8B", "text/markdown", "手.md"),
    ],
)
def test_the_content_type_decides_what_it_is_read_as(url: str, kind: str, name: str) -> None:
    assert filename_of(page(url, kind)) == name


def test_a_picture_is_refused_by_its_type() -> None:
    with pytest.raises(UnsupportedFormat, match="image/png"):
        filename_of(page("https://a.example/a.png", "image/png"))


def test_text_in_the_encoding_of_its_header_becomes_utf8() -> None:
    latin = page("https://a.example/", "text/html; charset=iso-8859-1", "Grüße".encode("latin-1"))
    assert content_of(latin) == "Grüße".encode()
    chinese = page("https://a.example/", 'text/plain; charset="GBK"', "手册".encode("gbk"))
    assert content_of(chinese) == "手册".encode()
    wrong = page("https://a.example/", "text/html; charset=nonsense", b"\xff")
    assert content_of(wrong) == b"\xff"
