"""Accepted bytes → rows. What happens to them afterwards is the worker's (indexing.py).

Once one of these functions has returned, what it accepted is committed: any process may be
killed, and the document still becomes indexed.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from retrieval.exceptions import FileTooLarge
from retrieval.hashing import bytes_hash
from retrieval.models import Collection, Document, Revision
from retrieval.models.revision import STAGED, original_path
from retrieval.tasks import notify

#: Option of a version that was edited here: the SHA-256 of the bytes that it was made from.
EDITED_FROM = "edited_from"


class Outcome(StrEnum):
    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"  #: another document has the same bytes; this one is not searched
    RETRIED = "retried"  #: the same bytes, which had failed before, are tried again


@dataclass(frozen=True, slots=True)
class Accepted:
    outcome: Outcome
    document: Document
    revision: Revision


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One of many files that are accepted together."""

    external_id: str
    filename: str
    data: bytes
    source: str = ""


def accept(
    collection: Collection,
    *,
    external_id: str,
    filename: str,
    data: bytes,
    origin: Document.Origin,
    source: str = "",
    url: str = "",
    options: dict[str, Any] | None = None,
) -> Accepted:
    """Take one version of a document.

    The same bytes under the same external id change nothing; other bytes become a new
    revision, and the old one keeps serving until the new one is indexed. Bytes that another
    document of the collection holds are kept as a duplicate, out of search, unless
    `options["keep_duplicate"]` says otherwise.

    Raises FileTooLarge; whatever else is wrong with the bytes is found by the worker, and
    said on the revision's row.
    """
    with transaction.atomic():
        accepted = _accept_locked(
            collection, external_id, filename, data, origin, source, url, options or {}, set()
        )
        if accepted.outcome != Outcome.UNCHANGED:
            notify()
    return accepted


def _accept_locked(
    collection: Collection,
    external_id: str,
    filename: str,
    data: bytes,
    origin: Document.Origin,
    source: str,
    url: str,
    options: dict[str, Any],
    doomed: set[int],
) -> Accepted:
    """`accept` in a transaction of the caller, who notifies the worker.

    A document in `doomed` is about to be deleted: nothing is a duplicate of it.
    """
    if len(data) > settings.MAX_FILE_SIZE:
        raise FileTooLarge(
            f"{filename} has {len(data):,} bytes; at most {settings.MAX_FILE_SIZE:,} are taken. "
            "Split it, or raise KBADMIN_MAX_FILE_SIZE."
        )
    external_id = storable(external_id)[:500]
    document, is_new = Document.objects.select_for_update(of=("self",)).get_or_create(
        collection=collection,
        external_id=external_id,
        defaults={"origin": origin, "source": source, "url": url, "title": external_id},
    )
    digest = bytes_hash(data)
    latest = document.latest_revision
    same = latest is not None and document.deleted_at is None and digest == source_hash(latest)
    if same and latest is not None and leaves_as_is(latest.options, options, latest.is_duplicate):
        if latest.state == Revision.State.FAILED:
            Revision.objects.filter(pk=latest.pk).retry()
            return Accepted(Outcome.RETRIED, document, latest)
        if latest.state != Revision.State.CANCELLED:
            if source and document.source != source:
                document.source = source
                document.save(update_fields=["source"])
            return Accepted(Outcome.UNCHANGED, document, latest)
    was_alive = not is_new and document.deleted_at is None
    if not is_new:
        Revision.objects.filter(document=document).unfinished().supersede(timezone.now())
    number = document.next_number() if latest else 1
    revision = _new_revision(document, number, filename, data, digest, options)
    # A document that is searched already keeps its place, whatever its new version equals.
    twin = None
    if not (options.get("keep_duplicate") or document.live_revision_id):
        twins = twins_of(document.collection_id, [digest], {document.pk, *doomed})
        twin = twins.get(digest)
    if twin is not None:
        revision.mark_duplicate_of(twin)
    revision.original.name = store_original(revision, data)
    revision.save(force_insert=True)
    document.latest_revision = revision
    document.origin = origin
    document.source = source or document.source
    document.url = url or document.url
    if document.deleted_at:
        document.deleted_at = None
        document.live_revision = None
    document.save()
    if not (same or is_new):
        document.release_duplicates()
    if twin is not None:
        return Accepted(Outcome.DUPLICATE, document, revision)
    return Accepted(Outcome.UPDATED if was_alive else Outcome.ADDED, document, revision)


def accept_batch(
    collection: Collection,
    files: Sequence[SourceFile],
    *,
    origin: Document.Origin,
    options: dict[str, Any],
    doomed: set[int],
) -> list[Outcome | FileTooLarge]:
    """`accept` for files that are committed together: what became of each, in their order.

    Those that are new to the collection cost a few queries for all of them: a writer that
    holds SQLite's only lock most of the time keeps the worker from beginning.
    """
    try:
        with transaction.atomic():
            results = _accept_batch(collection, files, origin, options, doomed)
            notify()
    except IntegrityError:
        # Somebody else has just added one of them: take them one at a time, under its lock.
        results = {}
        with transaction.atomic():
            for number, file in enumerate(files):
                results[number] = _accept_one(collection, file, origin, options, doomed)
            notify()
    return [results[number] for number in range(len(files))]


