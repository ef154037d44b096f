"""Live probes: the documents, the logo, the legal page and CORS, as clients meet them.

Everything is asked through `retrieval.fetching`, which reaches no address inside this network
that nobody allowed; nothing that comes back is executed or shown as it is.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.conf import settings

from plugin.doctor import sources
from plugin.doctor.exchanges import Asker, Exchange, other_cases
from plugin.doctor.kept import Kept
from plugin.doctor.pictures import SVG, Picture, Undecodable, decode
from plugin.doctor.registry import RULES
from plugin.doctor.rules.levels import (
    ADVICE,
    CHATGPT,
    ERROR,
    LANGCHAIN,
    NEXTCHAT,
    WARNING,
)
from plugin.doctor.sources import OWN, Fetched, Unavailable
from plugin.doctor.subject import Subject, host_of, is_absolute, is_private
from plugin.doctor.types import Consumer, Document, Finding, Report, Severity

SLOW = 5.0
ORIGINS_ASKED = 3
#: Seconds for which a copy may be kept without a word, and without a warning.
SHORT, LONG = 600, 7 * 86_400
SMALLEST_LOGO, LARGEST_LOGO = 128, 500_000
SAMPLE_ORIGIN = "http://localhost:3000"
FETCHES = {Document.MANIFEST: LANGCHAIN, Document.OPENAPI: NEXTCHAT}
POINTERS = {"logo": "/logo_url", "legal": "/legal_info_url"}
YAML = {
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
    "text/vnd.yaml",
    "application/vnd.oai.openapi",
}
PLAIN = {"text/plain", "application/octet-stream", "binary/octet-stream"}


@dataclass(frozen=True, slots=True)
class Probed:
    report: Report
    exchanges: tuple[Exchange, ...]
    logo: bytes | None  #: a small PNG made of it

    @property
    def kept(self) -> Kept:
        """What is shown of it, now and later."""
        return Kept(self.report, tuple(one.told for one in self.exchanges), self.logo)


def probe_address(address: str, consumers: Iterable[Consumer] = tuple(Consumer)) -> Probed:
    """Raises Unavailable if the document cannot be had, whose message says why."""
    prober = Prober()
    report = sources.check(address, consumers=consumers, fetch=prober.fetch, probe=prober.look)
    return prober.done(report)


def probe_own(consumers: Iterable[Consumer] = tuple(Consumer)) -> Probed:
    """Our own documents as the network serves them. Raises Unavailable."""
    probed = probe_address(f"{settings.PUBLIC_URL}/.well-known/ai-plugin.json", consumers)
    return replace(probed, report=replace(probed.report, source=OWN))


def probe_document(given: Fetched, *, openapi: Fetched | None = None, source: str = "") -> Probed:
    """What a document that is at hand names."""
    prober = Prober()
    report = sources.check_document(
        given, openapi=openapi, source=source, fetch=prober.fetch, probe=prober.look
    )
    return prober.done(report)


class Prober:
    """Asks for one plugin."""

    def __init__(self) -> None:
        self.asker = Asker(sources.allowed_hosts())
        self.origins = (settings.CORS_ALLOWED_ORIGINS or [SAMPLE_ORIGIN])[:ORIGINS_ASKED]
        self.documents: dict[str, Exchange] = {}  #: by their address after redirects
        self.logo: bytes | None = None
        self.logo_was_asked = False

    def done(self, report: Report) -> Probed:
        order = ["document", "logo", "legal", "cors", "preflight"]
        exchanges = sorted(self.asker.exchanges, key=lambda one: order.index(one.what))
        if self.logo_was_asked:
            # What was only suspected is known now.
            kept = [
                one
                for one in report.findings
                if one.rule != "KB101" or one.consumers.get(CHATGPT) is ERROR
            ]
            report = replace(report, findings=tuple(kept))
        return Probed(report, tuple(exchanges), self.logo)

    def fetch(self, address: str) -> Fetched:
        exchange = self.asker.ask("document", address)
        if exchange.page is None or not exchange.is_good:
            reason = exchange.failure
            if exchange.status in {404, 410} and (right := self.right_case("document", address)):
                reason += f" Only the case of its letters is wrong: {right.url} answers."
            raise Unavailable(f"{address}: {reason}")
        self.documents[exchange.page.url] = exchange
        return Fetched(exchange.page.data, exchange.page.url)

    def right_case(
        self, what: str, url: str, is_right: Callable[[Exchange], bool] = lambda _: True
    ) -> Exchange | None:
        """The answer of an address that differs only in case."""
        for candidate in other_cases(url):
            found = self.asker.ask(what, candidate)
            if found.is_good and is_right(found):
                return found
        return None

    def look(self, subject: Subject) -> list[Finding]:
        """Everything that both documents name, at the same time."""
        jobs: list[Callable[[], Iterable[Finding]]] = [
            lambda: documents(self, subject),
            lambda: logo(self, subject),
            lambda: legal(self, subject),
        ]
        for origin in self.origins:
            jobs.append(lambda origin=origin: cors(self, subject, origin))  # type: ignore[misc]
            jobs.append(lambda origin=origin: preflight(self, subject, origin))  # type: ignore[misc]
        with ThreadPoolExecutor(max_workers=6, thread_name_prefix="probe") as pool:
            return [one for found in pool.map(lambda job: list(job()), jobs) for one in found]


# --- Documents --------------------------------------------------------------------------------


def documents(prober: Prober, subject: Subject) -> Iterator[Finding]:
    for document in Document:
        reading = subject.reading(document)
        exchange = prober.documents.get(reading.address) if reading else None
        if reading is None or exchange is None or exchange.page is None:
            continue
        if document is Document.OPENAPI and reading is subject.manifest:
            continue

        def told(
            rule: str, message: str, severity: Severity, document: Document = document
        ) -> Finding:
            # Those that fetch it themselves; the others are handed a text by a person.
            levels = dict.fromkeys((CHATGPT, FETCHES[document]), severity)
            return RULES[rule].finding(subject, "", message, levels=levels, document=document)

        page = exchange.page
        if page.redirects:
            yield told("KB705", f"{page.redirects[0]} leads on to {page.url}.", ADVICE)
        right = {"application/json"} if reading.language == "json" else YAML
        kind = page.content_type
        if kind not in right | PLAIN and not kind.endswith(f"+{reading.language}"):
            yield told("KB706", f"It is served as {kind or 'nothing at all'}.", ADVICE)
        if exchange.seconds > SLOW:
            yield told("KB707", f"It took {exchange.seconds:.1f} seconds.", WARNING)
        seconds = kept_for(exchange)
        if seconds > SHORT:
            severity = WARNING if seconds >= LONG else ADVICE
            yield told("KB708", f"Copies may be kept for {in_words(seconds)}.", severity)


def kept_for(exchange: Exchange) -> int:
    """Seconds for which a copy is used without asking."""
    headers = exchange.page.headers if exchange.page else {}
    control = headers.get("cache-control", "").lower()
    if re.search(r"\bno-(?:store|cache)\b", control):
        return 0
    found = [int(number[:12]) for number in re.findall(r"max-?age\s*=\s*\"?(\d+)", control)]
    if found:
        return max(found)
    with suppress(ValueError, TypeError, OverflowError):
        ends = parsedate_to_datetime(headers.get("expires", ""))
        ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
        return max(int((ends - datetime.now(UTC)).total_seconds()), 0)
    return 0


def in_words(seconds: int) -> str:
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number:,} {name}{'' if number == 1 else 's'}"
    return f"{seconds} seconds"


# --- Logo and legal page ----------------------------------------------------------------------


def named(subject: Subject, what: str) -> str:
    """The whole address that a field of the manifest names; "" where it is none."""
    value = subject.fields.get(POINTERS[what][1:])
    if not isinstance(value, str) or not value.strip():
        return ""
    try:
        whole = urljoin(subject.address, value.strip())
    except ValueError:
        return ""
    return whole if is_absolute(whole) else ""


def logo(prober: Prober, subject: Subject) -> Iterator[Finding]:
    url = named(subject, "logo")
    if not url:
        return
    answer = prober.asker.ask("logo", url)
    if not answer.is_good or answer.page is None:
        yield from missing(prober, subject, "logo", answer)
        return
    prober.logo_was_asked = True
    try:
        picture = decode(answer.page.data)
    except Undecodable as error:
        right = None
        if answer.page.content_type.startswith("text/"):
            right = prober.right_case("logo", url, is_picture)
        if right is not None and right.page is not None:
            prober.logo = decode(right.page.data).shown
            yield wrong_case(subject, right, str(error))
        else:
            yield RULES["KB702"].finding(subject, "/logo_url", f"{url}: {error}")
        return
    prober.logo = picture.shown
    if answer.page.redirects:
        message = f"The logo's address leads on to {answer.page.url}."
        yield RULES["KB705"].finding(subject, "/logo_url", message)
    yield from of_picture(subject, answer, picture)


def of_picture(subject: Subject, answer: Exchange, picture: Picture) -> Iterator[Finding]:
    page = answer.page
    assert page is not None  # noqa: S101 - it was decoded
    kind, nosniff = page.content_type, "nosniff" in page.headers.get("x-content-type-options", "")
    same = {picture.content_type, "image/vnd.microsoft.icon" if picture.format == "ICO" else ""}
    if kind not in same:
        hidden = not kind.startswith("image/") and (nosniff or picture.content_type == SVG)
        message = f"It is a {picture.format}, served as {kind or 'nothing at all'}"
        message += ": browsers do not show it." if hidden else "."
        levels = {CHATGPT: ERROR if hidden else WARNING}
        yield RULES["KB703"].finding(subject, "/logo_url", message, levels=levels)
    faults = []
    if picture.format in {"SVG", "BMP", "ICO"}:
        faults.append(f"it is a {picture.format}")
    elif picture.width != picture.height:
        faults.append(f"it is not square ({picture.width} × {picture.height} pixels)")
    elif picture.width < SMALLEST_LOGO:
        faults.append(f"it is small ({picture.width} × {picture.height} pixels)")
    if len(page.data) > LARGEST_LOGO:
        faults.append(f"it has {len(page.data):,} bytes")
    if faults:
        message = f"The logo could be better: {', '.join(faults)}."
        yield RULES["KB704"].finding(subject, "/logo_url", message)


def is_picture(answer: Exchange) -> bool:
    try:
        decode(answer.page.data if answer.page else b"")
    except Undecodable:
        return False
    return True


def missing(prober: Prober, subject: Subject, what: str, answer: Exchange) -> Iterator[Finding]:
    """Why the logo or the legal page is not there, and where it is if only the case differs."""
    is_inside = is_private(host_of(answer.url)) and not prober.asker.is_allowed(answer.url)
    if answer.is_forbidden and is_inside:
        return  # nobody asked; the rules of addresses say what is wrong with it
    is_right = is_picture if what == "logo" else (lambda _: True)
    right = None
    if answer.status in {403, 404, 410}:
        right = prober.right_case(what, answer.url, is_right)
    if what == "logo":
        prober.logo_was_asked = answer.status > 0
        if right is not None and right.page is not None:
            prober.logo = decode(right.page.data).shown
            yield wrong_case(subject, right, answer.failure)
            return
    message = f"{answer.url}: {answer.failure}"
    more: dict[str, Any] = {}
    if right is not None:
        message += f" Only the case of its letters is wrong: {right.url} answers."
        more = {"fix": f"Write {right.url}", "value": right.url}
    levels = {CHATGPT: ERROR if what == "logo" else WARNING}
    yield RULES["KB701"].finding(subject, POINTERS[what], message, levels=levels, **more)


def wrong_case(subject: Subject, right: Exchange, failure: str) -> Finding:
    return RULES["KB101"].finding(
        subject,
        "/logo_url",
        f"Only the case of the logo's letters is wrong: {right.url} is a picture. ({failure})",
        levels={CHATGPT: ERROR},
        fix=f"Write {right.url}",
        value=right.url,
    )


def legal(prober: Prober, subject: Subject) -> Iterator[Finding]:
    url = named(subject, "legal")
    if not url:
        return
    answer = prober.asker.ask("legal", url)
    if not answer.is_good or answer.page is None:
        yield from missing(prober, subject, "legal", answer)
        return
    page = answer.page
    is_text = page.content_type.startswith("text/") or page.content_type in {
        "application/pdf",
        "application/xhtml+xml",
    }
    if not page.data.strip() or not is_text:
        what = page.content_type if page.data.strip() else "nothing"
        message = f"The legal page answers with {what or 'something without a content type'}."
        yield RULES["KB711"].finding(subject, "/legal_info_url", message)
    if page.redirects and urlsplit(page.url).hostname != urlsplit(url).hostname:
        message = f"The legal page leads on to {page.url}."
        yield RULES["KB705"].finding(subject, "/legal_info_url", message)


# --- CORS -------------------------------------------------------------------------------------


def cors(prober: Prober, subject: Subject, origin: str) -> Iterator[Finding]:
    """The OpenAPI document as a page of that origin asks for it: a simple GET."""
    reading = subject.openapi
    if reading is None or reading.address not in prober.documents:
        return
    answer = prober.asker.ask("cors", reading.address, headers={"Origin": origin})
    if answer.page is not None and not allows(answer, origin):
        found = answer.page.headers.get("access-control-allow-origin", "")
        message = f"A page of {origin} may not read it: Access-Control-Allow-Origin is "
        message += f"{found}." if found else "missing."
        document = Document.MANIFEST if reading is subject.manifest else Document.OPENAPI
        yield RULES["KB709"].finding(subject, "", message, document=document)


def allows(answer: Exchange, origin: str) -> bool:
    found = answer.page.headers.get("access-control-allow-origin", "") if answer.page else ""
    return found.strip() in {"*", origin}


def preflight(prober: Prober, subject: Subject, origin: str) -> Iterator[Finding]:
    """What a browser asks before it sends JSON with a key to the first operation."""
    url, pointer = first_post(subject)
    if not url:
        return
    answer = prober.asker.ask(
        "preflight",
        url,
        method="OPTIONS",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    if answer.page is None:
        return  # told of the server elsewhere, or it was not to be asked
    reasons = []
    if not answer.is_good:
        reasons.append(f"OPTIONS is answered with {answer.status}")
    elif not allows(answer, origin):
        reasons.append("Access-Control-Allow-Origin does not name it")
    else:
        listed = answer.page.headers.get("access-control-allow-headers", "").lower()
        allowed = {name.strip() for name in listed.split(",")}
        # The star stands for every header but this one.
        if "authorization" not in allowed and subject.auth.get("type") != "none":
            reasons.append("the header authorization is not allowed")
        if not allowed & {"content-type", "*"}:
            reasons.append("the header content-type is not allowed")
    if reasons:
        message = f"A page of {origin} may not POST to {url}: {' and '.join(reasons)}."
        yield RULES["KB710"].finding(subject, pointer, message)


def first_post(subject: Subject) -> tuple[str, str]:
    """The address of an operation that takes POST, with its pointer; "" without one."""
    servers = subject.spec.get("servers")
    server = servers[0] if isinstance(servers, list) and servers else {}
    base = server.get("url") if isinstance(server, dict) else ""
    if not isinstance(base, str) or subject.openapi is None:
        return "", ""
    for operation in subject.operations:
        if operation.method == "post" and "{" not in operation.path + base:
            with suppress(ValueError):
                whole = urljoin(subject.openapi.address, base) if base else subject.openapi.address
                url = whole.rstrip("/") + operation.path
                return (url, operation.pointer) if is_absolute(url) else ("", "")
    return "", ""
