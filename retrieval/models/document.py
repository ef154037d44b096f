from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from retrieval.models.revision import Revision

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager


class DocumentQuerySet(models.QuerySet["Document"]):
    def alive(self) -> "DocumentQuerySet":
        return self.filter(deleted_at=None, collection__deleted_at=None)

    def searchable(self) -> "DocumentQuerySet":
        return self.alive().filter(live_revision__isnull=False)


class Document(models.Model):
    """One source in a collection. What it says is in its revisions: the live one is searched,
    the latest one is the newest that was accepted, and between them lies the worker's work.
    """

    class Origin(models.TextChoices):
        PATH = "path", _("folder")
        UPLOAD = "upload", _("upload")
        WEB = "web", _("web page")
        API = "api", _("API")
        FEEDBACK = "feedback", _("feedback")

    if TYPE_CHECKING:
        revisions: RelatedManager[Revision]

    collection = models.ForeignKey(
        "retrieval.Collection",
        models.CASCADE,
        related_name="documents",
        verbose_name=_("collection"),
    )
    external_id = models.CharField(
        _("external id"), max_length=500, help_text=_("Path or address; unique in its collection.")
    )
    origin = models.CharField(_("origin"), max_length=16, choices=Origin, default=Origin.UPLOAD)
    source = models.CharField(
        _("source"),
        max_length=1000,
        blank=True,
        help_text=_("The folder it was read from: pruning that folder removes only its own."),
    )
    title = models.CharField(_("title"), max_length=500, blank=True)
    url = models.URLField(_("address"), max_length=2000, blank=True)
    latest_revision = models.ForeignKey(
        Revision,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("latest revision"),
    )
    live_revision = models.ForeignKey(
        Revision,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("live revision"),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)
    deleted_at = models.DateTimeField(_("deleted at"), null=True, blank=True, editable=False)

    objects = DocumentQuerySet.as_manager()

    class Meta:
        verbose_name = _("document")
        verbose_name_plural = _("documents")
        constraints = [
            models.UniqueConstraint(
                fields=["collection", "external_id"], name="document_external_id"
            )
        ]
        indexes = [
            models.Index(fields=["collection", "source"], name="document_source"),
            models.Index(fields=["-updated_at"], name="document_recent"),
        ]

    def __str__(self) -> str:
        return self.title or self.external_id

    def tombstone(self) -> None:
        """Hide from every search from this commit on; the worker cleans up behind."""
        now = timezone.now()
        self.deleted_at = now
        self.save(update_fields=["deleted_at", "updated_at"])
        own = Revision.objects.filter(document=self)
        own.unfinished().supersede(now)
        if self.live_revision_id:
            own.filter(pk=self.live_revision_id).retire(now)
        self.release_duplicates()
        # What was taken out of an archive goes with it.
        for member in Document.objects.filter(
            collection=self.collection_id, source=self.member_source, deleted_at=None
        ):
            member.tombstone()

    @property
    def member_source(self) -> str:
        """Where documents that were taken out of this archive say that they come from."""
        return f"zip:{self.pk}"

    def release_duplicates(self) -> int:
        """One of those that were kept out of search because this document said the same is
        indexed in its place, and the others are duplicates of that one; returns how many."""
        kept_out = Revision.objects.filter(duplicate_of=self, state=Revision.State.SKIPPED)
        heir = kept_out.order_by("pk").first()
        if heir is None:
            return 0
        Revision.objects.filter(pk=heir.pk).requeue()
        return 1 + kept_out.update(duplicate_of=heir.document_id)
