"""Certificates that will soon be refused. Those that are refused already are told of where
something was asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from plugin.doctor import places
from plugin.doctor.exchanges import Exchange
from plugin.doctor.named import POINTERS
from plugin.doctor.registry import RULES
from plugin.doctor.subject import Subject, host_of
from plugin.doctor.types import Document, Finding
from retrieval.sentences import Sentence as _

if TYPE_CHECKING:
    from plugin.doctor.probes import Prober

SOON = timedelta(days=14)


def certificates(prober: "Prober", subject: Subject) -> Iterator[Finding]:
    """Once for each host, at the place that names it."""
    told = set()
    for exchange in prober.asker.exchanges:
        page = exchange.page
        if page is None or page.tls is None:
            continue
        host, left = host_of(page.url), page.tls.expires - datetime.now(UTC)
        if left >= SOON or host in told:
            continue
        told.add(host)
        document, pointer = place(subject, exchange)
        message = _(
            "The certificate of %(host)s expires in %(days)s days, on %(date)s.",
            host=host,
            days=max(left.days, 0),
            date=page.tls.expires.date().isoformat(),
        )
        yield RULES["KB712"].finding(subject, pointer, message, document=document)


def place(subject: Subject, exchange: Exchange) -> tuple[Document, str]:
    if exchange.what in POINTERS:
        return Document.MANIFEST, POINTERS[exchange.what]
    if exchange.what in {"call", "preflight"}:
        return Document.OPENAPI, "/servers/0/url"
    manifest = subject.manifest
    if manifest is not None and exchange.page and exchange.page.url == manifest.address:
        return Document.MANIFEST, ""
    return places.of_openapi(subject)
