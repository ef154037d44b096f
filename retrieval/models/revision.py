from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from retrieval.exceptions import KnowledgeBaseError

if TYPE_CHECKING:
    from retrieval.models.document import Document


#: Option of a version that is to be indexed and not to be searched yet: the keys of the indexes
#: that hold it. Also the code that says so on its row once it is indexed.
STAGED = "staged"
#: Spelled out for the partial index: the class below does not exist yet.
UNFINISHED_STATES = ["queued", "fetching", "parsing", "chunking", "embedding", "syncing"]


def original_path(revision: "Revision", filename: str) -> str:
    """Originals are kept under their hash: the same bytes twice are one file."""
    digest = revision.content_hash
    return f"originals/{digest[:2]}/{digest}"


def unstaged(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != STAGED}


class RevisionQuerySet(models.QuerySet["Revision"]):
    """Transitions of many rows at once, and the reads that the worker and the pages need."""

    def unfinished(self) -> "RevisionQuerySet":
        return self.filter(state__in=Revision.UNFINISHED)

    def failed(self) -> "RevisionQuerySet":
        return self.filter(state=Revision.State.FAILED)

    def in_work(self) -> "RevisionQuerySet":
        return self.filter(state__in=Revision.IN_WORK)

    def claimable(self, now: datetime) -> "RevisionQuerySet":
        """Waiting and due. What is in work becomes so again when its lease has run out."""
        return self.due(now).exclude(content_hash="")

    def fetchable(self, now: datetime) -> "RevisionQuerySet":
        """Waiting and due, and known by its address only."""
        return self.due(now).filter(content_hash="")

    def due(self, now: datetime) -> "RevisionQuerySet":
        return self.filter(Q(not_before=None) | Q(not_before__lte=now), state=Revision.State.QUEUED)

    def held_by(self, owner: str) -> "RevisionQuerySet":
        return self.filter(lease_owner=owner, state__in=Revision.IN_WORK)

    def advance(self, owner: str, state: "Revision.State") -> int:
        """Move what `owner` still holds to its next state; returns how many it still held."""
        now = timezone.now()
        return self.held_by(owner).update(state=state, state_at=now, **{f"{state}_at": now})

    def extend_lease(self, owner: str, seconds: float) -> int:
        return self.held_by(owner).update(lease_until=timezone.now() + timedelta(seconds=seconds))

    def release(self) -> int:
        """Give work back that nobody will finish; it starts again from its bytes."""
        return self.update(
            state=Revision.State.QUEUED,
            state_at=timezone.now(),
            lease_owner="",
            lease_until=None,
        )

    def abandon(self) -> int:
        """Give back what a dead worker held, and remember that it died over it."""
        return self.update(
            state=Revision.State.QUEUED,
            state_at=timezone.now(),
            crashes=F("crashes") + 1,
            lease_owner="",
            lease_until=None,
        )

    def postpone(self, owner: str, error: KnowledgeBaseError, delay: float) -> int:
        """Queue again after a failure that time can heal, keeping its reason visible."""
        now = timezone.now()
        return self.held_by(owner).update(
            state=Revision.State.QUEUED,
            state_at=now,
            not_before=now + timedelta(seconds=delay),
            attempts=F("attempts") + 1,
            failure_code=error.code,
            failure_message=error.message,
            lease_owner="",
            lease_until=None,
        )

    def retry(self) -> int:
        """Queue failed revisions again, because somebody asked for it."""
        return self.failed().requeue()

    def staged(self) -> "RevisionQuerySet":
        """Indexed and kept out of search until somebody publishes or withdraws them."""
        return self.filter(state=Revision.State.SKIPPED, failure_code=STAGED)

    def withdraw(self, now: datetime) -> int:
        """Give up versions that were never searched; the worker cleans up behind."""
        return self.filter(indexed_at=None).update(
            state=Revision.State.CANCELLED,
            state_at=now,
            finished_at=now,
            retired_at=now,
            cleaned_at=None,
            failure_code="discarded",
            failure_message="It was discarded before it was searched.",
            lease_owner="",
            lease_until=None,
        )

    def cancel(self) -> int:
        """Stop what is not finished; the live revision, if any, goes on serving."""
        now = timezone.now()
        return self.unfinished().update(
            state=Revision.State.CANCELLED,
            state_at=now,
            finished_at=now,
            retired_at=now,
            failure_code="cancelled",
            failure_message="Cancelled. Upload it again, or retry it, to have it indexed.",
            lease_owner="",
            lease_until=None,
        )

    def requeue(self) -> int:
        """Begin again from the bytes, whatever became of it before."""
        return self.update(
            state=Revision.State.QUEUED,
            state_at=timezone.now(),
            not_before=None,
            attempts=0,
            crashes=0,
            retryable=False,
            finished_at=None,
            retired_at=None,
            cleaned_at=None,
            duplicate_of=None,
            failure_code="",
            failure_message="",
        )

    def supersede(self, now: datetime) -> int:
        """A newer version was accepted before this one was indexed."""
        return self.unfinished().update(
            state=Revision.State.SUPERSEDED,
            state_at=now,
            finished_at=now,
            retired_at=now,
            lease_owner="",
            lease_until=None,
        )

    def retire(self, now: datetime) -> int:
        """No longer live: its chunks are to be taken out of Chroma and the lexical index."""
        return self.update(retired_at=now, cleaned_at=None)

    def awaiting_cleanup(self) -> "RevisionQuerySet":
        return self.filter(retired_at__isnull=False, cleaned_at=None)


