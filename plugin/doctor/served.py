"""How the documents are served: the way there, their type, the time, and copies that live long."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from plugin.doctor import places
from plugin.doctor.almost_json import shown
from plugin.doctor.exchanges import Exchange
from plugin.doctor.registry import RULES
from plugin.doctor.rules.levels import ADVICE, CHATGPT, LANGCHAIN, NEXTCHAT, WARNING
from plugin.doctor.subject import Subject
from plugin.doctor.types import Document, Finding, Severity
from retrieval.sentences import Sentence as _
from retrieval.sentences import listed

if TYPE_CHECKING:
    from plugin.doctor.probes import Prober

SLOW = 5.0
#: Seconds for which a copy may be kept without a word, and without a warning.
SHORT, LONG = 600, 7 * 86_400
#: The part of its age for which browsers keep a page whose server does not say how long.
GUESSED = 0.1
FETCHES = {Document.MANIFEST: LANGCHAIN, Document.OPENAPI: NEXTCHAT}
YAML = {
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
    "text/vnd.yaml",
    "application/vnd.oai.openapi",
}
PLAIN = {"text/plain", "application/octet-stream", "binary/octet-stream"}


def documents(prober: "Prober", subject: Subject) -> Iterator[Finding]:
    """How the two documents are served: type, encoding, redirects, copies on the way."""
    for document in Document:
        reading = subject.reading(document)
        exchange = prober.documents.get(reading.address) if reading else None
        if reading is None or exchange is None or exchange.page is None:
            continue
        if document is Document.OPENAPI and reading is subject.manifest:
            continue
        for rule, message, severity in faults(exchange, reading.language):
            # Those that fetch it themselves; the others are handed a text by a person.
            levels = dict.fromkeys((CHATGPT, FETCHES[document]), severity)
            place, pointer = places.of(subject, document)
            yield RULES[rule].finding(subject, pointer, message, levels=levels, document=place)


def faults(exchange: Exchange, language: str) -> Iterator[tuple[str, _, Severity]]:
    """(rule, sentence, how bad)"""
    page = exchange.page
    assert page is not None  # noqa: S101 - it was read
    if page.redirects:
        message = _("%(old)s leads on to %(new)s.", old=page.redirects[0], new=page.url)
        yield "KB705", message, ADVICE
    right = {"application/json"} if language == "json" else YAML
    kind = page.content_type
    if kind not in right | PLAIN and not kind.endswith(f"+{language}"):
        served = shown(kind, 100) or _("nothing at all")
        message = _("%(address)s is served as %(type)s.", address=page.url, type=served)
        yield "KB706", message, ADVICE
    if exchange.seconds > SLOW:
        took = f"{exchange.seconds:.1f}"
        message = _("%(address)s took %(seconds)s seconds.", address=page.url, seconds=took)
        yield "KB707", message, WARNING
    yield from old_copies(exchange)


def old_copies(exchange: Exchange) -> Iterator[tuple[str, _, Severity]]:
    """(rule, sentence, how bad): how long caches may go on giving out a document that changed."""
    page = exchange.page
    assert page is not None  # noqa: S101 - it was read
    headers, seconds = page.headers, kept_for(exchange)
    if seconds > SHORT:
        told = [header for header in REASONS if headers.get(header)]
        if is_guessed(exchange):
            told = ["last-modified"]
        message = _(
            "Copies of %(address)s may be used for %(time)s (%(headers)s).",
            address=page.url,
            time=in_words(seconds),
            headers=listed(f"{name}: {shown(headers[name], 100)}" for name in told),
        )
        yield "KB708", message, WARNING if seconds >= LONG else ADVICE
    age = headers.get("age", "")
    if age.isascii() and age.isdecimal() and int(age[:12]) > SHORT:
        message = _(
            "What %(address)s answered was itself a copy, %(time)s old.",
            address=page.url,
            time=in_words(int(age[:12])),
        )
        yield "KB708", message, ADVICE


REASONS = ("cache-control", "expires")


def kept_for(exchange: Exchange) -> int:
    """Seconds for which a copy is used without asking, or while asking."""
    headers = exchange.page.headers if exchange.page else {}
    control = headers.get("cache-control", "").lower()
    if re.search(r"\bno-(?:store|cache)\b", control):
        return 0
    found = [int(number[:12]) for number in re.findall(r"max-?age\s*=\s*\"?(\d+)", control)]
    stale = re.findall(r"stale-while-revalidate\s*=\s*\"?(\d+)", control)
    later = max((int(number[:12]) for number in stale), default=0)
    if found:
        return max(found) + later
    if "expires" in headers:
        ends = moment(headers["expires"])
        return max(int((ends - datetime.now(UTC)).total_seconds()), 0) if ends else 0
    if is_guessed(exchange) and (changed := moment(headers["last-modified"])):
        return max(int((datetime.now(UTC) - changed).total_seconds() * GUESSED), 0) + later
    return later


def is_guessed(exchange: Exchange) -> bool:
    """Whether a browser has nothing to go by but how old the document is."""
    headers = exchange.page.headers if exchange.page else {}
    says = re.search(r"max-?age\s*=|no-(?:store|cache)", headers.get("cache-control", "").lower())
    return "last-modified" in headers and not says and "expires" not in headers


def moment(header: str) -> datetime | None:
    with suppress(ValueError, TypeError, OverflowError):
        found = parsedate_to_datetime(header)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def in_words(seconds: int) -> _:
    for size, one, many in (
        (86_400, _("1 day"), "%(number)s days"),
        (3600, _("1 hour"), "%(number)s hours"),
        (60, _("1 minute"), "%(number)s minutes"),
    ):
        if seconds >= size:
            number = seconds // size
            return one if number == 1 else _(many, number=f"{number:,}")
    return _("%(number)s seconds", number=seconds)


#: What in_words says of several, where translators find it.
TIMES = (_("%(number)s days"), _("%(number)s hours"), _("%(number)s minutes"))
