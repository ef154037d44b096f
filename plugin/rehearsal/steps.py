"""A step of a rehearsal: one request, and what has to be true of its answer."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from django.utils.translation import gettext as _

#: Seconds that one request may take: as long as a chat program's proxy waits.
TIMEOUT = 45.0
#: Bytes of an answer that are looked at.
MOST = 4 * 1024 * 1024
#: Characters of somebody else's words that are shown.
WORDS = 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a client would be told of this installation."""

    base: str  #: the address that browsers use, without a slash at the end
    server: str  #: the address that chat servers use
    key: str  #: an API key in the clear; empty where none is asked for
    collection: str  #: slug, which is also the name of its model
    origin: str  #: of the page that NextChat is, as its browsers send it
    question: str  #: that the collection can answer

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


@dataclass(frozen=True, slots=True)
class Step:
    """What was tried and what came of it."""

    title: str
    request: str  #: method and address
    is_good: bool
    milliseconds: int
    told: str  #: what was found, or what went wrong and what mends it


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: httpx.Headers
    content: bytes
    first: int  #: milliseconds until its first bytes

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")


class Wrong(Exception):
    """The answer is not what the client needs; the message says what mends it."""


class Stopped(Exception):
    """A step failed, and those that come after need it."""


@dataclass(slots=True)
class Rehearsal:
    """Takes one step after the other; the first that fails is the last."""

    facts: Facts
    http: httpx.Client
    steps: list[Step] = field(default_factory=list)

    def take(
        self,
        title: str,
        method: str,
        url: str,
        check: Callable[[Answer], tuple[str, T]],
        *,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> T:
        """Ask and look at the answer; returns what `check` found beside its sentence.

        Raises Stopped if there is no answer, or if `check` raises Wrong.
        """
        began = time.perf_counter()
        found: T | None = None
        try:
            request = self.http.build_request(method, url, headers=headers, json=body)
            told, found = check(send(self.http, request))
            is_good = True
        except Wrong as error:
            told, is_good = str(error), False
        except httpx.TimeoutException:
            told = _("No answer within %(seconds)d seconds.") % {"seconds": TIMEOUT}
            is_good = False
        except httpx.HTTPError as error:
            is_good = False
            told = _(
                "This address cannot be reached from here (%(reason)s). If the client reaches it "
                "all the same, that is fine; else set KBADMIN_PUBLIC_URL or "
                "KBADMIN_PLUGIN_SERVER_URL."
            ) % {"reason": str(error) or type(error).__name__}
        milliseconds = round((time.perf_counter() - began) * 1000)
        self.steps.append(Step(title, f"{method} {url}", is_good, milliseconds, told))
        if not is_good:
            raise Stopped
        return found  # type: ignore[return-value]  # of a good step it is what `check` found

    def conclude(self, title: str, told: str, *, is_good: bool) -> None:
        """A step that needs no request of its own."""
        self.steps.append(Step(title, "", is_good, 0, told))
        if not is_good:
            raise Stopped


def send(http: httpx.Client, request: httpx.Request) -> Answer:
    """Raises Wrong for an answer that is too large, and httpx.HTTPError for none."""
    began = time.perf_counter()
    response = http.send(request, stream=True)
    try:
        first, content = 0, b""
        for part in response.iter_bytes():
            first = first or round((time.perf_counter() - began) * 1000)
            content += part
            if len(content) > MOST:
                raise Wrong(_("The answer is larger than %(most)d MB.") % {"most": MOST >> 20})
    finally:
        response.close()
    return Answer(response.status_code, response.headers, content, first)


# --- What may be wrong with an answer ---------------------------------------------------------


def expect(answer: Answer, *statuses: int) -> None:
    """Raises Wrong for another status, with what the answer says of it."""
    if answer.status in statuses:
        return
    raise Wrong(
        _("Answered %(status)d instead of %(wanted)s: %(words)s")
        % {
            "status": answer.status,
            "wanted": " / ".join(map(str, statuses)),
            "words": words_of(answer),
        }
    )


def words_of(answer: Answer) -> str:
    return " ".join(answer.text.split())[:WORDS] or _("nothing")


def as_json(answer: Answer) -> Any:
    """Raises Wrong for what is not JSON."""
    try:
        return json.loads(answer.content)
    except ValueError:
        raise Wrong(_("The answer is not JSON: %(words)s") % {"words": words_of(answer)}) from None


def expect_cors(answer: Answer, origin: str) -> None:
    """Raises Wrong where a browser on a page of `origin` would not hand the answer on."""
    allowed = answer.headers.get("access-control-allow-origin", "")
    if allowed not in {"*", origin}:
        raise Wrong(
            _(
                "A browser at %(origin)s may not read this (CORS). Set "
                "KBADMIN_CORS_ORIGINS=%(origin)s and start again."
            )
            % {"origin": origin}
        )
