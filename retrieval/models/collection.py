from typing import TYPE_CHECKING

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from retrieval import prompts

if TYPE_CHECKING:
    from retrieval.models.index import Index


class CollectionQuerySet(models.QuerySet["Collection"]):
    def alive(self) -> "CollectionQuerySet":
        return self.filter(deleted_at=None)


class Collection(models.Model):
    """What people search: a set of documents that share chunking, model and settings."""

    class Space(models.TextChoices):
        COSINE = "cosine", _("cosine")
        IP = "ip", _("inner product")
        L2 = "l2", _("squared L2")

    slug = models.SlugField(_("slug"), max_length=100, unique=True)
    title = models.CharField(_("title"), max_length=200)
    description = models.TextField(_("description"), blank=True)

    embedding_model = models.ForeignKey(
        "retrieval.EmbeddingModel", models.PROTECT, verbose_name=_("embedding model")
    )
    space = models.CharField(_("distance space"), max_length=8, choices=Space, default=Space.COSINE)
    chunk_size = models.PositiveIntegerField(
        _("chunk size"),
        default=256,
        validators=[MinValueValidator(16), MaxValueValidator(8192)],
        help_text=_("Tokens of the embedding model, context included; cut to what it can read."),
    )
    chunk_overlap = models.PositiveIntegerField(
        _("chunk overlap"), default=0, help_text=_("Tokens that neighbouring chunks share.")
    )

    default_top_k = models.PositiveIntegerField(
        _("default top k"), default=4, validators=[MinValueValidator(1), MaxValueValidator(50)]
    )
    retrieval_settings = models.JSONField(
        _("retrieval settings"),
        default=dict,
        blank=True,
        help_text=_(
            "What differs from the defaults, as JSON: mode, min_score, context, "
            "duplicate_share, rerank, dense_weight, thresholds."
        ),
    )
    is_gated = models.BooleanField(
        _("changes wait for the golden set"),
        default=False,
        help_text=_(
            "A reindex and other retrieval settings go live only when the golden set is not "
            "answered worse; otherwise they wait until somebody decides."
        ),
    )
    gate_tolerance = models.FloatField(
        _("how far it may fall"),
        default=0.01,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text=_("Of MRR@10 over the golden set, which lies between 0 and 1."),
    )
    #: Empty: retrieval/prompts.py's own.
    prompt_en = models.TextField(_("prompt, English"), blank=True, max_length=prompts.MAX_LENGTH)
    prompt_zh = models.TextField(_("prompt, Chinese"), blank=True, max_length=prompts.MAX_LENGTH)
    #: Whether any question leads to a passage here: searches of all others need not look.
    has_aliases = models.BooleanField(default=False, editable=False)
    front_matter_schema = models.JSONField(_("front matter schema"), default=dict, blank=True)

    live_index = models.ForeignKey(
        "retrieval.Index",
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("live index"),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)
    deleted_at = models.DateTimeField(_("deleted at"), null=True, blank=True, editable=False)

    objects = CollectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("collection")
        verbose_name_plural = _("collections")
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(chunk_overlap__lt=models.F("chunk_size")),
                name="collection_overlap_below_size",
                violation_error_message=_("The overlap must be smaller than the chunk size."),
            )
        ]

    def __str__(self) -> str:
        return self.title

    def open_first_index(self) -> "Index":
        """Give a new collection the index that its documents go to."""
        from retrieval.models.index import Index

        index = Index.objects.create(
            collection=self,
            embedding_model=self.embedding_model,
            space=self.space,
            chunk_size=self.chunk_size,
            chunk_overlap=self.chunk_overlap,
            state=Index.State.LIVE,
            live_at=timezone.now(),
        )
        self.live_index = index
        self.save(update_fields=["live_index", "updated_at"])
        return index

    def prompt_in(self, language: str) -> str:
        """What a language model is told along with passages: "en" or "zh"."""
        own: str = self.prompt_zh if language == "zh" else self.prompt_en
        return own or prompts.DEFAULTS[language]

    def tombstone(self) -> None:
        """Hide from every search from this commit on; the worker cleans up behind.

        The slug is given free, so that a new collection can have it at once.
        """
        self.deleted_at = timezone.now()
        self.slug = f"{self.slug[:60]}-deleted-{self.pk}"
        self.save(update_fields=["deleted_at", "slug", "updated_at"])
