"""How often one caller may vote: what costs a row each is bounded, whoever sends it."""

import math
from typing import Any, NoReturn

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from retrieval.exceptions import TooManyVotes
from retrieval.models import ApiKey


class FeedbackThrottle(SimpleRateThrottle):
    """So many votes per key and address in a sliding window, over all web processes.

    The name of the voter is none of it: whoever has the key could make up any number of them.
    """

    scope = "feedback"

    @property
    def cache(self) -> BaseCache:  # type: ignore[override]
        return caches["shared"]

    def get_rate(self) -> str | None:
        return settings.FEEDBACK_RATE or None

    def get_cache_key(self, request: Any, view: Any) -> str:
        key = getattr(request, "auth", None)
        name = key.prefix if isinstance(key, ApiKey) else "link"
        return f"{self.scope}:{name}:{self.get_ident(request)}"

    def wait(self) -> float:
        """Seconds until the oldest vote of the window no longer counts."""
        _number, window = self.parse_rate(self.rate)
        oldest = self.history[-1] if self.history else self.now
        return max((window or 0) - (self.now - oldest), 1.0)


class RatedView(APIView):
    """A view of votes: it refuses with our own sentence."""

    throttle_classes = (FeedbackThrottle,)

    def throttled(self, request: Request, wait: float) -> NoReturn:
        raise refusal(wait)


def check_rate(request: HttpRequest) -> None:
    """The same for a page that is no view of DRF's. Raises TooManyVotes."""
    throttle = FeedbackThrottle()
    if not throttle.allow_request(request, None):  # type: ignore[arg-type]
        raise refusal(throttle.wait())


def refusal(wait: float) -> TooManyVotes:
    seconds = math.ceil(wait)
    return TooManyVotes(
        f"Too many votes came from here ({settings.FEEDBACK_RATE}). Try again in {seconds} s.",
        retry_after=seconds,
    )
