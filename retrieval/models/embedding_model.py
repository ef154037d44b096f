from django.db import models
from django.utils.translation import gettext_lazy as _


class EmbeddingModelQuerySet(models.QuerySet["EmbeddingModel"]):
    def newest_named(self, name: str) -> "EmbeddingModel | None":
        return self.filter(name=name).order_by("-created_at", "-pk").first()


class EmbeddingModel(models.Model):
    """A model that turns text into vectors, in one revision of its weights and one runtime.

    Vectors of different rows are never comparable, even at the same dimension.
    """

    class Runtime(models.TextChoices):
        ONNX_INT8 = "onnx-int8", "ONNX int8"
        ONNX = "onnx", "ONNX"
        TORCH = "torch", "torch"

    name = models.CharField(_("name"), max_length=500)
    revision = models.CharField(
        _("revision"), max_length=64, help_text=_("Fingerprint of the weights and the export.")
    )
    runtime = models.CharField(_("runtime"), max_length=16, choices=Runtime)
    dimension = models.PositiveIntegerField(_("dimension"))
    max_tokens = models.PositiveIntegerField(_("max tokens"))
    languages = models.JSONField(
        _("languages"),
        default=list,
        blank=True,
        help_text=_('Language codes that the model card declares; ["*"] for multilingual.'),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = EmbeddingModelQuerySet.as_manager()

    class Meta:
        verbose_name = _("embedding model")
        verbose_name_plural = _("embedding models")
        constraints = [
            models.UniqueConstraint(
                fields=["name", "revision", "runtime"], name="embedding_model_identity"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def knows_every_language(self) -> bool:
        return "*" in self.languages

    def understands(self, language: str) -> bool | None:
        """Whether the model was made for a language code; None where the card is silent."""
        if not self.languages:
            return None
        return self.knows_every_language or language in self.languages
