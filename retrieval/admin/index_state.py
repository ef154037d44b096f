"""What is known about a collection's indexes, as its page shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from retrieval.admin import trial_state
from retrieval.admin.base import badge
from retrieval.disk_usage import disk_usage
from retrieval.exceptions import VectorCollectionMissing, VectorStoreError
from retrieval.models import Chunk, Collection, EmbeddingModel, Index, IndexReport

if TYPE_CHECKING:
    from retrieval.vector_store import VectorStore

#: Seconds that a page waits for Chroma.
PATIENCE = 1.0
#: Chunks are counted no further: a page must not count a whole table.
CHUNKS_COUNTED = 50_000
INDEXES_SHOWN = 20


@cache
def impatient_store() -> "VectorStore":
    from retrieval.vector_store import VectorStore

    return VectorStore(settings.CHROMA_URL, timeout=PATIENCE, token=settings.CHROMA_TOKEN)


@dataclass(frozen=True, slots=True)
class Counts:
    chunks: int  #: live ones in the database
    capped: bool
    records: int | None  #: in Chroma; None if it does not say
    problem: str

    @property
    def too_few(self) -> bool:
        """More is no fault: Chroma also holds what is switched off or not cleaned up yet."""
        return self.records is not None and self.records < self.chunks


def is_local() -> bool:
    """Whether Chroma's files may be those in our own data folder."""
    return urlsplit(settings.CHROMA_URL).hostname in {"127.0.0.1", "::1", "localhost"}


def count(index: Index, ask: bool = True) -> Counts:
    """Both stores' counts; `ask` is False where Chroma is known to be away."""
    rows = Chunk.objects.live().filter(
        document__collection=index.collection_id, chunking=index.chunking
    )
    chunks = rows.order_by()[:CHUNKS_COUNTED].count()
    records, problem = None, ""
    if not ask:
        return Counts(chunks, chunks == CHUNKS_COUNTED, None, _("Chroma does not answer"))
    try:
        records = impatient_store().count(index.physical_name)
    except VectorCollectionMissing:
        # It is made with the first document.
        records = 0
    except VectorStoreError:
        problem = _("Chroma does not answer")
    return Counts(chunks, chunks == CHUNKS_COUNTED, records, problem)


def differences(index: Index) -> dict[str, int]:
    drift = index.drift if isinstance(index.drift, dict) else {}
    return {name: int(drift.get(name) or 0) for name in ("missing", "stale", "orphaned")}


def is_found_to_differ(index: Index) -> bool:
    """Whether a comparison that repaired nothing found differences since the last repair."""
    reports = index.reports.filter(kind=IndexReport.Kind.DIFFERENCES, made_at__isnull=False)
    if index.checked_at is not None:
        reports = reports.filter(made_at__gt=index.checked_at)
    counts = reports.values_list("data__counts", flat=True).first() or {}
    return any(counts.get(name) for name in ("missing", "stale", "orphaned"))


def step_badge(index: Index, counts: Counts) -> SafeString:
    """Whether Chroma and the database say the same, as far as is known."""
    if index.state == Index.State.DAMAGED:
        return badge("damaged", _("damaged"))
    if counts.too_few or is_found_to_differ(index):
        return badge("failed", _("differs"))
    if index.checked_at is None:
        return badge("low", _("never compared"))
    if any(differences(index).values()):
        return badge("low", _("differed, repaired"))
    return badge("live", _("in step"))


def verification(index: Index) -> str:
    """What was checked before the switch, in words."""
    found = index.verification if isinstance(index.verification, dict) else {}
    if not {"expected", "found", "sampled", "self_found"} <= found.keys():
        return ""
    return (
        _(
            "It held %(found)s of %(expected)s chunks, and of %(sampled)s that were looked up "
            "%(self_found)s found themselves."
        )
        % found
    )


def facts(collection: Collection) -> dict[str, Any]:
    """Context of the box, in a fixed number of bounded queries and one question to Chroma."""
    rows = list(
        collection.indexes.select_related("embedding_model").order_by("-created_at")[:INDEXES_SHOWN]
    )
    live = next((row for row in rows if row.pk == collection.live_index_id), None)
    if live is None and collection.live_index_id:
        live = Index.objects.select_related("embedding_model").get(pk=collection.live_index_id)
    building = [row for row in rows if row.state == Index.State.BUILDING]
    others = [row for row in rows if row != live and row not in building]
    counts = count(live) if live else None
    trial = trial_state.of(collection)
    usage = disk_usage(settings.CHROMA_DIR, live.physical_name) if live and is_local() else None
    return {
        "usage": usage,
        "collection": collection,
        "live": live,
        "counts": counts,
        "step_badge": step_badge(live, counts) if live and counts else "",
        "drift": differences(live) if live else {},
        "verification": verification(live) if live else "",
        "building": building,
        "others": others,
        "previous": live.replaces_id if live and not building else None,
        "trial": trial,
        "back": "collection",
        "reindex_form": (
            ReindexForm(initial=initial(live)) if live and not (building or trial) else None
        ),
    }


def prefill(facts: dict[str, Any], given: Mapping[str, str]) -> None:
    """Put the sizes that an address carries into the form, and open it."""
    form = facts.get("reindex_form")
    sizes = {
        name: int(value)
        for name in ("chunk_size", "chunk_overlap")
        if (value := given.get(name, "")).isdecimal()
    }
    if form is not None and sizes:
        form.initial |= sizes
        facts["reindex_open"] = True


def initial(index: Index) -> dict[str, Any]:
    return {**index.settings, "embedding_model": index.embedding_model_id}


def number(label: Any, least: int, most: int, help_text: Any = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        help_text=help_text,
        validators=[MinValueValidator(least), MaxValueValidator(most)],
        widget=forms.NumberInput(attrs={"min": least, "max": most, "required": True}),
    )


class ModelChoice(forms.ModelChoiceField[EmbeddingModel]):
    def label_from_instance(self, obj: EmbeddingModel) -> str:
        return f"{obj.name} · {obj.get_runtime_display()} · {obj.dimension}"


class ReindexForm(forms.Form):
    """The settings of the index that is built beside the live one."""

    embedding_model = ModelChoice(
        EmbeddingModel.objects.none(), label=gettext_lazy("Embedding model"), empty_label=None
    )
    space = forms.ChoiceField(
        label=gettext_lazy("Distance space"), choices=Collection.Space.choices
    )
    chunk_size = number(gettext_lazy("Chunk size"), 16, 8192, gettext_lazy("tokens"))
    chunk_overlap = number(gettext_lazy("Chunk overlap"), 0, 4096, gettext_lazy("tokens"))
    ef_construction = number("ef_construction", 10, 2000, gettext_lazy("care while building"))
    ef_search = number("ef_search", 10, 2000, gettext_lazy("care while searching"))
    max_neighbors = number("max_neighbors", 2, 512, gettext_lazy("connections of a vector"))

    prefix = "reindex"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["embedding_model"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  # for mypy
        field.queryset = EmbeddingModel.objects.order_by("-created_at")
