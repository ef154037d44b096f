"""One question to one server and what came back, kept so that a person can read it."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import quote, urlsplit, urlunsplit

from plugin.doctor.reading import MAX_BYTES
from plugin.doctor.types import NOTHING_SAID
from retrieval import fetching
from retrieval.exceptions import FileTooLarge, KnowledgeBaseError
from retrieval.fetching import Page
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

TIMEOUT = 15.0
#: Seconds for all that is asked about one plugin.
BUDGET = 40.0
EXCERPT = 2000
#: What stands where a secret was.
HIDDEN = "•••"
TOO_LARGE = _("The answer has more than %(most)s MB.", most=MAX_BYTES // 1024 // 1024)
TEXTUAL = ("text/", "application/json", "application/yaml", "application/x-yaml")


@dataclass(frozen=True, slots=True)
class Told:
    """An exchange as people read it, and as it is kept."""

    what: str
    method: str
    url: str
    status: int
    milliseconds: int
    raw: str
    is_forbidden: bool
    error: Sentence = NOTHING_SAID  #: why there is no answer

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Exchange:
    """As it went over the wire; `status` is 0 where nothing came back."""

    what: str  #: document, logo, legal, call, mcp, cors, preflight
    method: str
    url: str
    sent: Mapping[str, str]  #: headers beside the usual ones
    seconds: float
    page: Page | None = None
    error: Sentence = NOTHING_SAID
    is_forbidden: bool = field(default=False)  #: not asked at all, by the rules of addresses
    body: str = ""  #: what was sent after the headers

    @property
    def status(self) -> int:
        return self.page.status if self.page else 0

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def failure(self) -> Sentence:
        """Why there is no good answer; "" where there is one."""
        if self.page is None:
            return self.error
        try:
            fetching.refuse_failure(self.page)
        except KnowledgeBaseError as error:
            return Sentence.of(error.message)
        return NOTHING_SAID

    @property
    def milliseconds(self) -> int:
        return round(self.seconds * 1000)

    @property
    def excerpt(self) -> str:
        """The beginning of a text; of other things only how long they are."""
        if self.page is None:
            return ""
        data, kind = self.page.data, self.page.content_type
        if not data or not (kind == "" or kind.startswith(TEXTUAL) or kind.endswith("+json")):
            return f"({len(data):,} bytes)"
        more = " …" if len(data) > EXCERPT else ""
        return data[:EXCERPT].decode("utf-8", "replace").replace("\0", "\ufffd") + more

    @property
    def raw(self) -> str:
        """The whole exchange as text, the body cut short."""
        lines = [f"{self.method} {self.url}"]
        lines += [f"{name}: {value}" for name, value in self.sent.items()]
        lines += ["", self.body] if self.body else []
        lines.append("")
        if self.page is None:
            return "\n".join(lines).rstrip()
        lines += [f"(leads on from {address})" for address in self.page.redirects]
        lines.append(f"{self.page.status} {self.page.url}")
        lines += [f"{name}: {value}" for name, value in self.page.headers.items()]
        return "\n".join([*lines, "", self.excerpt])

    @property
    def told(self) -> Told:
        return Told(
            self.what,
            self.method,
            self.url,
            self.status,
            self.milliseconds,
            self.raw,
            self.is_forbidden,
            self.error,
        )


class Asker:
    """Asks through the safe fetcher within one budget of time, and notes every exchange."""

    def __init__(self, allowed_hosts: set[str]) -> None:
        self.allowed_hosts = allowed_hosts
        self.timeout = TIMEOUT
        self.ends = time.monotonic() + BUDGET
        self.exchanges: list[Exchange] = []

    def is_allowed(self, url: str) -> bool:
        """Whether its host may be asked wherever it is."""
        parts = urlsplit(url)
        name = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return not self.allowed_hosts.isdisjoint({name, f"{name}:{port}"})

    def ask(
        self,
        what: str,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        follow: bool = True,
        timeout: float | None = None,
        secrets: Sequence[str] = (),
    ) -> Exchange:
        """Never raises: what went wrong is in the exchange.

        `timeout` is for what has a time of its own, beside the budget. Of `secrets` nothing stays
        in the exchange, also where the server repeats them.
        """
        started = time.monotonic()
        page: Page | None = None
        error, is_forbidden = NOTHING_SAID, False
        left = timeout or min(self.timeout, self.ends - started)
        if left <= 0:
            error = _("Not asked: %(seconds)s seconds were up.", seconds=f"{BUDGET:g}")
        else:
            try:
                page = fetching.request(
                    url,
                    max_bytes=MAX_BYTES,
                    allowed_hosts=self.allowed_hosts,
                    timeout=left,
                    headers={"Accept": "*/*", **headers},
                    method=method,
                    body=body,
                    follow=follow,
                )
            except FileTooLarge:
                error = TOO_LARGE
            except KnowledgeBaseError as failure:
                error = Sentence.of(failure.message)
                is_forbidden = failure.code in {"address_forbidden", "invalid_address"}
        exchange = Exchange(
            what,
            method,
            hidden(url, secrets),
            {name: hidden(value, secrets) for name, value in headers.items()},
            time.monotonic() - started,
            page and without(page, secrets),
            error,
            is_forbidden,
            hidden((body or b"").decode("utf-8", "replace"), secrets),
        )
        self.exchanges.append(exchange)
        return exchange


def hidden(text: str, secrets: Sequence[str]) -> str:
    """The text with something else where a secret stands, also as addresses and JSON write it."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
            text = text.replace(form, HIDDEN)
    return text


def without(page: Page, secrets: Sequence[str]) -> Page:
    """A page in which every secret, however it was spelled, is hidden."""
    if not secrets:
        return page
    data = page.data
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}:
            data = data.replace(form.encode(), HIDDEN.encode())
    return replace(
        page,
        url=hidden(page.url, secrets),
        headers={name: hidden(value, secrets) for name, value in page.headers.items()},
        data=data,
    )


def other_cases(url: str) -> Iterator[str]:
    """Addresses that differ only in the case of their path, the likeliest first."""
    parts = urlsplit(url)
    path = PurePosixPath(parts.path)
    folder, stem, suffix = parts.path[: len(parts.path) - len(path.name)], path.stem, path.suffix
    names = (
        stem + suffix.lower(),
        stem.lower() + suffix.lower(),
        stem.lower() + suffix,
        stem.capitalize() + suffix.lower(),
        stem.upper() + suffix.upper(),
        stem + suffix.upper(),
        stem.upper() + suffix.lower(),
    )
    seen = {parts.path}
    for candidate in (*(folder + name for name in names), parts.path.lower()):
        if candidate not in seen:
            seen.add(candidate)
            yield urlunsplit(parts._replace(path=candidate))
