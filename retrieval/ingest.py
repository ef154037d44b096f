"""Accepted bytes → rows. What happens to them afterwards is the worker's (indexing.py).

Once one of these functions has returned, what it accepted is committed: any process may be
killed, and the document still becomes indexed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from retrieval.exceptions import FileTooLarge, SourceError
from retrieval.hashing import bytes_hash
from retrieval.models import Collection, Document, Revision
from retrieval.models.revision import original_path
from retrieval.parsers import is_supported

#: Files that are committed together when a folder is read.
ACCEPT_BATCH = 50


class Outcome(StrEnum):
    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    RETRIED = "retried"  #: the same bytes, which had failed before, are tried again


@dataclass(frozen=True, slots=True)
class Accepted:
    outcome: Outcome
    document: Document
    revision: Revision


@dataclass(frozen=True, slots=True)
class Failure:
    external_id: str
    code: str
    message: str


@dataclass(slots=True)
class FolderReport:
    """What reading folders did; every list holds external ids."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    @property
    def given(self) -> list[str]:
        return [*self.added, *self.updated, *self.unchanged, *self.retried]


@transaction.atomic
def accept(
    collection: Collection,
    *,
    external_id: str,
    filename: str,
    data: bytes,
    origin: Document.Origin,
    source: str = "",
    url: str = "",
) -> Accepted:
    """Take one version of a document.

    The same bytes under the same external id change nothing; other bytes become a new
    revision, and the old one keeps serving until the new one is indexed.

    Raises FileTooLarge; whatever else is wrong with the bytes is found by the worker, and
    said on the revision's row.
    """
    if len(data) > settings.MAX_FILE_SIZE:
        raise FileTooLarge(
            f"{filename} has {len(data):,} bytes; at most {settings.MAX_FILE_SIZE:,} are taken. "
            "Split it, or raise KBADMIN_MAX_FILE_SIZE."
        )
    external_id = external_id.replace("\0", "")[:500]
    document, is_new = Document.objects.select_for_update(of=("self",)).get_or_create(
        collection=collection,
        external_id=external_id,
        defaults={"origin": origin, "source": source, "url": url, "title": external_id},
    )
    digest = bytes_hash(data)
    latest = document.latest_revision
    if latest and document.deleted_at is None and latest.content_hash == digest:
        if latest.state == Revision.State.FAILED:
            Revision.objects.filter(pk=latest.pk).retry()
            return Accepted(Outcome.RETRIED, document, latest)
        if latest.state != Revision.State.CANCELLED:
            if source and document.source != source:
                document.source = source
                document.save(update_fields=["source"])
            return Accepted(Outcome.UNCHANGED, document, latest)
    was_alive = not is_new and document.deleted_at is None
    Revision.objects.filter(document=document).unfinished().supersede(timezone.now())
    revision = Revision(
        document=document,
        number=latest.number + 1 if latest else 1,
        filename=PurePosixPath(filename).name[:500],
        size=len(data),
        content_hash=digest,
    )
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
    return Accepted(Outcome.UPDATED if was_alive else Outcome.ADDED, document, revision)


def store_original(revision: Revision, data: bytes) -> str:
    """Keep the bytes under their hash, once; returns the name in storage."""
    name = original_path(revision, revision.filename)
    if default_storage.exists(name):
        if default_storage.size(name) == len(data):
            return name
        # Left half-written by a process that was killed.
        default_storage.delete(name)
    return default_storage.save(name, ContentFile(data))


def files_below(path: Path) -> Iterator[tuple[str, Path]]:
    """(external id, file) of every readable kind of file below a folder, or of one file."""
    if path.is_file():
        yield path.name, path
        return
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        hidden = any(part.startswith(".") for part in relative.parts)
        if not hidden and file.is_file() and is_supported(file.name):
            yield relative.as_posix(), file


def accept_folders(collection: Collection, paths: list[Path], *, prune: bool) -> FolderReport:
    """Accept every document below the paths; external ids are relative to each path.

    With `prune`, documents that were read from one of these folders before and are gone from
    it are deleted.

    Raises SourceError, before anything is changed, if a path is missing or two files would
    get the same external id.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path} does not exist.")
        if path.is_file() and not is_supported(path.name):
            raise SourceError(f"{path} is not of a kind that can be read.")
        for external_id, file in files_below(path):
            if external_id in found and found[external_id][1] != file:
                raise SourceError(
                    f"{found[external_id][1]} and {file} would both become {external_id}. "
                    "Ingest their common parent folder, or into two collections."
                )
            found[external_id] = (path, file)
    report = FolderReport()
    known = {
        external_id: (digest, state, source)
        for external_id, digest, state, source in Document.objects.filter(
            collection=collection, deleted_at=None
        ).values_list(
            "external_id", "latest_revision__content_hash", "latest_revision__state", "source"
        )
    }
    settled = {Revision.State.FAILED, Revision.State.CANCELLED}
    changed: list[tuple[str, str, Path, bytes]] = []
    for external_id, (path, file) in found.items():
        source = str(path.resolve())
        try:
            data = file.read_bytes()
        except OSError as error:
            report.failed.append(
                Failure(external_id, "unreadable_file", f"{file}: {error.strerror}")
            )
            continue
        digest, state, known_source = known.get(external_id, ("", "", ""))
        if digest == bytes_hash(data) and state not in settled and known_source == source:
            report.unchanged.append(external_id)
            continue
        changed.append((external_id, source, file, data))
        if len(changed) >= ACCEPT_BATCH:
            _accept_batch(collection, changed, report)
            changed = []
    _accept_batch(collection, changed, report)
    if prune:
        report.removed = _prune(collection, [path for path in paths if path.is_dir()], set(found))
    return report


def _accept_batch(
    collection: Collection, files: list[tuple[str, str, Path, bytes]], report: FolderReport
) -> None:
    outcomes: list[tuple[Outcome, str]] = []
    failures: list[Failure] = []
    with transaction.atomic():
        for external_id, source, file, data in files:
            try:
                accepted = accept(
                    collection,
                    external_id=external_id,
                    filename=file.name,
                    data=data,
                    origin=Document.Origin.PATH,
                    source=source,
                )
            except FileTooLarge as error:
                failures.append(Failure(external_id, error.code, error.message))
            else:
                outcomes.append((accepted.outcome, external_id))
    # Reported only once committed.
    report.failed += failures
    for outcome, external_id in outcomes:
        getattr(report, outcome.value).append(external_id)


def _prune(collection: Collection, folders: list[Path], present: set[str]) -> list[str]:
    gone = [
        document
        for document in Document.objects.filter(
            collection=collection,
            deleted_at=None,
            source__in=[str(folder.resolve()) for folder in folders],
        ).only("pk", "external_id", "live_revision_id", "deleted_at")
        if document.external_id not in present
    ]
    with transaction.atomic():
        for document in gone:
            document.tombstone()
    return sorted(document.external_id for document in gone)
