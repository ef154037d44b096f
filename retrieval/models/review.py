import uuid
from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

    from retrieval.models.feedback import Feedback


class ReviewItemQuerySet(models.QuerySet["ReviewItem"]):
    def open(self) -> "ReviewItemQuerySet":
        # Not `is_open=True`: that is a bare column in SQL, which SQLite's indexes do not know.
        return self.filter(is_open__in=[True])

    def by_harm(self) -> "ReviewItemQuerySet":
        return self.order_by("-harm", "-pk")


class ReviewItem(models.Model):
    """Questions that ask the same and were answered badly, or voted on: one thing to review.

    Written by `retrieval.feedback.grouping`; what reviewers do is in `retrieval.feedback.queue`.
    """

    class State(models.TextChoices):
        OPEN = "open", _("open")
        ASSIGNED = "assigned", _("assigned")
        ACCEPTED = "accepted", _("accepted")
        REJECTED = "rejected", _("rejected")
        MERGED = "merged", _("merged")

    class Reason(models.TextChoices):
        MISSING = "missing", _("missing content")
        OUTDATED = "outdated", _("outdated")
        RANKED = "ranked", _("badly ranked")
        CHUNKED = "chunked", _("wrong chunking")
        NOT_OURS = "not_ours", _("not a question for us")

    if TYPE_CHECKING:
        questions: RelatedManager["ReviewQuestion"]
        votes: RelatedManager[Feedback]

    collection = models.ForeignKey(
        "retrieval.Collection",
        models.CASCADE,
        related_name="review_items",
        verbose_name=_("collection"),
    )
    question = models.TextField(_("question"), help_text=_("The first of them that was asked."))
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.OPEN)
    #: open or assigned: what the queue is sorted and read by
    is_open = models.BooleanField(default=True, editable=False)
    assignee = models.ForeignKey(
        "auth.User",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("assigned to"),
    )
    reason = models.CharField(_("reason"), max_length=16, choices=Reason, blank=True)
    notes = models.TextField(_("notes"), blank=True)

    asked = models.PositiveIntegerField(_("times asked"), default=0)
    askers = models.PositiveIntegerField(_("people who asked"), default=0)
    none_count = models.PositiveIntegerField(_("without an answer"), default=0)
    low_count = models.PositiveIntegerField(_("with a doubtful answer"), default=0)
    up_count = models.PositiveIntegerField(_("found helpful"), default=0)
    down_count = models.PositiveIntegerField(_("found not helpful"), default=0)
    correction_count = models.PositiveIntegerField(_("corrections"), default=0)
    harm = models.FloatField(_("harm"), default=0, editable=False)

    first_asked_at = models.DateTimeField(_("first asked"), default=timezone.now)
    last_asked_at = models.DateTimeField(_("last asked"), default=timezone.now)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    closed_by = models.ForeignKey(
        "auth.User",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("closed by"),
    )
    reopened = models.PositiveIntegerField(_("times reopened"), default=0)
    #: the group that a reviewer put this one into; what asks the same as this one goes there
    merged_into = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, editable=False, related_name="merged"
    )

    #: of `question`: float16, of the model `vector_model`; none where that knows not its script
    vector = models.BinaryField(null=True, editable=False)
    vector_model = models.BigIntegerField(null=True, editable=False)
    terms = models.JSONField(default=list, editable=False)

    objects = ReviewItemQuerySet.as_manager()

    class Meta:
        verbose_name = _("question to review")
        verbose_name_plural = _("questions to review")
        indexes = [
            models.Index(fields=["is_open", "-harm", "-id"], name="review_queue"),
            models.Index(
                fields=["collection", "is_open", "-harm", "-id"], name="review_queue_of_collection"
            ),
            models.Index(
                fields=["assignee", "is_open", "-harm", "-id"], name="review_queue_of_assignee"
            ),
            models.Index(fields=["state", "-harm", "-id"], name="review_by_state"),
            models.Index(fields=["reason", "is_open", "-harm", "-id"], name="review_by_reason"),
            models.Index(fields=["collection", "-last_asked_at"], name="review_recent"),
            models.Index(fields=["collection", "vector_model"], name="review_by_model"),
            models.Index(fields=["-closed_at"], name="review_closed"),
        ]

    def __str__(self) -> str:
        return self.question[:80]

    def reopen(self) -> None:
        """Back into the queue, on a row that is saved by the caller."""
        self.state = self.State.ASSIGNED if self.assignee_id else self.State.OPEN
        self.is_open = True
        self.closed_at = None
        self.closed_by = None
        self.reopened += 1

    @property
    def weight(self) -> float:
        """How much harm it does that this is answered badly, from 0.

        A correction counts 4, a vote down 3, an answer that was none 1, a doubtful one 0.5, and
        each person after the first 1; each vote up takes 1 away.
        """
        return max(
            4.0 * self.correction_count
            + 3.0 * self.down_count
            + 1.0 * self.none_count
            + 0.5 * self.low_count
            + 1.0 * max(self.askers - 1, 0)
            - 1.0 * self.up_count,
            0.0,
        )


