"""How often one caller may vote: what costs a row each is bounded, whoever sends it.

The rate is kept by the generic cell rate algorithm (ITU-T I.371): one time per caller, which each
vote moves on by its share of the period. As many votes as the rate names are taken at once; each
further one when its share has passed.
"""

import math
import time
from hashlib import blake2b

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Greatest
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from plugin.models import VoteRate
from retrieval.exceptions import TooManyVotes
from retrieval.models import ApiKey

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MICROSECONDS = 1_000_000
#: In the place of a key, where none is asked for.
NO_KEY = "link"


def take(caller: str, rate: str) -> float:
    """Use up one vote of a caller's rate; returns the seconds to wait where none is free.

    It holds over all threads, processes and machines: what is left is compared and taken by one
    statement. `rate` is as in KBADMIN_FEEDBACK_RATE; one that is refused costs a read.
    """
    number, _, unit = rate.partition("/")
    period = SECONDS[unit[0]] * MICROSECONDS
    share = max(period // int(number), 1)
    key = blake2b(f"{rate} {caller}".encode(), digest_size=16).hexdigest()
    while True:
        now = time.time_ns() // 1000
        row, is_new = VoteRate.objects.get_or_create(pk=key, defaults={"used_until": now + share})
        if is_new:
            VoteRate.objects.filter(used_until__lt=now).delete()
            return 0.0
        # It only ever grows: what is too much by an old value is too much by the newest.
        latest = now + period - share
        if row.used_until > latest:
            return (row.used_until - latest) / MICROSECONDS
        free = VoteRate.objects.filter(pk=key, used_until__lte=latest)
        if free.update(used_until=Greatest(F("used_until"), now) + share):
            return 0.0
        # Another one took it, or the row was over and deleted: look again.


def address_of(request: HttpRequest | Request) -> str:
    """Where a request came from, as far as those who say so are trusted (NUM_PROXIES)."""
    return BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # what it reads both kinds have


def check_rate(address: str, key: ApiKey | None = None) -> None:
    """Count a vote of a key and address. Raises TooManyVotes.

    The name of the voter is none of it: whoever has the key could make up any number of them.
    """
    if not settings.FEEDBACK_RATE:
        return
    wait = take(f"{key.prefix if key else NO_KEY} {address}", settings.FEEDBACK_RATE)
    if wait:
        seconds = math.ceil(wait)
        raise TooManyVotes(
            f"Too many votes came from here ({settings.FEEDBACK_RATE}). Try again in {seconds} s.",
            retry_after=seconds,
        )


class RatedView(APIView):
    """A view of votes."""

    def check_throttles(self, request: Request) -> None:
        key = request.auth if isinstance(request.auth, ApiKey) else None
        check_rate(address_of(request), key)
