from django.db import models
from django.utils.translation import gettext_lazy as _


class FeedbackQuerySet(models.QuerySet["Feedback"]):
    def pending(self) -> "FeedbackQuerySet":
        return self.filter(state=Feedback.State.PENDING)


class Feedback(models.Model):
    """What somebody thought of an answer, and what became of it."""

    class Rating(models.IntegerChoices):
        UP = 1, _("helpful")
        DOWN = -1, _("not helpful")

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        ACCEPTED = "accepted", _("accepted")
        REJECTED = "rejected", _("rejected")

    search = models.ForeignKey(
        "retrieval.Search",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="feedback",
        verbose_name=_("search"),
    )
    collection = models.ForeignKey(
        "retrieval.Collection", models.CASCADE, verbose_name=_("collection")
    )
    question = models.TextField(_("question"))
    #: Where no search is known: the same for a question in other spellings.
    question_key = models.CharField(max_length=32, blank=True, editable=False)
    answer = models.TextField(
        _("answer"), blank=True, help_text=_("What was answered, where the channel told it.")
    )
    rating = models.SmallIntegerField(_("rating"), choices=Rating, null=True, blank=True)
    comment = models.TextField(_("comment"), blank=True)
    correction = models.TextField(_("corrected answer"), blank=True)
    chunk = models.ForeignKey(
        "retrieval.Chunk", models.SET_NULL, null=True, blank=True, verbose_name=_("chunk at fault")
    )
    document = models.ForeignKey(
        "retrieval.Document",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("document at fault"),
    )
    voter = models.CharField(
        _("voter"), max_length=200, blank=True, help_text=_("Who voted, as the channel knows it.")
    )
    channel = models.CharField(_("channel"), max_length=32)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.PENDING)
    item = models.ForeignKey(
        "retrieval.ReviewItem",
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="votes",
        verbose_name=_("question to review"),
    )
    #: Whether the counts of its group say what it says now.
    is_grouped = models.BooleanField(default=False, editable=False)
    reviewer = models.ForeignKey(
        "auth.User", models.SET_NULL, null=True, blank=True, verbose_name=_("reviewer")
    )
    outcome = models.JSONField(_("what it changed"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)

    objects = FeedbackQuerySet.as_manager()

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        constraints = [
            models.UniqueConstraint(
                fields=["search", "voter"],
                condition=models.Q(search__isnull=False),
                name="one_feedback_per_voter_and_search",
            ),
            models.UniqueConstraint(
                fields=["collection", "question_key", "voter"],
                condition=models.Q(search__isnull=True) & ~models.Q(question_key=""),
                name="one_feedback_per_voter_and_question",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "-created_at"], name="feedback_queue"),
            models.Index(fields=["is_grouped", "id"], name="feedback_ungrouped"),
        ]

    def __str__(self) -> str:
        return self.question[:80]
