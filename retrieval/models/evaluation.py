from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager


class Judgment(models.Model):
    """A question and the document that answers it (a qrel): the golden set."""

    class Source(models.TextChoices):
        MANUAL = "manual", _("playground")
        WRITTEN = "written", _("written here")
        IMPORT = "import", _("imported")
        FEEDBACK = "feedback", _("accepted feedback")

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
    source = models.CharField(_("comes from"), max_length=16, choices=Source, default=Source.MANUAL)
    acceptance = models.ForeignKey(
        "retrieval.Acceptance",
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="judgments",
        verbose_name=_("acceptance"),
    )
    is_stale = models.BooleanField(
        _("stale"),
        default=False,
        help_text=_("The document has changed and does not say the quote any more."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("judgment")
        verbose_name_plural = _("judgments")
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="judgment_recent"),
            models.Index(fields=["collection", "-created_at", "-id"], name="judgment_of"),
            models.Index(fields=["is_stale", "-created_at", "-id"], name="judgment_stale"),
        ]

    def __str__(self) -> str:
        return self.question[:80]


class EvaluationRunQuerySet(models.QuerySet["EvaluationRun"]):
    def done(self) -> "EvaluationRunQuerySet":
        return self.filter(state=EvaluationRun.State.DONE)

    def unfinished(self) -> "EvaluationRunQuerySet":
        return self.filter(state__in=EvaluationRun.UNFINISHED)

    def claimable(self) -> "EvaluationRunQuerySet":
        """Those that nobody works on, or whose worker was killed."""
        free = Q(lease_until=None) | Q(lease_until__lt=timezone.now())
        return self.unfinished().filter(free).order_by("created_at", "pk")

    def held_by(self, owner: str) -> "EvaluationRunQuerySet":
        return self.filter(lease_owner=owner, state=EvaluationRun.State.RUNNING)

    def extend_lease(self, owner: str, seconds: float) -> int:
        return self.held_by(owner).update(lease_until=timezone.now() + timedelta(seconds=seconds))

    def release(self) -> int:
        """Let somebody else begin it at once."""
        return self.update(
            state=EvaluationRun.State.QUEUED, lease_owner="", lease_until=None, progress_done=0
        )


class EvaluationRun(models.Model):
    """Metrics of one set of settings over a set of questions, and every answer behind them.

    One that was asked for in the browser waits for a worker; see retrieval.evaluation_runs.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    UNFINISHED = (State.QUEUED, State.RUNNING)

    if TYPE_CHECKING:
        answers: RelatedManager["EvaluationAnswer"]

    collection = models.ForeignKey(
        "retrieval.Collection",
        models.CASCADE,
        related_name="evaluation_runs",
        verbose_name=_("collection"),
    )
    name = models.CharField(_("name"), max_length=200, blank=True)
    index = models.ForeignKey(
        "retrieval.Index",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("index"),
    )
    mode = models.CharField(_("mode"), max_length=16, blank=True)
    top_k = models.PositiveIntegerField("top k", default=10)
    fingerprint = models.CharField(
        _("settings fingerprint"),
        max_length=64,
        help_text=_("SHA-256 of settings and questions: the same for runs that should agree."),
    )
    settings = models.JSONField(_("settings"), default=dict)
    questions_source = models.CharField(_("questions from"), max_length=500, blank=True)
    questions_hash = models.CharField(_("SHA-256 of the questions"), max_length=64, blank=True)
    question_count = models.PositiveIntegerField(_("questions"), default=0)
    left_out = models.JSONField(
        _("left out"),
        default=dict,
        blank=True,
        help_text=_("Questions that were not asked, by reason, and documents that are not here."),
    )
    degraded_count = models.PositiveIntegerField(
        _("degraded answers"),
        default=0,
        help_text=_(
            "Answers that a part of the search was missing from: above 0 the metrics say "
            "less about the settings."
        ),
    )
    #: by name: {"mean": …, "low": …, "high": …}
    metrics = models.JSONField(_("metrics"), default=dict)
    seconds = models.FloatField(_("seconds"), default=0)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    state = models.CharField(_("state"), max_length=16, choices=State, default=State.DONE)
    #: what a worker is to ask, and how
    wanted = models.JSONField(default=dict, blank=True, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    lease_owner = models.CharField(max_length=100, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    progress_done = models.PositiveIntegerField(default=0, editable=False)
    progress_total = models.PositiveIntegerField(default=0, editable=False)
    failure_message = models.TextField(_("failure"), blank=True)

    objects = EvaluationRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("evaluation run")
        verbose_name_plural = _("evaluation runs")
        indexes = [
            models.Index(fields=["collection", "-created_at"], name="run_recent"),
            models.Index(fields=["state", "created_at"], name="run_by_state"),
        ]

    def __str__(self) -> str:
        return self.name or self.fingerprint[:12]

    @property
    def is_unfinished(self) -> bool:
        return self.state in self.UNFINISHED

    @property
    def percent(self) -> int:
        return self.progress_done * 100 // max(self.progress_total, 1)


class EvaluationAnswer(models.Model):
    """What one question of a run was answered with."""

    run = models.ForeignKey(
        EvaluationRun, models.CASCADE, related_name="answers", verbose_name=_("evaluation run")
    )
    order = models.PositiveIntegerField(_("order"))
    question = models.TextField(_("question"))
    #: of the question and its relevant documents: what two runs have in common
    question_hash = models.CharField(_("question hash"), max_length=32)
    #: external ids, and those of the documents that were found, best first
    relevant = models.JSONField(_("relevant documents"), default=list)
    found = models.JSONField(_("found documents"), default=list)
    #: from 1, of the relevant documents that were found
    ranks = models.JSONField(_("ranks"), default=list)
    top_score = models.FloatField(_("best score"), null=True, blank=True)
    confidence = models.CharField(_("confidence"), max_length=8)
    degraded = models.CharField(_("degraded"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("evaluation answer")
        verbose_name_plural = _("evaluation answers")
        constraints = [
            models.UniqueConstraint(fields=["run", "order"], name="evaluation_answer_order")
        ]

    def __str__(self) -> str:
        return self.question[:80]

    @property
    def rank(self) -> int | None:
        """Of the first relevant document; None if none was found."""
        return min(self.ranks, default=None)
