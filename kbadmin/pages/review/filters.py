"""Which part of the queue is looked at, as an address says it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from retrieval.feedback.queue import Wanted
from retrieval.models import Collection, ReviewItem

VIEW, CHANGE = "retrieval.view_feedback", "retrieval.change_feedback"
#: What is accepted changes documents.
ACCEPT = (
    VIEW,
    CHANGE,
    "retrieval.add_document",
    "retrieval.change_document",
    "retrieval.change_chunk",
)
LONGEST_TEXT = 200
COLLECTIONS_OFFERED = 200
NAMES = ("q", "collection", "state", "reason", "assignee")


@dataclass(frozen=True, slots=True)
class Choice:
    """One select of the form."""

    name: str
    title: str
    value: str
    options: list[tuple[str, str]]
    empty: str


def given(values: QueryDict) -> dict[str, str]:
    """What an address asks for; what is empty is left out, so that it stays short."""
    found = {name: values.get(name, "").strip()[:LONGEST_TEXT] for name in NAMES}
    return {name: value for name, value in found.items() if value}


def query(values: QueryDict, **more: Any) -> str:
    """The same as the end of an address, with its question mark."""
    every = {**given(values), **{name: value for name, value in more.items() if value}}
    return f"?{urlencode(every)}" if every else ""


def wanted(request: HttpRequest) -> Wanted:
    """Values that nobody offers choose nothing rather than everything."""
    asked = given(request.GET)
    collection = asked.get("collection", "")
    return Wanted(
        collection=(int(collection) if is_key(collection) else -1) if collection else None,
        state=asked.get("state", ""),
        assignee=(request.user.pk or 0) if asked.get("assignee") == "me" else None,
        reason=asked.get("reason", ""),
        text=asked.get("q", "").replace("\0", ""),
    )


def is_key(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def choices(request: HttpRequest) -> list[Choice]:
    asked = given(request.GET)
    collections = Collection.objects.alive().order_by("title", "pk")
    offered = collections.values_list("pk", "title")[:COLLECTIONS_OFFERED]
    return [
        Choice(
            "collection",
            _("Collection"),
            asked.get("collection", ""),
            [(str(pk), title) for pk, title in offered],
            _("any"),
        ),
        Choice(
            "state",
            _("State"),
            asked.get("state", ""),
            # What was merged is found as what it was put into.
            [(state.value, str(state.label)) for state in ReviewItem.State if state != "merged"],
            _("to review"),
        ),
        Choice(
            "reason",
            _("Reason"),
            asked.get("reason", ""),
            reasons(),
            _("any"),
        ),
        Choice(
            "assignee",
            _("Assigned to"),
            asked.get("assignee", ""),
            [("me", _("me"))],
            _("anybody"),
        ),
    ]


def reasons() -> list[tuple[str, str]]:
    return [(value, str(label)) for value, label in ReviewItem.Reason.choices]
