from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class IndexReportQuerySet(models.QuerySet["IndexReport"]):
    def unfinished(self) -> "IndexReportQuerySet":
        return self.filter(state__in=[IndexReport.State.QUEUED, IndexReport.State.RUNNING])

    def claimable(self) -> "IndexReportQuerySet":
        """Those that nobody works on, or whose worker was killed."""
        free = Q(lease_until=None) | Q(lease_until__lt=timezone.now())
        return self.unfinished().filter(free).order_by("requested_at", "pk")

    def held_by(self, owner: str) -> "IndexReportQuerySet":
        return self.filter(lease_owner=owner, state=IndexReport.State.RUNNING)

    def extend_lease(self, owner: str, seconds: float) -> int:
        return self.held_by(owner).update(lease_until=timezone.now() + timedelta(seconds=seconds))

    def release(self) -> int:
        """Let somebody else begin it at once."""
        return self.update(
            state=IndexReport.State.QUEUED, lease_owner="", lease_until=None, progress_done=0
        )


class IndexReport(models.Model):
    """What a worker found out about an index, and how far it is with finding it out anew.

    The data of the run before stays until the next one is complete.
    """

    class Kind(models.TextChoices):
        DIFFERENCES = "differences", _("differences")
        QUALITY = "quality", _("quality")
        MAP = "map", _("map")

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    index = models.ForeignKey(
        "retrieval.Index", models.CASCADE, related_name="reports", verbose_name=_("index")
    )
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.QUEUED)
    requested_at = models.DateTimeField(_("requested at"), default=timezone.now)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    lease_owner = models.CharField(_("held by"), max_length=100, blank=True)
    lease_until = models.DateTimeField(_("held until"), null=True, blank=True)
    progress_done = models.PositiveIntegerField(_("steps done"), default=0)
    progress_total = models.PositiveIntegerField(_("steps in all"), default=0)
    failure_message = models.TextField(_("failure"), blank=True)
    data = models.JSONField(_("result"), default=dict, blank=True)
    made_at = models.DateTimeField(_("made at"), null=True, blank=True)

    objects = IndexReportQuerySet.as_manager()

    class Meta:
        verbose_name = _("index report")
        verbose_name_plural = _("index reports")
        constraints = [
            models.UniqueConstraint(fields=["index", "kind"], name="one_report_of_a_kind")
        ]

    def __str__(self) -> str:
        return f"{self.index_id}/{self.kind}"

    @property
    def is_unfinished(self) -> bool:
        return self.state in {self.State.QUEUED, self.State.RUNNING}
