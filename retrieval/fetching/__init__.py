"""Pages from the web, asked for by people who must not reach the inside of this network.

An address is checked after its name was resolved, and the connection goes to the very address
that was checked: a name that answers differently the second time gains nothing. So does every
redirect. Nothing here knows models or settings, and no proxy is used.
"""

import http.client
import ipaddress
import re
import ssl
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from retrieval.exceptions import (
    AddressForbidden,
    FetchFailed,
    FetchUnreachable,
    FileTooLarge,
    InvalidAddress,
    UnsupportedFormat,
)
from retrieval.fetching.connection import (
    Deadline,
    PinnedConnection,
    Tls,
    handshake_failure,
    resolve,
)
from retrieval.parsers.detection import BY_SUFFIX, suffix_of
from retrieval.sentences import Sentence as _

#: Characters of an address: what a document's external id can hold.
MAX_ADDRESS = 500
MAX_REDIRECTS = 5
TIMEOUT = 15.0
PIECE = 64 * 1024
HEADERS = {
    "User-Agent": "kbadmin",
    "Accept": "text/html, text/markdown, text/plain, application/pdf, */*;q=0.5",
    "Accept-Encoding": "gzip, identity",
    "Connection": "close",
}
HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?")
#: Addresses of machines' own services that look public: (network, what answers there).
METADATA = ipaddress.ip_network("168.63.129.16/32")
NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: The ending that a kind of content has in a name.
BY_TYPE = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/x-zip-compressed": ".zip",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}
#: Said by servers that do not know what they send: the name may know better.
VAGUE = {"", "text/plain", "application/octet-stream", "binary/octet-stream"}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer, unpacked."""

    url: str  #: after redirects
    status: int
    headers: Mapping[str, str]  #: names in lower case
    data: bytes
    redirects: tuple[str, ...] = field(default=())  #: addresses on the way, the first one first
    tls: Tls | None = None  #: of the last connection; None over plain HTTP

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        found = re.search(r"charset=[\"']?([\w.:-]+)", self.headers.get("content-type", ""), re.I)
        return found[1].lower() if found else ""


def normalise(address: str) -> str:
    """The one spelling of an address: host in ASCII and lower case, no fragment, path quoted.

    Raises InvalidAddress if it is none, is not http(s), or carries a user or password.
    """
    url = _spelled(address.strip())
    if len(url) > MAX_ADDRESS:
        raise InvalidAddress(
            _("This address is longer than %(most)s characters.", most=MAX_ADDRESS)
        )
    return url


def _spelled(address: str) -> str:
    try:
        parts = urlsplit(address)
        port = parts.port
        host = parts.hostname or ""
    except ValueError as error:
        raise InvalidAddress(
            _("This is no address of a web page: %(address)s", address=address[:100])
        ) from error
    if parts.scheme.lower() not in {"http", "https"}:
        raise InvalidAddress(_("Only addresses that begin with http:// or https:// are fetched."))
    if parts.username is not None or parts.password is not None:
        raise InvalidAddress(_("An address with a user name or password in it is not fetched."))
    with suppress(UnicodeError):  # what cannot be spelled in ASCII fails the next check
        host = host if ":" in host else host.encode("idna").decode().lower()
    if not (_is_ip(host) or HOST.fullmatch(host)) or port == 0 or not address.isprintable():
        raise InvalidAddress(
            _("This is no address of a web page: %(address)s", address=address[:100])
        )
    netloc = f"[{host}]" if ":" in host else host
    if port and port != {"http": 80, "https": 443}[parts.scheme.lower()]:
        netloc += f":{port}"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=~[]")
    return urlunsplit((parts.scheme.lower(), netloc, path, query, ""))


def fetch(
    address: str,
    *,
    max_bytes: int,
    allowed_hosts: Collection[str] = (),
    timeout: float = TIMEOUT,
    max_redirects: int = MAX_REDIRECTS,
) -> Page:
    """A page that was answered with success. `timeout` in seconds, for everything together.

    Raises:
        InvalidAddress, AddressForbidden: it is not asked at all.
        FetchUnreachable: nobody answers, or only that this is not the time; worth a retry.
        FetchFailed: the answer is no page.
        FileTooLarge: beyond `max_bytes`, also while unpacking.
    """
    page = request(
        address,
        max_bytes=max_bytes,
        allowed_hosts=allowed_hosts,
        timeout=timeout,
        max_redirects=max_redirects,
    )
    refuse_failure(page)
    return page


def refuse_failure(page: Page) -> None:
    """Raises FetchUnreachable or FetchFailed unless the page was answered with success."""
    status = page.status
    if status in {408, 425, 429} or status >= 500:
        raise FetchUnreachable(
            _("The site answered with an error (%(status)s). Try again later.", status=status)
        )
    if status in {401, 403, 407}:
        raise FetchFailed(
            _("The site refuses this page without a login (%(status)s).", status=status)
        )
    if status in {404, 410}:
        raise FetchFailed(_("There is no page at this address (%(status)s).", status=status))
    if not 200 <= status < 300:
        raise FetchFailed(_("The site answered with %(status)s instead of a page.", status=status))


def request(
    address: str,
    *,
    max_bytes: int,
    allowed_hosts: Collection[str] = (),
    timeout: float = TIMEOUT,
    max_redirects: int = MAX_REDIRECTS,
    headers: Mapping[str, str] = {},
    method: str = "GET",
    body: bytes | None = None,
    follow: bool = True,
) -> Page:
    """As `fetch`, whatever status the answer has. Only GET follows redirects, if it should.

    `allowed_hosts` are names or addresses, in lower case, that may be anywhere; with `:port`
    behind them, that port alone.
    """
    url = _spelled(address.strip())
    passed: list[str] = []
    with Deadline(timeout) as deadline:
        while True:
            question = _Question(method, url, {**HEADERS, **headers}, body)
            page = _ask(question, max_bytes, allowed_hosts, deadline)
            target = page.headers.get("location", "")
            leads_on = page.status in {301, 302, 303, 307, 308} and bool(target)
            if not leads_on or method != "GET" or not follow:
                return replace(page, redirects=tuple(passed))
            passed.append(url)
            if len(passed) > max_redirects:
                raise FetchFailed(
                    _("The address leads on more than %(most)s times.", most=max_redirects)
                )
            try:
                url = _spelled(urljoin(url, target))
            except (InvalidAddress, ValueError) as error:
                raise AddressForbidden(
                    _(
                        "The address leads on to something that is not fetched: %(address)s",
                        address=target[:200],
                    )
                ) from error


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, whatever it is wrapped in."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in NAT64:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if not all(is_public(str(part)) for part in inner if part is not None):
            return False
        if ip.ipv4_mapped is not None or ip in NAT64:
            return True
    is_special = ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_link_local
    return ip.is_global and not is_special and ip not in METADATA


def filename_of(page: Page) -> str:
    """A name for a page's bytes, whose ending says what they are read as.

    Raises UnsupportedFormat if its content type is of no kind that can be read.
    """
    parts = urlsplit(page.url)
    name = unquote(PurePosixPath(parts.path).name) or (parts.hostname or "page")
    kind = page.content_type
    if kind in VAGUE and suffix_of(name) in BY_SUFFIX:
        return name
    if kind in VAGUE and kind != "text/plain":
        return name
    if kind not in BY_TYPE:
        raise UnsupportedFormat(
            _(
                "This address holds %(type)s, which cannot be read. These can: %(types)s.",
                type=kind[:100],
                types=", ".join(sorted(BY_SUFFIX)),
            )
        )
    ending = BY_TYPE[kind]
    return name if BY_SUFFIX.get(suffix_of(name)) is BY_SUFFIX[ending] else name + ending


def content_of(page: Page) -> bytes:
    """A page's bytes; text in the encoding that only its header names becomes UTF-8."""
    charset = {"gb2312": "gb18030", "gbk": "gb18030"}.get(page.charset, page.charset)
    is_text = page.content_type.startswith("text/") or page.content_type.endswith("+xml")
    if not is_text or charset in {"", "utf-8", "utf8"}:
        return page.data
    with suppress(LookupError, UnicodeDecodeError):
        return page.data.decode(charset).encode()
    return page.data


