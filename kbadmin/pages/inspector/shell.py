"""What the pages of the inspector share: whose index it is, what Chroma says, the way around."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from numpy import float32, linspace
from numpy.typing import NDArray

from retrieval.admin import index_state
from retrieval.admin.base import badge
from retrieval.exceptions import VectorCollectionMissing, VectorStoreError
from retrieval.inspection import Agreement, agreement, norm
from retrieval.models import Chunk, Collection, Index

if TYPE_CHECKING:
    from retrieval.vector_store import StoredRecord

TABS = (
    ("inspector", gettext_lazy("Records")),
    ("inspector_differences", gettext_lazy("Differences")),
    ("inspector_quality", gettext_lazy("Quality")),
    ("inspector_map", gettext_lazy("Map")),
)
PERMISSIONS = ("retrieval.view_collection", "retrieval.view_chunk")
#: What stands in a badge, and in which tone.
WORDS = {
    Agreement.UNKNOWN: ("", gettext_lazy("not compared")),
    Agreement.SAME: ("live", gettext_lazy("in step")),
    Agreement.MISSING: ("failed", gettext_lazy("missing in Chroma")),
    Agreement.STALE: ("failed", gettext_lazy("stale")),
    Agreement.DISABLED: ("", gettext_lazy("disabled")),
    Agreement.REPLACED: ("", gettext_lazy("not searched any more")),
    Agreement.ORPHANED: ("low", gettext_lazy("orphaned")),
}
#: Numbers of a vector that a small curve shows.
CURVE = 64


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a page is about."""

    collection: Collection
    index: Index
    indexes: Sequence[Index]

    def url(self, page: str, **query: Any) -> str:
        if self.index.pk != self.collection.live_index_id:
            query = {"index": self.index.pk, **query}
        tail = f"?{urlencode(query)}" if query else ""
        return reverse(f"admin:{page}", args=[self.collection.pk]) + tail

    def record_url(self, id: object) -> str:
        return self.url("inspector_record", id=id)


def inspected(request: HttpRequest, pk: int, permission: str = "") -> Inspected:
    """The collection and the index that an address names. Raises PermissionDenied, Http404."""
    wanted = (*PERMISSIONS, permission) if permission else PERMISSIONS
    if not request.user.is_staff or not request.user.has_perms(wanted):
        raise PermissionDenied
    collection = Collection.objects.alive().filter(pk=pk).first()
    if collection is None:
        raise Http404
    indexes = list(
        collection.indexes.select_related("embedding_model").order_by("-created_at")[
            : index_state.INDEXES_SHOWN
        ]
    )
    given = request.POST.get("index") or request.GET.get("index") or ""
    key = int(given) if given.isdecimal() else 0 if given else collection.live_index_id
    index = next((row for row in indexes if row.pk == key), None)
    if index is None:
        index = collection.indexes.select_related("embedding_model").filter(pk=key or 0).first()
    if index is None:
        raise Http404
    # What an index is asked about its collection is known already.
    index.collection = collection
    return Inspected(collection, index, indexes)


def context(request: HttpRequest, about: Inspected, tab: str, **extra: Any) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": about.collection.title,
        # Where they are, above the page.
        "opts": Collection._meta,
        "original": about.collection,
        "collection": about.collection,
        "index": about.index,
        "indexes": about.indexes if len(about.indexes) > 1 else (),
        "is_live": about.index.pk == about.collection.live_index_id,
        "tabs": [(name == tab, label, about.url(name)) for name, label in TABS],
        "here": reverse(f"admin:{tab}", args=[about.collection.pk]),
        "may_change": request.user.has_perm("retrieval.change_collection"),
        **extra,
    }


def fetch(index: Index, ids: Sequence[str]) -> "tuple[dict[str, StoredRecord] | None, str]":
    """Records by id, or None and why Chroma does not tell."""
    if not ids:
        return {}, ""
    try:
        return index_state.impatient_store().fetch(index.physical_name, ids), ""
    except VectorCollectionMissing:
        return {}, ""  # it is made with the first document
    except VectorStoreError:
        return None, away()


def away() -> str:
    return _(
        "Chroma does not answer at %(url)s, so only what the database holds is shown. Searches "
        "are answered from words alone until it is back."
    ) % {"url": settings.CHROMA_URL}


def agreement_badge(state: Agreement) -> str:
    return badge(*WORDS[state])


@dataclass(frozen=True, slots=True)
class Row:
    """A record in a list: what either side holds of it."""

    id: str
    url: str
    chunk: Chunk | None
    record: "StoredRecord | None"
    state: Agreement
    badge: str
    norm: float | None
    curve: str


def listed(
    about: Inspected,
    pairs: Sequence[tuple[str, Chunk | None]],
    records: "dict[str, StoredRecord] | None",
) -> list[Row]:
    """Ids and their chunks, with what Chroma holds under these ids."""
    found = []
    for id_, chunk in pairs:
        record = (records or {}).get(id_)
        state = agreement(chunk, record) if records is not None else Agreement.UNKNOWN
        found.append(
            Row(
                id=id_,
                url=about.record_url(id_),
                chunk=chunk,
                record=record,
                state=state,
                badge=agreement_badge(state),
                norm=norm(record.vector) if record else None,
                curve=curve(record.vector) if record else "",
            )
        )
    return found


def curve(vector: NDArray[float32], points: int = CURVE, height: int = 16) -> str:
    """The numbers of a vector, evenly chosen, as the points of an SVG polyline."""
    places = linspace(0, len(vector) - 1, min(points, len(vector))).astype(int)
    shown = vector[places]
    most = float(abs(shown).max()) or 1.0
    return " ".join(
        f"{x},{height / 2 - float(value) / most * (height / 2 - 1):.1f}"
        for x, value in enumerate(shown)
    )
