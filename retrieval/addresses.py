"""Addresses of pages → documents: accepted as rows at once, fetched by the worker later."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from retrieval import fetching
from retrieval.exceptions import FetchUnreachable, KnowledgeBaseError, UnexpectedFailure
from retrieval.hashing import bytes_hash
from retrieval.ingest import Accepted, Outcome, storable, store_original, twins_of
from retrieval.leases import free_of_others
from retrieval.models import Collection, Document, Revision
from retrieval.tasks import notify

logger = logging.getLogger(__name__)

#: Seconds until a site that did not answer is asked again; then it fails.
DELAYS = (5.0, 30.0)
#: How often a worker may die over a page before it is given up.
MAX_CRASHES = 3


def accept_address(collection: Collection, address: str) -> Accepted:
    """Take the page at an address: its row is committed, its bytes follow.

    A page that is fetched already waits for that; one that failed is tried again. Raises
    InvalidAddress.
    """
    url = fetching.normalise(address)
    with transaction.atomic():
        document, is_new = Document.objects.select_for_update(of=("self",)).get_or_create(
            collection=collection,
            external_id=url,
            defaults={"origin": Document.Origin.WEB, "url": url, "title": url},
        )
        was_alive = not is_new and document.deleted_at is None
        latest = document.latest_revision
        notify()
        if was_alive and latest is not None and not latest.content_hash:
            first = latest.number == 1
            if latest.state == Revision.State.FAILED:
                Revision.objects.filter(pk=latest.pk).retry()
                return Accepted(Outcome.RETRIED, document, latest)
            if latest.is_unfinished:
                return Accepted(Outcome.ADDED if first else Outcome.UPDATED, document, latest)
        Revision.objects.filter(document=document).unfinished().supersede(timezone.now())
        revision = Revision.objects.create(
            document=document,
            number=document.next_number() if latest else 1,
            filename=url,
            size=0,
            content_hash="",
        )
        document.latest_revision = revision
        document.origin, document.url = Document.Origin.WEB, url
        if document.deleted_at:
            document.deleted_at = None
            document.live_revision = None
        document.save()
    return Accepted(Outcome.UPDATED if was_alive else Outcome.ADDED, document, revision)


def claim(owner: str, limit: int) -> list[Revision]:
    """Take the next pages that wait to be fetched, with a lease."""
    now = timezone.now()
    waiting = Revision.objects.fetchable(now).select_related("document").order_by("crashes", "pk")
    if not waiting.exists():
        return []
    with transaction.atomic():
        taken = list(free_of_others(waiting)[:limit])
        Revision.objects.filter(pk__in=[revision.pk for revision in taken]).update(
            state=Revision.State.FETCHING,
            state_at=now,
            lease_owner=owner,
            lease_until=now + timedelta(seconds=settings.LEASE_SECONDS),
        )
    return taken


def fetch(owner: str, revision: Revision) -> None:
    """Fetch a page that `owner` has claimed and queue it for indexing, or say why not."""
    if revision.crashes >= MAX_CRASHES:
        revision.fail(
            owner,
            UnexpectedFailure(
                f"The worker died {revision.crashes} times while it fetched this page. "
                "Save the page and upload the file."
            ),
        )
        return
    try:
        page = fetching.fetch(
            revision.document.url,
            max_bytes=settings.MAX_FILE_SIZE,
            allowed_hosts=settings.FETCH_ALLOWED_HOSTS,
        )
        data = fetching.content_of(page)
        revision.filename = storable(fetching.filename_of(page))[-500:]
        revision.content_hash = bytes_hash(data)
        name = _keep(revision, data)
    except KnowledgeBaseError as error:
        if error.retryable and revision.attempts < len(DELAYS):
            mine = Revision.objects.filter(pk=revision.pk)
            mine.postpone(owner, error, DELAYS[revision.attempts])
        else:
            revision.fail(owner, error)
        return
    except Exception as error:
        logger.exception("fetching %s failed", revision.document.url)
        revision.fail(
            owner, UnexpectedFailure(f"Fetching this page failed ({type(error).__name__}).")
        )
        return
    _queue(owner, revision, name, len(data))


def _keep(revision: Revision, data: bytes) -> str:
    try:
        return store_original(revision, data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FetchUnreachable(f"The page could not be stored: {reason}.") from error


def _queue(owner: str, revision: Revision, name: str, size: int) -> None:
    """Queue a version that has its bytes now, if `owner` still holds it; a page that has not
    changed since the version before leaves no trace."""
    with transaction.atomic():
        document = Document.objects.select_for_update(of=("self",)).get(pk=revision.document_id)
        held = Revision.objects.filter(pk=revision.pk, state=Revision.State.FETCHING)
        if not held.held_by(owner).select_for_update().exists():
            return
        previous = (
            document.revisions.exclude(pk=revision.pk)
            .defer("text", "metadata")
            .order_by("-number")
            .first()
        )
        same = previous is not None and previous.content_hash == revision.content_hash
        if same and previous is not None and _is_in_force(document, previous):
            document.latest_revision = previous
            document.save(update_fields=["latest_revision"])
            held.delete()
            return
        twin = None
        if not (document.live_revision_id or revision.options.get("keep_duplicate")):
            digest = revision.content_hash
            twin = twins_of(document.collection_id, [digest], {document.pk}).get(digest)
        revision.state, revision.state_at = Revision.State.QUEUED, timezone.now()
        revision.failure_code = revision.failure_message = revision.lease_owner = ""
        revision.lease_until = None
        revision.attempts = revision.crashes = 0
        if twin is not None:
            revision.mark_duplicate_of(twin)
        revision.original.name, revision.size = name, size
        revision.save()
        if previous is not None and not same:
            document.release_duplicates()
        notify()


def _is_in_force(document: Document, revision: Revision) -> bool:
    """Whether a version is what the document shows, or was left out for a reason that holds."""
    if revision.state == Revision.State.SKIPPED:
        return revision.retired_at is None
    return revision.pk == document.live_revision_id and not document.deleted_at
