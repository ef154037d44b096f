from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from retrieval.types import FIRST_ALIAS_ID

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager


class AliasQuerySet(models.QuerySet["Alias"]):
    def active(self) -> "AliasQuerySet":
        """Those that Chroma and the lexical index hold; searches do not follow staged ones."""
        return self.filter(retired_at=None)

    def publish(self) -> int:
        """Searches follow them from this commit on."""
        return self.active().update(is_staged=False)

    def retire(self) -> int:
        """Searches do not follow them from this commit on; the worker cleans up behind."""
        return self.active().update(retired_at=timezone.now(), cleaned_at=None)

    def awaiting_cleanup(self) -> "AliasQuerySet":
        return self.filter(retired_at__isnull=False, cleaned_at=None)


class Alias(models.Model):
    """A question that a passage answers, whatever the passage's own words are.

    It belongs to the passage's text: wherever a document's text is cut anew, it leads to the slice
    that says it (`retrieval.aliases`). Where no slice does any more, it is stale.
    """

    if TYPE_CHECKING:
        places: RelatedManager["AliasPlace"]

    document = models.ForeignKey(
        "retrieval.Document", models.CASCADE, related_name="aliases", verbose_name=_("document")
    )
    question = models.TextField(_("question"))
    #: leads to its embedding, which is a question's and no document's
    question_hash = models.CharField(max_length=32, editable=False)
    text = models.TextField(_("passage"), help_text=_("As it was when it was marked."))
    #: Prepared to be tried out: searches do not follow it yet.
    is_staged = models.BooleanField(default=False, editable=False)
    is_stale = models.BooleanField(_("stale"), default=False, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True, editable=False)
    cleaned_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = AliasQuerySet.as_manager()

    class Meta:
        verbose_name = _("alias of a passage")
        verbose_name_plural = _("aliases of passages")
        indexes = [
            models.Index(
                fields=["retired_at"],
                condition=models.Q(retired_at__isnull=False, cleaned_at__isnull=True),
                name="alias_to_clean",
            )
        ]

    def __str__(self) -> str:
        return self.question[:80]


class AliasPlace(models.Model):
    """Where an alias leads in one cut of its document. Chroma and the lexical index hold the
    question under an id of its own, which searches turn into the chunk's."""

    alias = models.ForeignKey(Alias, models.CASCADE, related_name="places")
    chunk = models.ForeignKey("retrieval.Chunk", models.CASCADE, related_name="alias_places")

    class Meta:
        verbose_name = _("place of an alias")
        verbose_name_plural = _("places of aliases")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["alias", "chunk"], name="alias_place_once")]

    def __str__(self) -> str:
        return f"{self.alias_id} → {self.chunk_id}"

    @property
    def record_id(self) -> int:
        return FIRST_ALIAS_ID + self.pk
