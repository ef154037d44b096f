import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _


class Search(models.Model):
    """The log of one query: what was asked, what was answered, how long each stage took."""

    class Confidence(models.TextChoices):
        HIGH = "high", _("high")
        LOW = "low", _("low")
        NONE = "none", _("none")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(
        "retrieval.Collection", models.CASCADE, verbose_name=_("collection")
    )
    query = models.TextField(_("question"))
    channel = models.CharField(_("channel"), max_length=32)
    asker = models.CharField(
        _("asked by"),
        max_length=200,
        blank=True,
        help_text=_("A key, or a person's name as the channel knows it."),
    )
    top_k = models.PositiveIntegerField("top k")
    filter = models.JSONField(_("filter"), default=dict, blank=True)
    #: chunk_id, document_id, rank, score per hit
    results = models.JSONField(_("results"), default=list, blank=True)
    result_count = models.PositiveIntegerField(_("results"), default=0)
    top_score = models.FloatField(_("best score"), null=True, blank=True)
    confidence = models.CharField(_("confidence"), max_length=8, choices=Confidence)
    degraded = models.CharField(_("degraded"), max_length=64, blank=True)
    #: milliseconds by stage
    timings = models.JSONField(_("milliseconds by stage"), default=dict, blank=True)
    total_ms = models.FloatField(_("milliseconds"), default=0)
    created_at = models.DateTimeField(_("asked at"), auto_now_add=True)
    #: of a badly answered question, as `Embedding.pack` packs it, and of which model: the worker,
    #: who puts such questions into groups, need not embed them again, and then forgets it
    vector = models.BinaryField(null=True, editable=False)
    vector_model = models.BigIntegerField(null=True, editable=False)

    class Meta:
        verbose_name = _("search")
        verbose_name_plural = _("searches")
        indexes = [
            models.Index(fields=["-created_at"], name="search_recent"),
            models.Index(fields=["collection", "-created_at"], name="search_by_collection"),
        ]

    def __str__(self) -> str:
        return self.query[:80]

    @classmethod
    def is_weak(cls, confidence: str, result_count: int, degraded: str) -> bool:
        """Whether an answer says that the documents may lack something. While a part was away, a
        bad answer says nothing of them."""
        return (confidence != cls.Confidence.HIGH or not result_count) and not degraded
