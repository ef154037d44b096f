"""The logo and the legal page that a manifest names."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from plugin.doctor.almost_json import shown
from plugin.doctor.exchanges import Exchange
from plugin.doctor.pictures import SVG, Picture, Undecodable, decode
from plugin.doctor.registry import RULES
from plugin.doctor.rules.levels import CHATGPT, ERROR, WARNING
from plugin.doctor.subject import Subject, host_of, is_absolute, is_private
from plugin.doctor.types import Finding
from retrieval.sentences import Sentence as _
from retrieval.sentences import listed

if TYPE_CHECKING:
    from plugin.doctor.probes import Prober

SMALLEST_LOGO, LARGEST_LOGO = 128, 500_000
POINTERS = {"logo": "/logo_url", "legal": "/legal_info_url"}


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


def logo(prober: "Prober", subject: Subject) -> Iterator[Finding]:
    """Ask for the logo, and for the right case of its address where that one is no picture."""
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
            yield wrong_case(subject, right, error.message)
        else:
            said = _("%(address)s: %(reason)s", address=url, reason=error.message)
            yield RULES["KB702"].finding(subject, "/logo_url", said)
        return
    prober.logo = picture.shown
    if answer.page.redirects:
        message = _("The logo's address leads on to %(address)s.", address=answer.page.url)
        yield RULES["KB705"].finding(subject, "/logo_url", message)
    yield from of_picture(subject, answer, picture)


def of_picture(subject: Subject, answer: Exchange, picture: Picture) -> Iterator[Finding]:
    """How a picture that could be read is served, and whether it does as a logo."""
    page = answer.page
    assert page is not None  # noqa: S101 - it was decoded
    kind, nosniff = page.content_type, "nosniff" in page.headers.get("x-content-type-options", "")
    same = {picture.content_type, "image/vnd.microsoft.icon" if picture.format == "ICO" else ""}
    if kind not in same:
        hidden = not kind.startswith("image/") and (nosniff or picture.content_type == SVG)
        served = {"format": picture.format, "type": shown(kind, 100) or _("nothing at all")}
        message = _("It is a %(format)s, served as %(type)s.", **served)
        if hidden:
            message = _(
                "It is a %(format)s, served as %(type)s: browsers do not show it.", **served
            )
        levels = {CHATGPT: ERROR if hidden else WARNING}
        yield RULES["KB703"].finding(subject, "/logo_url", message, levels=levels)
    faults = []
    size = {"width": picture.width, "height": picture.height}
    if picture.format in {"SVG", "BMP", "ICO"}:
        faults.append(_("it is a %(format)s", format=picture.format))
    elif picture.width != picture.height:
        faults.append(_("it is not square (%(width)s × %(height)s pixels)", **size))
    elif picture.width < SMALLEST_LOGO:
        faults.append(_("it is small (%(width)s × %(height)s pixels)", **size))
    if len(page.data) > LARGEST_LOGO:
        faults.append(_("it has %(number)s bytes", number=f"{len(page.data):,}"))
    if faults:
        message = _("The logo could be better: %(faults)s.", faults=listed(faults))
        yield RULES["KB704"].finding(subject, "/logo_url", message)


def is_picture(answer: Exchange) -> bool:
    try:
        decode(answer.page.data if answer.page else b"")
    except Undecodable:
        return False
    return True


def missing(prober: "Prober", subject: Subject, what: str, answer: Exchange) -> Iterator[Finding]:
    """Why the logo or the legal page is not there, and where it is if only the case differs."""
    is_inside = is_private(host_of(answer.url)) and not prober.asker.is_allowed(answer.url)
    if answer.is_forbidden and is_inside:
        return  # nobody asked; the rules of addresses say what is wrong with it
    is_right = is_picture if what == "logo" else (lambda _answer: True)
    right = None
    if answer.status in {403, 404, 410}:
        right = prober.right_case(what, answer.url, is_right)
    if what == "logo":
        prober.logo_was_asked = answer.status > 0
        if right is not None and right.page is not None:
            prober.logo = decode(right.page.data).shown
            yield wrong_case(subject, right, answer.failure)
            return
    said = {"address": answer.url, "reason": answer.failure}
    message = _("%(address)s: %(reason)s", **said)
    more: dict[str, Any] = {}
    if right is not None:
        message = _(
            "%(address)s: %(reason)s Only the case of its letters is wrong: %(right)s answers.",
            **said,
            right=right.url,
        )
        more = {"fix": _("Write %(address)s", address=right.url), "value": right.url}
    levels = {CHATGPT: ERROR if what == "logo" else WARNING}
    yield RULES["KB701"].finding(subject, POINTERS[what], message, levels=levels, **more)


def wrong_case(subject: Subject, right: Exchange, failure: str) -> Finding:
    return RULES["KB101"].finding(
        subject,
        "/logo_url",
        _(
            "Only the case of the logo's letters is wrong: %(right)s is a picture. (%(failure)s)",
            right=right.url,
            failure=failure,
        ),
        levels={CHATGPT: ERROR},
        fix=_("Write %(address)s", address=right.url),
        value=right.url,
    )


def legal(prober: "Prober", subject: Subject) -> Iterator[Finding]:
    """Ask for the legal page: whether there is text, and where it leads."""
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
        message = _("The legal page is empty.")
        if page.data.strip():
            kind = shown(page.content_type, 100) or _("something without a content type")
            message = _("The legal page answers with %(type)s.", type=kind)
        yield RULES["KB711"].finding(subject, "/legal_info_url", message)
    if page.redirects and urlsplit(page.url).hostname != urlsplit(url).hostname:
        message = _("The legal page leads on to %(address)s.", address=page.url)
        yield RULES["KB705"].finding(subject, "/legal_info_url", message)
