"""What every request to the admin passes through."""

import zoneinfo
from collections.abc import Callable
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

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
