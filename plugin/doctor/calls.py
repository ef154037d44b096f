"""A real call of the search operation, signed as the manifest says."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.utils import timezone

from plugin.authentication import CHECK_KEY
from plugin.doctor.almost_json import shown
from plugin.doctor.exchanges import TOO_LARGE, Exchange
from plugin.doctor.registry import RULES
from plugin.doctor.rules.levels import (
    CHATGPT,
    ERROR,
    GPT_ACTIONS,
    MCP,
    NEXTCHAT,
    WARNING,
    callers,
)
from plugin.doctor.samples import Call, search_call
from plugin.doctor.subject import Subject, at, host_of, is_private, root_domain
from plugin.doctor.types import Finding
from retrieval.models import ApiKey
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

if TYPE_CHECKING:
    from plugin.doctor.probes import Prober

#: Seconds after which clients give a call up, and after which people do.
TIMEOUT, SLOW = 45.0, 10.0
#: Characters of an answer that GPT Actions take.
LONGEST = 100_000
QUOTED = 200
KEY_NAME = "Plugin doctor, one check"
#: How long the key of a check that was killed can be left behind.
KEY_LEFT = timedelta(minutes=10)


@contextmanager
def own_key() -> Iterator[str]:
    """A key for our own plugin that nobody has seen and that is gone when the check is over."""
    of_checks = ApiKey.objects.filter(name=KEY_NAME, prefix=CHECK_KEY[:8])
    of_checks.filter(created_at__lt=timezone.now() - KEY_LEFT).delete()
    row, key = ApiKey.issue(KEY_NAME, CHECK_KEY + ApiKey.generate())
    try:
        yield key
    finally:
        row.delete()


@dataclass(frozen=True, slots=True)
class Signature:
    """How a call says who asks."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    secrets: tuple[str, ...]


UNSIGNED = Signature({}, {}, ())


def scheme_of(subject: Subject) -> dict[str, Any]:
    """How calls are signed, as an OpenAPI security scheme; {} where they are not."""
    kind = subject.auth.get("type")
    if kind == "none":
        return {}
    if isinstance(kind, str) and kind:
        basic = subject.auth.get("authorization_type") == "basic"
        return {"type": "http", "scheme": "basic" if basic else "bearer"}
    security = subject.spec.get("security")
    first = security[0] if isinstance(security, list) and security else {}
    schemes = at(subject.spec, "/components/securitySchemes")
    for name in first if isinstance(first, dict) else ():
        found = schemes.get(name) if isinstance(schemes, dict) else None
        if isinstance(found, dict):
            return found
    return {}


def signature(scheme: Mapping[str, Any], token: str) -> Signature:
    """How a token is sent by a security scheme: as Bearer where the scheme says nothing else."""
    kind = scheme.get("type")
    if kind == "apiKey" and isinstance(scheme.get("name"), str):
        if scheme.get("in") == "query":
            return Signature({}, {scheme["name"]: token}, (token,))
        if scheme.get("in") == "header":
            return Signature({scheme["name"]: token}, {}, (token,))
    if kind == "http" and str(scheme.get("scheme", "")).lower() == "basic":
        packed = base64.b64encode(token.encode()).decode() if ":" in token else token
        return Signature({"Authorization": f"Basic {packed}"}, {}, (token, packed))
    return Signature({"Authorization": f"Bearer {token}"}, {}, (token,))


def call(prober: "Prober", subject: Subject) -> Iterator[Finding]:
    """Ask the search operation as a client would, where one is clearly that."""
    found = search_call(subject)
    if found is None:
        return
    signed = UNSIGNED
    if scheme := scheme_of(subject):
        if not prober.token:
            return  # a person did not give one, and a refusal without it says nothing
        # The key of a check of our own is worth nothing to anybody, and our address for chat
        # servers can be one inside their network.
        is_lasting = not prober.token.startswith(CHECK_KEY)
        if is_lasting and (reason := keeps_key(subject, found.url)):
            yield RULES["KB719"].finding(subject, found.pointer, reason)
            return
        signed = signature(scheme, prober.token)
    url = found.url
    if signed.query:
        url += ("&" if "?" in url else "?") + urlencode(signed.query)
    answer = prober.asker.ask(
        "call",
        url,
        method=found.method,
        headers={"Accept": "application/json", **found.headers, **signed.headers},
        body=found.body,
        follow=False,
        timeout=TIMEOUT,
        secrets=signed.secrets,
    )
    yield from judge(subject, found, answer)


