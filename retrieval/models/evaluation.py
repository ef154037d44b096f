from django.db import models
from django.utils.translation import gettext_lazy as _


class Judgment(models.Model):
    """A question and the document that answers it (a qrel): the golden set."""

    collection = models.ForeignKey(
        "retrieval.Collection",
        models.CASCADE,
        related_name="judgments",
        verbose_name=_("collection"),
    )
    question = models.TextField(_("question"))
    document = models.ForeignKey(
        "retrieval.Document",
        models.CASCADE,
        related_name="judgments",
        verbose_name=_("relevant document"),
    )
    quote = models.TextField(_("quote"), blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("judgment")
        verbose_name_plural = _("judgments")

    def __str__(self) -> str:
        return self.question[:80]


class EvaluationRun(models.Model):
    """Metrics of one set of settings over the golden set."""

    collection = models.ForeignKey(
        "retrieval.Collection",
        models.CASCADE,
        related_name="evaluation_runs",
        verbose_name=_("collection"),
    )
    fingerprint = models.CharField(_("settings fingerprint"), max_length=64)
    settings = models.JSONField(_("settings"), default=dict)
    metrics = models.JSONField(_("metrics"), default=dict)
    question_count = models.PositiveIntegerField(_("questions"), default=0)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("evaluation run")
        verbose_name_plural = _("evaluation runs")
        indexes = [models.Index(fields=["collection", "-created_at"], name="run_recent")]

    def __str__(self) -> str:
        return self.fingerprint