class ReviewQuestion(models.Model):
    """One wording of the questions of a group, however often it was asked."""

    item = models.ForeignKey(
        ReviewItem, models.CASCADE, related_name="questions", verbose_name=_("question to review")
    )
    collection = models.ForeignKey("retrieval.Collection", models.CASCADE, related_name="+")
    #: see `retrieval.likeness.question_key`
    key = models.CharField(max_length=32, editable=False)
    text = models.TextField(_("question"))
    asked = models.PositiveIntegerField(_("times asked"), default=0)
    none_count = models.PositiveIntegerField(_("without an answer"), default=0)
    low_count = models.PositiveIntegerField(_("with a doubtful answer"), default=0)
    last_asked_at = models.DateTimeField(_("last asked"), default=timezone.now)
    #: the newest search with it; none where only votes without a search named it
    last_search = models.UUIDField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("wording of a question")
        verbose_name_plural = _("wordings of questions")
        constraints = [
            models.UniqueConstraint(fields=["collection", "key"], name="review_question_once")
        ]
        indexes = [models.Index(fields=["item", "-asked", "id"], name="review_question_frequent")]

    def __str__(self) -> str:
        return self.text[:80]


class ReviewSighting(models.Model):
    """How often somebody asked a question of a group on a day."""

    item = models.ForeignKey(ReviewItem, models.CASCADE, related_name="sightings")
    #: none where it was written before wordings were told apart
    question = models.ForeignKey(
        ReviewQuestion, models.CASCADE, null=True, blank=True, related_name="sightings"
    )
    day = models.DateField()
    #: a key, or the name that a channel gives; empty where nothing is known
    asker = models.CharField(max_length=250, blank=True)
    times = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("day of a question")
        verbose_name_plural = _("days of questions")
        constraints = [
            models.UniqueConstraint(
                fields=["question", "day", "asker"],
                condition=models.Q(question__isnull=False),
                name="review_sighting_of_question",
            ),
            models.UniqueConstraint(
                fields=["item", "day", "asker"],
                condition=models.Q(question__isnull=True),
                name="review_sighting_once",
            ),
        ]
        indexes = [models.Index(fields=["item", "day", "asker"], name="review_sighting_of_item")]

    def __str__(self) -> str:
        return f"{self.item_id} {self.day}"


class ReviewCursor(models.Model):
    """How far the log of searches has been put into groups: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    asked_at = models.DateTimeField()
    search = models.UUIDField()
    #: another one after every change of which groups there are, what they ask or where they lead
    groups = models.UUIDField(default=uuid.uuid4)

    class Meta:
        verbose_name = _("place in the log")
        verbose_name_plural = _("places in the log")
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.asked_at)
