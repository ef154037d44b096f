"""CORS as a browser sees it: may a page of another origin read the document, and call?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from plugin.doctor import calls
from plugin.doctor.almost_json import shown
from plugin.doctor.exchanges import Exchange
from plugin.doctor.places import of_openapi
from plugin.doctor.registry import RULES
from plugin.doctor.rules.levels import ADVICE, NEXTCHAT
from plugin.doctor.samples import base_address
from plugin.doctor.served import kept_for
from plugin.doctor.subject import Subject, host_of
from plugin.doctor.types import Finding
from retrieval.sentences import Sentence, listed
from retrieval.sentences import Sentence as _

if TYPE_CHECKING:
    from plugin.doctor.probes import Prober

MOST_STEPS = 5


def document(prober: "Prober", subject: Subject, origin: str) -> Iterator[Finding]:
    """The OpenAPI document as a page of that origin asks for it: a simple GET.

    A browser asks for permission at every step of the way to it.
    """
    reading = subject.openapi
    asked = prober.documents.get(reading.address) if reading is not None else None
    if asked is None:
        return
    url = asked.url
    if is_mixed(origin, url):
        yield told(
            subject,
            _(
                "A page of %(origin)s may not load what is served without TLS (mixed content).",
                origin=origin,
            ),
        )
        return
    for _step in range(MOST_STEPS + 1):
        answer = prober.asker.ask("cors", url, headers={"Origin": origin}, follow=False)
        if answer.page is None:
            return
        if not allows(answer, origin):
            yield told(subject, refusal(answer, origin, is_first=url == asked.url))
            return
        target = answer.page.headers.get("location", "")
        if not (300 <= answer.status < 400 and target):
            break
        url = urljoin(url, target)
    if len(prober.origins) > 1 and for_one_only(answer):
        message = _(
            "Copies are kept with the permission of %(origin)s alone: Vary does not name Origin.",
            origin=origin,
        )
        yield told(subject, message, ADVICE)


def told(subject: Subject, message: Sentence, severity: object = None) -> Finding:
    document, pointer = of_openapi(subject)
    levels = {NEXTCHAT: ADVICE} if severity is ADVICE else None
    return RULES["KB709"].finding(subject, pointer, message, document=document, levels=levels)


def is_mixed(origin: str, url: str) -> bool:
    host = host_of(url)
    is_here = host in {"localhost", "127.0.0.1", "::1"} or host.endswith(".localhost")
    return origin.startswith("https://") and url.startswith("http://") and not is_here


def allows(answer: Exchange, origin: str) -> bool:
    found = answer.page.headers.get("access-control-allow-origin", "") if answer.page else ""
    return found.strip() in {"*", origin}


def refusal(answer: Exchange, origin: str, is_first: bool) -> _:
    """Why a page of that origin may not read an answer; `is_first` unless a redirect led there."""
    headers = answer.page.headers if answer.page else {}
    found = headers.get("access-control-allow-origin", "")
    if "," in found:
        why = _(
            "Access-Control-Allow-Origin stands there more than once (%(value)s)",
            value=shown(found, 100),
        )
    elif found:
        why = _("Access-Control-Allow-Origin is %(value)s", value=shown(found, 100))
    else:
        why = _("Access-Control-Allow-Origin is missing")
    if is_first:
        return _("A page of %(origin)s may not read it: %(reason)s.", origin=origin, reason=why)
    return _(
        "A page of %(origin)s may not read it, for on the way, at %(address)s, %(reason)s.",
        origin=origin,
        address=answer.url,
        reason=why,
    )


def for_one_only(answer: Exchange) -> bool:
    """Whether a copy that is kept for one origin may be given to another."""
    headers = answer.page.headers if answer.page else {}
    names = {name.strip().lower() for name in headers.get("vary", "").split(",")}
    is_any = headers.get("access-control-allow-origin", "").strip() == "*"
    return not is_any and not names & {"origin", "*"} and kept_for(answer) > 0


def preflight(prober: "Prober", subject: Subject, origin: str) -> Iterator[Finding]:
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
        if origin == prober.origins[0]:
            yield from calls.unreachable(subject, pointer, answer)
        return
    if reasons := list(stopped_by(answer, origin, needs_key=subject.auth.get("type") != "none")):
        message = _(
            "A page of %(origin)s may not POST to %(address)s: %(reasons)s.",
            origin=origin,
            address=url,
            reasons=listed(reasons),
        )
        yield RULES["KB710"].finding(subject, pointer, message)


def stopped_by(answer: Exchange, origin: str, *, needs_key: bool) -> Iterator[_]:
    """What of the answer to a preflight makes a browser of that origin send no POST of JSON."""
    headers = answer.page.headers if answer.page else {}
    if not answer.is_good:
        yield _("OPTIONS is answered with %(status)s", status=answer.status)
        return
    if not allows(answer, origin):
        yield _("Access-Control-Allow-Origin does not name it")
        return
    allowed = names_of(headers.get("access-control-allow-headers", ""))
    # The star stands for every header but this one.
    if needs_key and "authorization" not in allowed:
        yield _("the header authorization is not allowed")
    if not allowed & {"content-type", "*"}:
        yield _("the header content-type is not allowed")


def names_of(header: str) -> set[str]:
    return {name.strip().lower() for name in header.split(",")}


def first_post(subject: Subject) -> tuple[str, str]:
    """The address of an operation that takes POST, with its pointer; "" without one."""
    base = base_address(subject)
    for operation in subject.operations if base else ():
        if operation.method == "post" and "{" not in operation.path:
            return base + operation.path, operation.pointer
    return "", ""
