from django.db import models
from django.utils.translation import gettext_lazy as _

#: Of the golden set: what a gate looks at, and how far it may fall.
GATED_METRIC = "MRR@10"


class TrialQuerySet(models.QuerySet["Trial"]):
    def open(self) -> "TrialQuerySet":
        """Those that nobody has decided yet; a collection has one at most."""
        return self.filter(state__in=Trial.OPEN, collection__deleted_at=None)

    def holding(self) -> "TrialQuerySet":
        """Those whose index must not go live by itself once it is built."""
        return self.filter(state__in=[Trial.State.MEASURING, Trial.State.WAITING])


class Trial(models.Model):
    """Other settings of a collection (B) beside those that it has (A), over its golden set.

    What the settings decide is built beside the live index and kept in step with it, so that
    going over to B is one step. See retrieval.trials.
    """

    class State(models.TextChoices):
        MEASURING = "measuring", _("being measured")
        WAITING = "waiting", _("waits for a decision")
        SWITCHING = "switching", _("being switched to")
        ADOPTED = "adopted", _("switched to")
        DISCARDED = "discarded", _("discarded")

    OPEN = (State.MEASURING, State.WAITING, State.SWITCHING)

    collection = models.ForeignKey(
        "retrieval.Collection",
        models.CASCADE,
        related_name="trials",
        verbose_name=_("collection"),
    )
    name = models.CharField(_("name"), max_length=200, blank=True)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.MEASURING)
    #: whether B goes live by itself if it is not worse
    is_gate = models.BooleanField(default=False)
    #: how far the mean of GATED_METRIC may fall: 0 to 1
    tolerance = models.FloatField(default=0.0)

    #: whether B has an index of its own; `index` is None again once it was dropped
    has_index = models.BooleanField(default=False)
    index = models.ForeignKey(
        "retrieval.Index",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="trials",
        verbose_name=_("index"),
    )
    #: None: B is searched as the collection is
    retrieval_settings = models.JSONField(null=True, blank=True)

    before = models.ForeignKey(
        "retrieval.EvaluationRun", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    after = models.ForeignKey(
        "retrieval.EvaluationRun", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    #: after minus before, of GATED_METRIC: {"mean": …, "low": …, "high": …, "won": …, "lost": …}
    verdict = models.JSONField(default=dict, blank=True)
    #: why it could not be measured
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)

    objects = TrialQuerySet.as_manager()

    class Meta:
        verbose_name = _("comparison of settings")
        verbose_name_plural = _("comparisons of settings")
        constraints = [
            models.UniqueConstraint(
                fields=["collection"],
                condition=models.Q(state__in=["measuring", "waiting", "switching"]),
                name="one_open_trial_per_collection",
            )
        ]
        indexes = [
            models.Index(fields=["state"], name="trial_by_state"),
            models.Index(fields=["collection", "-created_at"], name="trial_recent"),
        ]

    def __str__(self) -> str:
        return self.name or f"#{self.pk}"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN
