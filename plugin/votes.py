"""A vote as every channel sends it, and who sent it."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac

from retrieval.feedback import Vote, record
from retrieval.models import ApiKey, Feedback

RATINGS = {"up": 1, "down": -1}
#: Where no key is asked for.
ANONYMOUS = "anonymous"


def cast(wanted: Mapping[str, Any], *, voter: str, channel: str) -> tuple[Feedback, bool]:
    """Record what a serializer of votes has checked. Returns and raises what `record` does."""
    return record(
        Vote(
            query_id=str(wanted.get("query_id", "")),
            rating=RATINGS.get(wanted.get("rating", "")),
            comment=wanted.get("comment", ""),
            correction=wanted.get("correction", ""),
            chunk_id=wanted.get("chunk_id"),
            document_id=wanted.get("document_id"),
            question=wanted.get("question", ""),
            answer=wanted.get("answer", ""),
            collection=wanted.get("collection") or settings.DEFAULT_COLLECTION,
            voter=voter,
            channel=channel,
        )
    )


def person(key: Any, named: str = "") -> str:
    """Who asks or votes: the name that the caller gives, within the key that it uses."""
    prefix = key.prefix if isinstance(key, ApiKey) else ANONYMOUS
    return f"{prefix}:{named}" if named else prefix


def pseudonym(name: str) -> str:
    """The same for the same name, which nobody can read out of it: it may be somebody's address."""
    return salted_hmac("kbadmin.person", name.encode(errors="replace")).hexdigest()[:16]
