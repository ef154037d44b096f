"""Links that an answer carries: to vote on it, and to read the passages that it rests on.

Each is signed and expires (settings.LINK_DAYS), and opens nothing but what it was made for.
"""

import base64
import binascii
import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.urls import reverse

from retrieval.exceptions import LinkExpired, LinkInvalid
from retrieval.types import Hit

Rating = Literal["up", "down"]

# A dot, because clients end a bare address at a colon more often.
_votes = TimestampSigner(salt="plugin.links.vote", sep=".")
_sources = TimestampSigner(salt="plugin.links.source", sep=".")
_LETTERS: dict[Rating, str] = {"up": "u", "down": "d"}
_VOTE = re.compile(r"([A-Za-z0-9_-]{22})([ud])")
_SOURCE = re.compile(r"(\d{1,18})(?:-(\d{1,3})-(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a vote link stands for."""

    query_id: str
    rating: Rating  #: what is chosen already; the voter may change it


@dataclass(frozen=True, slots=True)
class Place:
    """What a source link leads to: a chunk, and how many before and after belong to it."""

    chunk_id: int
    before: int = 0
    after: int = 0


def vote_link(query_id: str, rating: Rating) -> str:
    """The absolute address of a page on which to vote on an answer. Opening it records nothing."""
    return settings.PUBLIC_URL + reverse("vote", args=[vote_token(query_id, rating)])


def source_link(hit: Hit) -> str:
    """Where a passage can be read: its document's own address, or a page of ours."""
    return hit.url or _page_of(source_token(hit))


def passage_link(chunk_id: int, url: str = "") -> str:
    """The same for a chunk whose document has this address, or none."""
    return url or _page_of(_sources.sign(str(chunk_id)))


def _page_of(token: str) -> str:
    # Where what stands before the passage is long, the page begins with the passage.
    return f"{settings.PUBLIC_URL}{reverse('source', args=[token])}#quoted"


def vote_token(query_id: str, rating: Rating) -> str:
    packed = base64.urlsafe_b64encode(uuid.UUID(query_id).bytes).decode().rstrip("=")
    return _votes.sign(packed + _LETTERS[rating])


def source_token(hit: Hit) -> str:
    value = str(hit.chunk_id)
    if len(hit.chunk_ids) > 1:
        place = hit.chunk_ids.index(hit.chunk_id)
        value += f"-{place}-{len(hit.chunk_ids) - 1 - place}"
    return _sources.sign(value)


def read_vote_token(token: str) -> Ballot:
    """Raises LinkInvalid or LinkExpired."""
    match = _VOTE.fullmatch(_unsign(_votes, token))
    if match is None:
        raise _invalid()
    packed, letter = match.groups()
    try:
        query_id = uuid.UUID(bytes=base64.urlsafe_b64decode(f"{packed}=="))
    except (binascii.Error, ValueError) as error:
        raise _invalid() from error
    return Ballot(str(query_id), "up" if letter == "u" else "down")


def read_source_token(token: str) -> Place:
    """Raises LinkInvalid or LinkExpired."""
    match = _SOURCE.fullmatch(_unsign(_sources, token))
    if match is None:
        raise _invalid()
    return Place(*(int(number or 0) for number in match.groups()))


def lifetime() -> timedelta:
    return timedelta(days=settings.LINK_DAYS)


def _unsign(signer: TimestampSigner, token: str) -> str:
    try:
        return signer.unsign(token, max_age=lifetime())
    except SignatureExpired as error:
        raise LinkExpired(f"This link was valid for {settings.LINK_DAYS} days.") from error
    except (BadSignature, ValueError) as error:
        raise _invalid() from error


def _invalid() -> LinkInvalid:
    return LinkInvalid("This link is not one of ours, or a part of it is missing.")
