from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _


class CheckQuerySet(models.QuerySet["Check"]):
    def of(self, kind: str, source: str) -> "CheckQuerySet":
        """The checks of one source, the newest first."""
        return self.filter(kind=kind, source=source).newest_first()

    def newest_first(self) -> "CheckQuerySet":
        return self.order_by("-pk")

    def listed(self) -> "CheckQuerySet":
        """Without what only the page of one check shows, and what can be megabytes."""
        return self.newest_first().select_related("made_by").defer("data", "manifest", "openapi")


class Check(models.Model):
    """One check of a plugin by the doctor, as it came out: kept to be read again and compared.

    `plugin.doctor.history` writes and reads them; only the newest are kept.
    """

    class Kind(models.TextChoices):
        URL = "url", _("address")
        TEXT = "text", _("pasted text")
        FILE = "file", _("file")
        OWN = "own", _("our own")

    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    source = models.CharField(
        _("source"),
        max_length=2000,
        blank=True,
        help_text=_("An address, a name of a file, or what a pasted text calls itself."),
    )
    is_live = models.BooleanField(_("servers were asked"), default=False)
    made_at = models.DateTimeField(_("made at"), default=timezone.now)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("made by"),
    )
    errors = models.PositiveIntegerField(_("errors"), default=0)
    warnings = models.PositiveIntegerField(_("warnings"), default=0)
    advice = models.PositiveIntegerField(_("advice"), default=0)
    verdicts = models.JSONField(_("verdicts"), default=dict)  #: consumer → verdict
    documents_hash = models.CharField(_("hash of the documents"), max_length=64)
    manifest = models.TextField(_("manifest"), blank=True)
    openapi = models.TextField(_("OpenAPI document"), blank=True)
    data: "models.JSONField[Any, Any]" = models.JSONField(_("report"), default=dict)
    size = models.PositiveIntegerField(_("characters"), default=0)
    previous = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("check before"),
    )
    #: Findings that the check before had not, and those that it alone had; None without one.
    appeared = models.PositiveIntegerField(_("new findings"), null=True, blank=True)
    gone = models.PositiveIntegerField(_("findings that are gone"), null=True, blank=True)

    objects = CheckQuerySet.as_manager()

    class Meta:
        verbose_name = _("check of a plugin")
        verbose_name_plural = _("checks of plugins")

    def __str__(self) -> str:
        return self.source or capfirst(self.get_kind_display())
