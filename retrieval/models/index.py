import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

    from retrieval.models.index_report import IndexReport

#: Changes when the chunker would cut the same text, or word it for the model, differently. An
#: index keeps the version that it was built with: a reindex brings the new one.
CHUNKER_VERSION = "2"


def new_physical_name() -> str:
    """A name that no earlier Chroma collection ever had, so a switch is never ambiguous."""
    return f"kb-{uuid.uuid4().hex}"


class IndexQuerySet(models.QuerySet["Index"]):
    def active(self) -> "IndexQuerySet":
        """Those that every change of a document must reach."""
        return self.filter(state__in=[Index.State.LIVE, Index.State.BUILDING, Index.State.READY])

    def complete(self) -> "IndexQuerySet":
        """Those that can be searched."""
        return self.filter(state__in=[Index.State.LIVE, Index.State.READY, Index.State.RETIRED])

    def building(self) -> "IndexQuerySet":
        return self.filter(state=Index.State.BUILDING, collection__deleted_at=None)

    def held_by(self, owner: str) -> "IndexQuerySet":
        return self.filter(lease_owner=owner, state=Index.State.BUILDING)

    def extend_lease(self, owner: str, seconds: float) -> int:
        return self.held_by(owner).update(lease_until=timezone.now() + timedelta(seconds=seconds))

    def release(self) -> int:
        """Let somebody else go on building at once."""
        return self.update(lease_owner="", lease_until=None)


class Index(models.Model):
    """One physical Chroma collection of a Collection, with the settings it was built with."""

    class State(models.TextChoices):
        BUILDING = "building", _("building")
        READY = "ready", _("ready")
        LIVE = "live", _("live")
        RETIRED = "retired", _("retired")
        DAMAGED = "damaged", _("damaged")

    if TYPE_CHECKING:
        reports: RelatedManager[IndexReport]

    collection = models.ForeignKey(
        "retrieval.Collection", models.CASCADE, related_name="indexes", verbose_name=_("collection")
    )
    physical_name = models.CharField(
        _("name in Chroma"), max_length=100, unique=True, default=new_physical_name, editable=False
    )
    embedding_model = models.ForeignKey(
        "retrieval.EmbeddingModel", models.PROTECT, verbose_name=_("embedding model")
    )
    space = models.CharField(_("distance space"), max_length=8)
    ef_construction = models.PositiveIntegerField("ef_construction", default=200)
    ef_search = models.PositiveIntegerField("ef_search", default=100)
    max_neighbors = models.PositiveIntegerField("max_neighbors", default=16)
    chunk_size = models.PositiveIntegerField(_("chunk size"))
    chunk_overlap = models.PositiveIntegerField(_("chunk overlap"))
    chunker_version = models.CharField(
        _("chunker version"), max_length=8, default=CHUNKER_VERSION, editable=False
    )
    state = models.CharField(
        _("state"), max_length=16, choices=State, default=State.BUILDING, db_index=True
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    live_at = models.DateTimeField(_("live at"), null=True, blank=True)
    retired_at = models.DateTimeField(_("retired at"), null=True, blank=True)
    replaces = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("replaces"),
        help_text=_("The index that was live before; a rollback goes back to it."),
    )
    lease_owner = models.CharField(_("built by"), max_length=100, blank=True)
    lease_until = models.DateTimeField(_("built until"), null=True, blank=True)
    progress_done = models.PositiveIntegerField(_("documents done"), default=0)
    progress_total = models.PositiveIntegerField(_("documents in all"), default=0)
    verification = models.JSONField(_("verification"), default=dict, blank=True)
    failure_message = models.TextField(_("failure"), blank=True)
    drift = models.JSONField(
        _("last comparison"),
        default=dict,
        blank=True,
        help_text=_("Counts of what differed from the rows."),
    )
    checked_at = models.DateTimeField(_("checked at"), null=True, blank=True)

    objects = IndexQuerySet.as_manager()

    class Meta:
        verbose_name = _("index")
        verbose_name_plural = _("indexes")
        constraints = [
            models.UniqueConstraint(
                fields=["collection"],
                condition=models.Q(state="live"),
                name="one_live_index_per_collection",
            )
        ]

    def __str__(self) -> str:
        return self.physical_name

    @property
    def chunking(self) -> str:
        """Which cut of a text this index holds.

        Indexes that differ only in space or HNSW parameters share their chunks; the model is
        part of it because sizes are counted in its tokens.
        """
        return (
            f"v{self.chunker_version}-m{self.embedding_model_id}"
            f"-{self.chunk_size}-{self.chunk_overlap}"
        )

    @property
    def scope(self) -> str:
        """The part of the lexical index that holds its chunks: letters and digits only."""
        return f"c{self.collection_id}x" + "".join(filter(str.isalnum, self.chunking))

    @property
    def settings(self) -> dict[str, object]:
        """What an index beside this one inherits unless it is told otherwise."""
        return {
            "embedding_model": self.embedding_model,
            "space": self.space,
            "ef_construction": self.ef_construction,
            "ef_search": self.ef_search,
            "max_neighbors": self.max_neighbors,
            "chunk_size": self.chunk_size,
            "chunk_overlap": self.chunk_overlap,
        }