def keeps_key(subject: Subject, url: str) -> _ | None:
    """Why a key is not sent there: a document must not have it carried off to somebody else."""
    host = host_of(url)
    if not url.startswith("https://") and not is_private(host):
        return _("%(host)s is asked without TLS, where everybody on the way reads it.", host=host)
    readings = (subject.manifest, subject.openapi)
    homes = {host_of(one.address) for one in readings if one and host_of(one.address)}
    own = root_domain(host)
    if any(host != home and own != root_domain(home) for home in homes):
        return _(
            "The document comes from %(home)s, and names the server %(host)s of another domain.",
            home=min(homes),
            host=host,
        )
    return None


def judge(subject: Subject, asked: Call, answer: Exchange) -> Iterator[Finding]:
    """What is wrong with the answer to a search that was really sent, signed if it can be."""

    def told(rule: str, message: Sentence, **more: Any) -> Finding:
        return RULES[rule].finding(subject, asked.pointer, message, **more)

    if answer.is_forbidden:
        return  # nobody asked; the rules of servers say what is wrong with the address
    if answer.page is None:
        if answer.error == TOO_LARGE:
            yield told("KB718", answer.error)
        elif answer.seconds >= TIMEOUT - 0.5:
            message = _("No answer came within %(seconds)s seconds.", seconds=f"{TIMEOUT:g}")
            yield told("KB717", message, levels=callers(ERROR))
        else:
            reason = _("%(address)s: %(reason)s", address=answer.url, reason=answer.error)
            yield told("KB713", reason)
        return
    page = answer.page
    text = page.data.decode("utf-8", "replace")
    if not answer.is_good:
        quoted = shown(" ".join(text.split()), QUOTED)
        said = _(
            "A search is answered with %(status)s: %(text)s",
            status=answer.status,
            text=quoted or _("nothing"),
        )
        if answer.status in {401, 403, 407}:
            yield told("KB714", said)
        elif 300 <= answer.status < 400:
            target = page.headers.get("location", "")
            said = _(
                "A search is led on to %(address)s (%(status)s).",
                address=shown(target, QUOTED) or "?",
                status=answer.status,
            )
            yield told("KB715", said)
        else:
            # What was asked is a guess; that it did not suit is not for certain a fault.
            is_guess = 400 <= answer.status < 500 and answer.status not in {404, 405}
            yield told("KB715", said, levels=callers(WARNING if is_guess else ERROR))
        return
    if answer.seconds > SLOW:
        message = _("A search took %(seconds)s seconds.", seconds=f"{answer.seconds:.1f}")
        yield told("KB717", message)
    if len(text) > LONGEST:
        message = _("The answer to a search has %(number)s characters.", number=f"{len(text):,}")
        yield told("KB718", message)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        kind = page.content_type or _("nothing at all")
        yield told("KB716", _("A search is answered with no JSON, but %(type)s.", type=kind))


def unreachable(subject: Subject, pointer: str, answer: Exchange) -> Iterator[Finding]:
    """That nobody answers where the operations are, found by what was asked first."""
    if answer.page is None and not answer.is_forbidden:
        reason = _("%(address)s: %(reason)s", address=answer.url, reason=answer.error)
        levels = {GPT_ACTIONS: ERROR, CHATGPT: ERROR, NEXTCHAT: ERROR, MCP: ERROR}
        yield RULES["KB713"].finding(subject, pointer, reason, levels=levels)
