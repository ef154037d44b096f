from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _


class ChunkQuerySet(models.QuerySet["Chunk"]):
    def live(self) -> "ChunkQuerySet":
        """What search may return, whatever Chroma or the lexical index still hold (law 2)."""
        return self.filter(
            enabled=True,
            revision=F("document__live_revision"),
            document__deleted_at=None,
            document__collection__deleted_at=None,
        )


class Chunk(models.Model):
    """A slice of a revision's text. Its primary key is its id in Chroma.

    The row outlives its vector: it is deleted only after Chroma and the lexical index have
    let go of it, so what is left to clean up is always known.
    """

    document = models.ForeignKey(
        "retrieval.Document", models.CASCADE, related_name="chunks", verbose_name=_("document")
    )
    revision = models.ForeignKey(
        "retrieval.Revision", models.CASCADE, related_name="chunks", verbose_name=_("revision")
    )
    chunking = models.CharField(
        _("chunking"), max_length=64, help_text=_("Which cut of the text this slice belongs to.")
    )
    order = models.PositiveIntegerField(_("order"))
    start = models.PositiveIntegerField(_("start"), help_text=_("Characters into the text."))
    end = models.PositiveIntegerField(_("end"))
    heading_path = models.JSONField(_("heading path"), default=list, blank=True)
    text = models.TextField(_("text"))
    token_count = models.PositiveIntegerField(_("tokens"))
    text_hash = models.CharField(
        _("hash of the embedded text"), max_length=32, help_text=_("Leads to its embedding.")
    )
    enabled = models.BooleanField(_("enabled"), default=True)

    objects = ChunkQuerySet.as_manager()

    class Meta:
        verbose_name = _("chunk")
        verbose_name_plural = _("chunks")
        ordering = ["revision_id", "chunking", "order"]
        constraints = [
            models.UniqueConstraint(fields=["revision", "chunking", "order"], name="chunk_order"),
            models.CheckConstraint(condition=models.Q(end__gt=F("start")), name="chunk_offsets"),
        ]
        indexes = [
            # Few are switched off: the list of them must not look through the others.
            models.Index(
                fields=["document"],
                condition=models.Q(enabled=False),
                name="chunk_disabled",
            )
        ]

    def __str__(self) -> str:
        return f"{self.document_id}#{self.order}"

    @property
    def vector_id(self) -> str:
        return str(self.pk)