class Revision(models.Model):
    """One version of a document: its bytes, the text read from them, and how far it has come.

    A newer version is indexed beside the live one and takes its place in one step.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        FETCHING = "fetching", _("fetching")
        PARSING = "parsing", _("parsing")
        CHUNKING = "chunking", _("chunking")
        EMBEDDING = "embedding", _("embedding")
        SYNCING = "syncing", _("syncing")
        INDEXED = "indexed", _("indexed")
        FAILED = "failed", _("failed")
        SKIPPED = "skipped", _("skipped")
        CANCELLED = "cancelled", _("cancelled")
        SUPERSEDED = "superseded", _("superseded")

    IN_WORK: ClassVar = [
        State.FETCHING,
        State.PARSING,
        State.CHUNKING,
        State.EMBEDDING,
        State.SYNCING,
    ]
    UNFINISHED: ClassVar = [State.QUEUED, *IN_WORK]

    document = models.ForeignKey(
        "retrieval.Document", models.CASCADE, related_name="revisions", verbose_name=_("document")
    )
    number = models.PositiveIntegerField(_("number"))
    filename = models.CharField(_("file name"), max_length=500)
    original = models.FileField(_("original"), upload_to=original_path, max_length=200)
    size = models.PositiveBigIntegerField(_("size in bytes"))
    #: Empty until the page of an address has been fetched.
    content_hash = models.CharField(_("SHA-256"), max_length=64)

    title = models.CharField(_("title"), max_length=500, blank=True)
    text = models.TextField(_("text"), blank=True)
    metadata = models.JSONField(_("front matter"), default=dict, blank=True)

    options = models.JSONField(
        _("options"),
        default=dict,
        blank=True,
        help_text=_("How to read it: columns of a table, and whether a duplicate is kept."),
    )
    duplicate_of = models.ForeignKey(
        "retrieval.Document",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("duplicate of"),
    )

    state = models.CharField(_("state"), max_length=16, choices=State, default=State.QUEUED)
    state_at = models.DateTimeField(_("in this state since"), default=timezone.now)
    failure_code = models.CharField(_("failure code"), max_length=64, blank=True)
    failure_message = models.TextField(_("failure"), blank=True)
    retryable = models.BooleanField(_("retryable"), default=False)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    crashes = models.PositiveIntegerField(
        _("crashes"), default=0, help_text=_("How often a worker died while it held this.")
    )
    not_before = models.DateTimeField(_("not before"), null=True, blank=True)
    lease_owner = models.CharField(_("held by"), max_length=100, blank=True)
    lease_until = models.DateTimeField(_("held until"), null=True, blank=True)

    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    # When each stage of the last attempt began.
    parsing_at = models.DateTimeField(_("parsing since"), null=True, blank=True)
    chunking_at = models.DateTimeField(_("chunking since"), null=True, blank=True)
    embedding_at = models.DateTimeField(_("embedding since"), null=True, blank=True)
    syncing_at = models.DateTimeField(_("syncing since"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    indexed_at = models.DateTimeField(_("indexed at"), null=True, blank=True)
    retired_at = models.DateTimeField(_("retired at"), null=True, blank=True)
    cleaned_at = models.DateTimeField(_("cleaned up at"), null=True, blank=True)

    objects = RevisionQuerySet.as_manager()

    class Meta:
        verbose_name = _("revision")
        verbose_name_plural = _("revisions")
        constraints = [
            models.UniqueConstraint(fields=["document", "number"], name="revision_number")
        ]
        indexes = [
            # The worker asks these several times a second; finished rows cost nothing here.
            models.Index(
                fields=["id"],
                condition=Q(state__in=UNFINISHED_STATES),
                name="revision_unfinished",
            ),
            models.Index(
                fields=["retired_at"],
                condition=Q(retired_at__isnull=False, cleaned_at__isnull=True),
                name="revision_to_clean",
            ),
            models.Index(fields=["state", "-state_at"], name="revision_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.document_id}/{self.number}"

    @property
    def is_duplicate(self) -> bool:
        """Kept out of search because another document says the same."""
        return self.state == self.State.SKIPPED and self.duplicate_of_id is not None

    @property
    def is_unfinished(self) -> bool:
        return self.state in self.UNFINISHED

    def mark_duplicate_of(self, document: "Document") -> None:
        """Keep this version out of search, on a row that is not saved yet."""
        self.state = Revision.State.SKIPPED
        self.finished_at = self.state_at
        self.duplicate_of = document
        self.failure_code = "duplicate"
        self.failure_message = (
            f"The same bytes are searched already as {document.external_id}. "
            "Keep both, or delete this one."
        )

    def fail(self, owner: str, error: KnowledgeBaseError) -> bool:
        """Record why this version cannot be indexed, if `owner` still holds it."""
        now = timezone.now()
        return bool(
            Revision.objects.filter(pk=self.pk)
            .held_by(owner)
            .update(
                state=Revision.State.FAILED,
                state_at=now,
                finished_at=now,
                failure_code=error.code,
                failure_message=error.message,
                retryable=error.retryable,
                attempts=F("attempts") + 1,
                lease_owner="",
                lease_until=None,
            )
        )