# --- One request -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Question:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


def _ask(
    question: _Question, max_bytes: int, allowed_hosts: Collection[str], deadline: Deadline
) -> Page:
    parts = urlsplit(question.url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    ips = resolve(host, port, deadline)
    name = host.rstrip(".")
    is_allowed = name in allowed_hosts or f"{name}:{port}" in allowed_hosts
    if not is_allowed and not all(map(is_public, ips)):
        raise AddressForbidden(
            _(
                "%(host)s is not on the public internet. To fetch from it, name it in "
                "KBADMIN_FETCH_ALLOWED_HOSTS.",
                host=host,
            )
        )
    connection = deadline.connection = PinnedConnection(host, port, ips, deadline, tls)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    try:
        connection.request(
            question.method, target, body=question.body, headers=dict(question.headers)
        )
        response = connection.getresponse()
        found = _headers(response)
        leads_on = 300 <= response.status < 400 and "location" in found
        data = b"" if leads_on else _read(response, max_bytes, deadline)
    except (OSError, http.client.HTTPException, ValueError, zlib.error) as error:
        if deadline.expired or isinstance(error, TimeoutError):
            raise deadline.error() from error
        if isinstance(error, ssl.SSLError) and (failure := handshake_failure(host, error)):
            raise failure from error
        if isinstance(error, OSError):
            reason = error.strerror or str(error) or type(error).__name__
            raise FetchUnreachable(
                _("%(host)s cannot be reached: %(reason)s.", host=host, reason=reason)
            ) from error
        raise FetchFailed(
            _("%(host)s answered with something that is no page.", host=host)
        ) from error
    finally:
        connection.close()
    if deadline.expired:  # cut in the middle of a body without a length
        raise deadline.error()
    return Page(question.url, response.status, found, data, tls=connection.protection)


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    """By name; the last one counts, but of those that browsers take together all of them."""
    found: dict[str, str] = {}
    for name, value in response.getheaders():
        key = name.lower()
        is_list = key.startswith("access-control-") or key in {"cache-control", "vary"}
        found[key] = f"{found[key]}, {value}" if is_list and key in found else value
    return found


def _read(response: http.client.HTTPResponse, max_bytes: int, deadline: Deadline) -> bytes:
    length = response.getheader("Content-Length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    encoding = response.getheader("Content-Encoding", "identity").strip().lower()
    unpack = None
    if encoding in {"gzip", "x-gzip", "deflate"}:
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    elif encoding not in {"", "identity"}:
        raise FetchFailed(
            _(
                "The site packs its pages in a way that is not understood (%(encoding)s).",
                encoding=encoding,
            )
        )
    data = bytearray()
    while piece := response.read1(PIECE):
        while piece:
            # At most one byte too many: a page that unpacks to gigabytes costs no more.
            room = max_bytes + 1 - len(data)
            data += unpack.decompress(piece, room) if unpack else piece
            if len(data) > max_bytes:
                raise _too_large(max_bytes)
            piece = unpack.unused_data if unpack else b""
            if piece:  # another packed part follows
                unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        deadline.left  # noqa: B018  # raises when the time is up
    if response.length or (unpack and not unpack.eof):
        raise FetchUnreachable(_("The connection ended before the page was complete. Try again."))
    return bytes(data)


def _too_large(max_bytes: int) -> FileTooLarge:
    return FileTooLarge(
        _(
            "The page has more than %(most)s bytes. Raise KBADMIN_MAX_FILE_SIZE to take it.",
            most=f"{max_bytes:,}",
        )
    )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
