"""Live probes: what both documents name is asked for as clients ask for it.

Everything is asked through `retrieval.fetching`, which reaches no address inside this network
that nobody allowed; nothing that comes back is executed or shown as it is.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from django.conf import settings

from plugin.doctor import calls, cors, endpoint, named, served, sources
from plugin.doctor.certificates import certificates
from plugin.doctor.exchanges import Asker, Exchange, other_cases
from plugin.doctor.kept import Kept
from plugin.doctor.rules.levels import CHATGPT, ERROR
from plugin.doctor.sources import OWN, Fetched, Unavailable
from plugin.doctor.subject import Subject
from plugin.doctor.types import Consumer, Finding, Report
from retrieval.sentences import Sentence as _

#: Origins whose pages are asked for.
ORIGINS_ASKED = 20
SAMPLE_ORIGIN = "http://localhost:3000"
ORDER = ("document", "logo", "legal", "call", "mcp", "cors", "preflight")


@dataclass(frozen=True, slots=True)
class Probed:
    report: Report
    exchanges: tuple[Exchange, ...]
    logo: bytes | None  #: a small PNG made of it

    @property
    def kept(self) -> Kept:
        """What is shown of it, now and later."""
        return Kept(self.report, tuple(one.told for one in self.exchanges), self.logo)


def probe_address(
    address: str, consumers: Iterable[Consumer] = tuple(Consumer), token: str = ""
) -> Probed:
    """`token` is what the search is called with, if the plugin wants one; it is kept nowhere.

    Raises Unavailable if the document cannot be had, whose message says why.
    """
    prober = Prober(token)
    report = sources.check(address, consumers=consumers, fetch=prober.fetch, probe=prober.look)
    return prober.done(report)


def probe_own(consumers: Iterable[Consumer] = tuple(Consumer)) -> Probed:
    """Our own documents as the network serves them. Raises Unavailable."""
    with calls.own_key() if settings.PLUGIN_AUTH == "bearer" else nullcontext("") as key:
        address = f"{settings.PUBLIC_URL}/.well-known/ai-plugin.json"
        probed = probe_address(address, consumers, key)
    return replace(probed, report=replace(probed.report, source=OWN))


def probe_document(
    given: Fetched, *, openapi: Fetched | None = None, source: str = "", token: str = ""
) -> Probed:
    """What a document that is at hand names."""
    prober = Prober(token)
    report = sources.check_document(
        given, openapi=openapi, source=source, fetch=prober.fetch, probe=prober.look
    )
    return prober.done(report)


class Prober:
    """Asks for one plugin."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.asker = Asker(sources.allowed_hosts())
        self.origins = (settings.CORS_ALLOWED_ORIGINS or [SAMPLE_ORIGIN])[:ORIGINS_ASKED]
        self.documents: dict[str, Exchange] = {}  #: by their address after redirects
        self.logo: bytes | None = None
        self.logo_was_asked = False

    def done(self, report: Report) -> Probed:
        exchanges = sorted(self.asker.exchanges, key=lambda one: ORDER.index(one.what))
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
                reason = _(
                    "%(reason)s Only the case of its letters is wrong: %(right)s answers.",
                    reason=reason,
                    right=right.url,
                )
            raise Unavailable(_("%(address)s: %(reason)s", address=address, reason=reason))
        self.documents[exchange.page.url] = exchange
        return Fetched(exchange.page.data, exchange.page.url)

    def right_case(
        self, what: str, url: str, is_right: Callable[[Exchange], bool] = lambda _answer: True
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
            # First, for it may take longest.
            lambda: calls.call(self, subject),
            lambda: endpoint.own(self, subject),
            lambda: served.documents(self, subject),
            lambda: named.logo(self, subject),
            lambda: named.legal(self, subject),
        ]
        for origin in self.origins:
            jobs.append(partial(cors.document, self, subject, origin))
            jobs.append(partial(cors.preflight, self, subject, origin))
        with ThreadPoolExecutor(max_workers=6, thread_name_prefix="probe") as pool:
            found = [one for part in pool.map(lambda job: list(job()), jobs) for one in part]
        return [*found, *certificates(self, subject)]