def _accept_batch(
    collection: Collection,
    files: Sequence[SourceFile],
    origin: Document.Origin,
    options: dict[str, Any],
    doomed: set[int],
) -> dict[int, Outcome | FileTooLarge]:
    names = [storable(file.external_id)[:500] for file in files]
    taken = set(
        Document.objects.filter(collection=collection, external_id__in=names).values_list(
            "external_id", flat=True
        )
    )
    fresh: dict[int, SourceFile] = {}
    results: dict[int, Outcome | FileTooLarge] = {}
    for number, (name, file) in enumerate(zip(names, files, strict=True)):
        if name in taken or len(file.data) > settings.MAX_FILE_SIZE:
            results[number] = _accept_one(collection, file, origin, options, doomed)
        else:
            taken.add(name)
            fresh[number] = file
    documents = Document.objects.bulk_create(
        Document(
            collection=collection,
            external_id=names[number],
            title=names[number],
            origin=origin,
            source=file.source,
        )
        for number, file in fresh.items()
    )
    digests = [bytes_hash(file.data) for file in fresh.values()]
    twins = {} if options.get("keep_duplicate") else twins_of(collection.pk, digests, doomed)
    revisions = []
    for (number, file), document, digest in zip(fresh.items(), documents, digests, strict=True):
        revision = _new_revision(document, 1, file.filename, file.data, digest, options)
        results[number] = Outcome.ADDED
        if digest in twins:
            revision.mark_duplicate_of(twins[digest])
            results[number] = Outcome.DUPLICATE
        elif not options.get("keep_duplicate"):
            twins[digest] = document
        revision.original.name = store_original(revision, file.data)
        revisions.append(revision)
    Revision.objects.bulk_create(revisions)
    newest = Revision.objects.filter(document=OuterRef("pk")).values("pk")[:1]
    Document.objects.filter(pk__in=[document.pk for document in documents]).update(
        latest_revision=Subquery(newest)
    )
    return results


def _new_revision(
    document: Document,
    number: int,
    filename: str,
    data: bytes,
    digest: str,
    options: dict[str, Any],
) -> Revision:
    return Revision(
        document=document,
        number=number,
        filename=PurePosixPath(storable(filename)).name[:500],
        size=len(data),
        content_hash=digest,
        options=options,
    )


def _accept_one(
    collection: Collection,
    file: SourceFile,
    origin: Document.Origin,
    options: dict[str, Any],
    doomed: set[int],
) -> Outcome | FileTooLarge:
    try:
        return _accept_locked(
            collection,
            file.external_id,
            file.filename,
            file.data,
            origin,
            file.source,
            "",
            options,
            doomed,
        ).outcome
    except FileTooLarge as error:
        return error


def leaves_as_is(known: dict[str, Any], wanted: dict[str, Any], is_duplicate: bool) -> bool:
    """Whether the same bytes with the options `wanted` change nothing about a document.

    Being kept beside its twin is a decision about the document that nobody has to repeat.
    """
    if wanted.get("keep_duplicate") and is_duplicate:
        return False
    decisions = {"keep_duplicate": True, EDITED_FROM: "", STAGED: []}
    return {**known, **decisions} == {**wanted, **decisions}


def source_hash(revision: Revision) -> str:
    """The hash of the bytes that a version stands for: the source's, where it was edited here.

    So an edit stays until the source itself changes, however often that is read again.
    """
    return str(revision.options.get(EDITED_FROM, revision.content_hash))


@transaction.atomic
def keep_duplicates(documents: QuerySet[Document]) -> int:
    """Index documents although others have the same bytes; returns how many were kept out of
    search because of that until now."""
    kept_out = Revision.objects.filter(
        pk__in=documents.order_by().values("latest_revision"),
        state=Revision.State.SKIPPED,
        failure_code="duplicate",
    )
    by_options: dict[str, list[int]] = defaultdict(list)
    for pk, options in kept_out.select_for_update().values_list("pk", "options"):
        by_options[json.dumps(options, sort_keys=True)].append(pk)
    for options, keys in by_options.items():
        # Said on the row, so that it also holds when the worker begins again.
        Revision.objects.filter(pk__in=keys).update(
            options={**json.loads(options), "keep_duplicate": True}
        )
    keys = [pk for group in by_options.values() for pk in group]
    if keys:
        notify()
    return Revision.objects.filter(pk__in=keys).requeue()


def twins_of(collection_id: int, digests: list[str], excluded: set[int]) -> dict[str, Document]:
    """By digest the first document of the collection that says the same, byte for byte."""
    rows = (
        Document.objects.filter(
            collection=collection_id,
            deleted_at=None,
            latest_revision__content_hash__in=digests,
            latest_revision__duplicate_of=None,
        )
        .exclude(pk__in=excluded)
        .exclude(latest_revision__state__in=[Revision.State.FAILED, Revision.State.CANCELLED])
        .select_related("latest_revision")
        .defer("latest_revision__text", "latest_revision__metadata")
        .order_by("-pk")
    )
    return {
        document.latest_revision.content_hash: document
        for document in rows
        if document.latest_revision
    }


def store_original(revision: Revision, data: bytes) -> str:
    """Keep the bytes under their hash, once; returns the name in storage."""
    name = original_path(revision, revision.filename)
    if default_storage.exists(name):
        if default_storage.size(name) == len(data):
            return name
        # Left half-written by a process that was killed.
        default_storage.delete(name)
    return default_storage.save(name, ContentFile(data))


def storable(name: str) -> str:
    """A name as databases take it: a file's may hold bytes that are no Unicode."""
    return name.replace("\0", "").encode("utf-8", "replace").decode()
