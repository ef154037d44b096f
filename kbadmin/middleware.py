"""What requests pass through: those of people all of it, those of programs what they need."""

import zoneinfo
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from csp.middleware import CSPMiddleware
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from plugin import turns

if TYPE_CHECKING:
    _Middleware = MiddlewareMixin
else:
    _Middleware = object

#: What programs call with a key of their own, many times a second: no session, no cookie, no
#: language and no page belong to it, and a twentieth of a search went there.
PROGRAMS = frozenset(
    {
        *("/search", "/passage", "/feedback", "/f", "/mcp"),
        *("/nextchat/search", "/nextchat/passage", "/nextchat/feedback"),
        *("/actions/search", "/actions/passage", "/actions/feedback"),
    }
)
PROGRAMS_BELOW = "/v1/"
#: Answered also while everything else has to wait.
UNASKED = frozenset({"/healthz"})
#: Set by static/kbadmin/shell.js to the name of the browser's time zone.
TIMEZONE_COOKIE = "kbadmin_timezone"


@cache
def known_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def browser_timezone(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Tell times in the browser's zone; in settings.TIME_ZONE where it names none that is
    known, or runs no scripts."""

    def middleware(request: HttpRequest) -> HttpResponse:
        name = request.COOKIES.get(TIMEZONE_COOKIE, "")
        # A name is a path to zoneinfo: only those from its own list may reach it.
        if not name or name not in known_zones():
            return get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(name)):
            return get_response(request)

    return middleware


def turn(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Work on a few requests at once, whatever number of threads there is."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info in UNASKED:
            return get_response(request)
        with turns.turn():
            return get_response(request)

    return middleware


class ForPeople(_Middleware):
    """Lets programs pass by a middleware."""

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info in PROGRAMS or request.path_info.startswith(PROGRAMS_BELOW):
            return self.get_response(request)
        return super().__call__(request)


class Csp(ForPeople, CSPMiddleware):
    pass


class Session(ForPeople, SessionMiddleware):
    pass


class Locale(ForPeople, LocaleMiddleware):
    pass


class Authentication(ForPeople, AuthenticationMiddleware):
    pass


class Messages(ForPeople, MessageMiddleware):
    pass
