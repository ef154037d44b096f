"""One record: what the database says, what Chroma says, and what lies near it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from kbadmin.pages.inspector import shell
from retrieval import inspection
from retrieval.admin import index_state
from retrieval.embeddings import stored_embeddings
from retrieval.exceptions import VectorStoreError
from retrieval.fusion import similarity
from retrieval.inspection import Agreement
from retrieval.models import Chunk, Index
from retrieval.types import is_chunk_id

if TYPE_CHECKING:
    from retrieval.vector_store import StoredRecord

NEIGHBOURS = 10
#: Numbers of a vector that are written out.
FIRST = 12
#: Numbers that a wide curve shows.
WIDE_CURVE = 192
#: Two vectors are the same within single precision and what JSON keeps of it.
SAME_COSINE = 0.9999
QUESTION = 200


@dataclass(frozen=True, slots=True)
class Neighbour:
    chunk: Chunk | None
    id: int
    url: str
    distance: float
    similarity: float


@require_GET
def page(request: HttpRequest, pk: int) -> HttpResponse:
    about = shell.inspected(request, pk)
    id_ = request.GET.get("id", "").strip()[:500]
    chunk = whole_chunk(about.index, id_)
    records, problem = shell.fetch(about.index, [id_] if id_ else [])
    record = (records or {}).get(id_)
    state = inspection.agreement(chunk, record) if records is not None else Agreement.UNKNOWN
    neighbours: list[Neighbour] = []
    if record is not None:
        neighbours, problem = near(about, record)
    question = " ".join(chunk.text.split())[:QUESTION] if chunk else ""
    playground = {"collection": about.collection.slug, "q": question}
    context = shell.context(
        request,
        about,
        "inspector",
        id=id_,
        chunk=chunk,
        record=record,
        state=state,
        state_badge=shell.agreement_badge(state),
        said=said(state, is_known=bool(chunk or record)),
        problem=problem,
        vector=facts(about.index, chunk, record) if record else None,
        neighbours=neighbours,
        playground_url=f"{reverse('admin:playground')}?{urlencode(playground)}",
        may_open_document=request.user.has_perm("retrieval.view_document"),
    )
    known = chunk is not None or record is not None or records is None
    return TemplateResponse(
        request, "kbadmin/inspector/record.html", context, status=200 if known else 404
    )


def whole_chunk(index: Index, id_: str) -> Chunk | None:
    if not is_chunk_id(id_):
        return None
    chunk = (
        Chunk.objects.filter(pk=int(id_))
        .select_related("document", "revision")
        .defer("revision__text", "revision__metadata")
        .first()
    )
    if chunk is None or chunk.chunking != index.chunking:
        return None
    return chunk if chunk.document.collection_id == index.collection_id else None


def said(state: Agreement, is_known: bool) -> str:
    """What a state means, and what to do about it."""
    if not is_known:
        return ""
    return {
        Agreement.UNKNOWN: "",
        Agreement.SAME: _("Chroma holds the vector of exactly this text."),
        Agreement.MISSING: _(
            "Search cannot find it by meaning until the index is repaired; by words it can."
        ),
        Agreement.STALE: _("Chroma holds the vector of another text; a repair replaces it."),
        Agreement.DISABLED: _("Somebody switched it off: no search returns it."),
        Agreement.REPLACED: _(
            "It belongs to a version or a document that is not searched; the worker cleans it up."
        ),
        Agreement.ORPHANED: _(
            "No chunk of this index stands behind it, so no search returns it; a repair deletes it."
        ),
    }[state]


def near(about: shell.Inspected, record: "StoredRecord") -> tuple[list[Neighbour], str]:
    """The records nearest to this one, in the index's own distance."""
    if not np.isfinite(record.vector).all():
        return [], ""
    index = about.index
    try:
        found = index_state.impatient_store().query(
            index.physical_name, record.vector, NEIGHBOURS + 1
        )
    except VectorStoreError as error:
        return [], error.message
    others = [hit for hit in found if str(hit.chunk_id) != record.id][:NEIGHBOURS]
    chunks = {row.pk: row for row in inspection.by_ids(index, [hit.chunk_id for hit in others])}
    return [
        Neighbour(
            chunk=chunks.get(hit.chunk_id),
            id=hit.chunk_id,
            url=about.record_url(hit.chunk_id),
            distance=hit.distance,
            similarity=similarity(hit.distance, index.space),
        )
        for hit in others
    ], ""


def facts(index: Index, chunk: Chunk | None, record: "StoredRecord") -> dict[str, Any]:
    vector = record.vector
    own = None
    if chunk is not None:
        own = stored_embeddings(index.embedding_model_id, [chunk.text_hash]).get(chunk.text_hash)
    cosine = None
    if own is not None and own.shape == vector.shape:
        lengths = float(np.linalg.norm(own) * np.linalg.norm(vector))
        cosine = float(own @ vector) / lengths if lengths else 0.0
    return {
        "dimension": len(vector),
        "norm": inspection.norm(vector),
        "least": float(vector.min()),
        "most": float(vector.max()),
        "first": [f"{value:+.4f}" for value in vector[:FIRST].tolist()],
        "curve": shell.curve(vector, WIDE_CURVE, 64),
        "curve_width": min(WIDE_CURVE, len(vector)) - 1,
        "is_compared": cosine is not None,
        "cosine": cosine,
        "is_own": cosine is not None and cosine >= SAME_COSINE,
    }
