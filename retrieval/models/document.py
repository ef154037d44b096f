from typing import TYPE_CHECKING

from django.db import models, transaction
from django.db.models import Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from retrieval.models.revision import Revision

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager

#: What the source of a document begins with that was taken out of an archive.
MEMBER_SOURCE = "zip:"


class DocumentQuerySet(models.QuerySet["Document"]):
    def alive(self) -> "DocumentQuerySet":
        return self.filter(deleted_at=None, collection__deleted_at=None)

    def searchable(self) -> "DocumentQuerySet":
        return self.alive().filter(live_revision__isnull=False)

    def members(self) -> "DocumentQuerySet":
        """What was taken out of these documents, if they are archives, whatever became of a newer
        version of them."""
        named = self.order_by().annotate(
            name=Concat(Value(MEMBER_SOURCE), Cast("pk", models.CharField()))
        )
        # The collection is there for the index.
        return Document.objects.filter(
            collection__in=self.order_by().values("collection"), source__in=named.values("name")
        )

    @transaction.atomic
    def tombstone(self) -> int:
        """Hide documents, and what was taken out of archives among them, from every search from
        this commit on; the worker cleans up behind. In a few queries for all of them.

        One of those that were kept out of search for saying the same is indexed instead.
        """
        now = timezone.now()
        chosen = set(self.filter(deleted_at=None).values_list("pk", flat=True))
        doomed, more = set(chosen), chosen
        while more:
            members = Document.objects.filter(pk__in=more).members().filter(deleted_at=None)
            more = set(members.values_list("pk", flat=True)) - doomed
            doomed |= more
        # First what the worker locks first when a version goes live: each waits for the other
        # once, and whoever comes second sees what the first one did.
        in_work = Revision.objects.filter(document__in=doomed).unfinished()
        list(in_work.select_for_update().order_by("pk").values_list("pk", flat=True))
        documents = Document.objects.filter(pk__in=doomed)
        documents.update(deleted_at=now, updated_at=now)
        in_work.supersede(now)
        Revision.objects.filter(document__in=doomed).staged().withdraw(now)
        Revision.objects.filter(pk__in=documents.values("live_revision")).retire(now)
        kept_out = (
            Revision.objects.filter(duplicate_of__in=doomed, state=Revision.State.SKIPPED)
            .exclude(document__in=doomed)
            .values_list("duplicate_of", flat=True)
        )
        for document in Document.objects.filter(pk__in=set(kept_out)):
            document.release_duplicates()
        return len(chosen)


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
    moving_to = models.ForeignKey(
        "retrieval.Collection",
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        db_index=False,
        related_name="+",
        verbose_name=_("moving to"),
        help_text=_("Where the worker is taking it; until then it is searched where it is."),
    )
    move_failure = models.TextField(_("why it was not moved"), blank=True, editable=False)
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
            models.Index(fields=["collection", "-updated_at"], name="document_recent_of"),
            # The worker asks for these several times a second; all others cost nothing here.
            models.Index(
                fields=["moving_to"],
                condition=models.Q(moving_to__isnull=False),
                name="document_moving",
            ),
        ]

    def __str__(self) -> str:
        return self.title or self.external_id

    def tombstone(self) -> None:
        """Hide from every search from this commit on; the worker cleans up behind. Whatever has
        gone live since this row was read is retired, too."""
        Document.objects.filter(pk=self.pk).tombstone()
        self.refresh_from_db(fields=["deleted_at", "updated_at"])

    def next_number(self) -> int:
        """What its next version is called: the newest one may have been withdrawn."""
        last = Revision.objects.filter(document=self).aggregate(last=models.Max("number"))["last"]
        return (last or 0) + 1

    @property
    def member_source(self) -> str:
        """Where documents that were taken out of this archive say that they come from."""
        return f"{MEMBER_SOURCE}{self.pk}"

    def release_duplicates(self) -> int:
        """One of those that were kept out of search because this document said the same is
        indexed in its place, and the others are duplicates of that one; returns how many."""
        kept_out = Revision.objects.filter(
            duplicate_of=self, state=Revision.State.SKIPPED, document__deleted_at=None
        )
        heir = kept_out.order_by("pk").first()
        if heir is None:
            return 0
        Revision.objects.filter(pk=heir.pk).requeue()
        return 1 + kept_out.update(duplicate_of=heir.document_id)
