from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

    from retrieval.models.evaluation import Judgment


class Acceptance(models.Model):
    """What a reviewer changed because of a question, its proof, and the way back.

    proving: prepared beside what is searched (`retrieval.feedback.staging`), for the worker to try
    out (`retrieval.feedback.proof`). Where no other golden question gets worse by it, it is going
    live, and then final; else it is waiting for a reviewer, and searched by nobody.
    """

    class Kind(models.TextChoices):
        ANSWER = "answer", _("question and answer")
        EDIT = "edit", _("edited passage")
        ALIAS = "alias", _("another passage")
        HIDE = "hide", _("hidden passage")

    class State(models.TextChoices):
        PROVING = "proving", _("being proven")
        GOING_LIVE = "going_live", _("going live")
        WAITING = "waiting", _("waits for confirmation")
        FINAL = "final", _("final")
        FAILED = "failed", _("failed")
        UNDOING = "undoing", _("being rolled back")
        UNDONE = "undone", _("rolled back")

    #: One of a question at a time, and those that the worker has something to do with.
    UNSETTLED: ClassVar = [State.PROVING, State.GOING_LIVE, State.WAITING, State.UNDOING]
    IN_WORK: ClassVar = [State.PROVING, State.GOING_LIVE, State.UNDOING]
    CAN_BE_TAKEN_BACK: ClassVar = [
        State.PROVING,
        State.GOING_LIVE,
        State.WAITING,
        State.FINAL,
    ]

    if TYPE_CHECKING:
        judgments: RelatedManager[Judgment]

    item = models.ForeignKey(
        "retrieval.ReviewItem",
        models.CASCADE,
        related_name="acceptances",
        verbose_name=_("question to review"),
    )
    kind = models.CharField(_("what was done"), max_length=16, choices=Kind)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.PROVING)
    reviewer = models.ForeignKey(
        "auth.User",
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("reviewer"),
    )
    #: what was accepted: questions, answer or text, chunk
    data = models.JSONField(_("what was accepted"), default=dict)
    #: what takes it back: version before, aliases, chunk
    undo = models.JSONField(default=dict, editable=False)
    document = models.ForeignKey(
        "retrieval.Document",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("document"),
    )
    revision = models.ForeignKey(
        "retrieval.Revision",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("version"),
    )
    #: answers to the questions of the group, and of the golden set, as `proof.Measured` says them
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict, blank=True)
    restored = models.JSONField(_("after the rollback"), default=dict, blank=True)
    #: golden questions that moved: question, rank before and after
    worse = models.JSONField(_("worse"), default=list, blank=True)
    better = models.JSONField(_("better"), default=list, blank=True)
    failure_message = models.TextField(_("failure"), blank=True)
    created_at = models.DateTimeField(_("accepted at"), auto_now_add=True)
    proved_at = models.DateTimeField(_("proven at"), null=True, blank=True)
    #: when it became what people are answered with; until then it is searched by nobody
    final_at = models.DateTimeField(_("final since"), null=True, blank=True)
    undone_at = models.DateTimeField(_("rolled back at"), null=True, blank=True)
    undone_by = models.ForeignKey(
        "auth.User",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("rolled back by"),
    )
    lease_owner = models.CharField(max_length=100, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("acceptance")
        verbose_name_plural = _("acceptances")
        constraints = [
            models.UniqueConstraint(
                fields=["item"],
                condition=models.Q(state__in=["proving", "going_live", "waiting", "undoing"]),
                name="one_unsettled_acceptance",
            )
        ]
        indexes = [
            models.Index(fields=["state", "id"], name="acceptance_by_state"),
            models.Index(fields=["-final_at"], name="acceptance_final"),
        ]

    def __str__(self) -> str:
        return f"{self.item_id} {self.kind}"
