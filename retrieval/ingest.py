"""Accepted bytes → rows. What happens to them afterwards is the worker's (indexing.py).

Once one of these functions has returned, what it accepted is committed: any process may be
killed, and the document still becomes indexed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

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
from retrieval.tasks import notify

#: Files that are committed together when a folder is read.
ACCEPT_BATCH = 50


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
    duplicate: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    left_out: int = 0  #: files of kinds that cannot be read

    @property
    def given(self) -> list[str]:
        parts = (self.added, self.updated, self.unchanged, self.retried, self.duplicate)
        return [external_id for part in parts for external_id in part]


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
        accepted = _accept(
            collection, external_id, filename, data, origin, source, url, options or {}, set()
        )
        if accepted.outcome != Outcome.UNCHANGED:
            notify()
    return accepted


def _accept(
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
    """`accept` inside a transaction; a document in `doomed` is about to be deleted, and
    nothing is a duplicate of it."""
    if len(data) > settings.MAX_FILE_SIZE:
        raise FileTooLarge(
            f"{filename} has {len(data):,} bytes; at most {settings.MAX_FILE_SIZE:,} are taken. "
            "Split it, or raise KBADMIN_MAX_FILE_SIZE."
        )
    external_id, filename = storable(external_id)[:500], storable(filename)
    document, is_new = Document.objects.select_for_update(of=("self",)).get_or_create(
        collection=collection,
        external_id=external_id,
        defaults={"origin": origin, "source": source, "url": url, "title": external_id},
    )
    digest = bytes_hash(data)
    latest = document.latest_revision
    same = latest is not None and document.deleted_at is None and latest.content_hash == digest
    if same and latest is not None and latest.options == options:
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
        options=options,
    )
    # A document that is searched already keeps its place, whatever its new version equals.
    twin = None
    if not (options.get("keep_duplicate") or document.live_revision_id):
        twin = _twin(document, digest, doomed)
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
    if not same:
        document.release_duplicates()
    if twin is not None:
        return Accepted(Outcome.DUPLICATE, document, revision)
    return Accepted(Outcome.UPDATED if was_alive else Outcome.ADDED, document, revision)


def keep_duplicate(document: Document) -> bool:
    """Index a document although another one has the same bytes; returns whether it was kept
    out of search because of that until now."""
    with transaction.atomic():
        locked = Document.objects.select_for_update(of=("self",)).get(pk=document.pk)
        duplicate = Revision.objects.filter(
            pk=locked.latest_revision_id or 0,
            state=Revision.State.SKIPPED,
            failure_code="duplicate",
        )
        revision = duplicate.only("options").first()
        if revision is None:
            return False
        # Said on the row, so that it also holds when the worker begins again.
        duplicate.update(options={**revision.options, "keep_duplicate": True})
        Revision.objects.filter(pk=revision.pk).requeue()
        notify()
    return True


def _twin(document: Document, digest: str, doomed: set[int]) -> Document | None:
    """Another document of the collection that says the same, byte for byte."""
    return (
        Document.objects.filter(
            collection=document.collection_id,
            deleted_at=None,
            latest_revision__content_hash=digest,
            latest_revision__duplicate_of=None,
        )
        .exclude(pk__in=[document.pk, *doomed])
        .exclude(latest_revision__state__in=[Revision.State.FAILED, Revision.State.CANCELLED])
        .order_by("pk")
        .first()
    )


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
        yield storable(path.name), path
        return
    for file in _visible_files(path):
        if is_supported(file.name):
            yield storable(file.relative_to(path).as_posix()), file


def storable(name: str) -> str:
    """A name as databases take it: a file's may hold bytes that are no Unicode."""
    return name.replace("\0", "").encode("utf-8", "replace").decode()


def _visible_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.is_file():
            yield file


def _count_unreadable(folder: Path) -> int:
    return sum(not is_supported(file.name) for file in _visible_files(folder))


def accept_folders(
    collection: Collection, paths: list[Path], *, prune: bool, keep_duplicates: bool = False
) -> FolderReport:
    """Accept every document below the paths; external ids are relative to each path.

    With `prune`, documents that were read from one of these folders before and are gone from
    it are deleted.

    Raises SourceError, before anything is changed, if a path is missing or two files would
    get the same external id.
    """
    found = _find_files(paths)
    folders = [path for path in paths if path.is_dir()]
    gone = _gone(collection, folders, set(found)) if prune else []
    reader = FolderReader(
        collection=collection,
        options={"keep_duplicate": True} if keep_duplicates else {},
        doomed={document.pk for document in gone},
    )
    report = reader.read(found)
    report.left_out = sum(_count_unreadable(folder) for folder in folders)
    if gone:
        with transaction.atomic():
            for document in gone:
                document.tombstone()
        report.removed = sorted(document.external_id for document in gone)
    return report


def _find_files(paths: list[Path]) -> dict[str, tuple[Path, Path]]:
    """External id → (given path, file)."""
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
    return found


@dataclass(slots=True)
class FolderReader:
    """Takes what has changed among files, in batches; what has not costs a hash each."""

    collection: Collection
    options: dict[str, Any]
    doomed: set[int]
    report: FolderReport = field(default_factory=FolderReport)

    def read(self, found: dict[str, tuple[Path, Path]]) -> FolderReport:
        known = self._known()
        changed: list[tuple[str, str, Path, bytes]] = []
        for external_id, (path, file) in found.items():
            source = str(path.resolve())
            try:
                data = file.read_bytes()
            except OSError as error:
                self.report.failed.append(
                    Failure(external_id, "unreadable_file", f"{file}: {error.strerror}")
                )
                continue
            if known.get(external_id) == (bytes_hash(data), source, self.options):
                self.report.unchanged.append(external_id)
                continue
            changed.append((external_id, source, file, data))
            if len(changed) >= ACCEPT_BATCH:
                self._accept(changed)
                changed = []
        self._accept(changed)
        return self.report

    def _known(self) -> dict[str, tuple[str, str, dict[str, Any]]]:
        """Hash, source and options of the documents that would be left as they are."""
        again = [Revision.State.FAILED, Revision.State.CANCELLED]
        rows = (
            Document.objects.filter(collection=self.collection, deleted_at=None)
            .exclude(latest_revision__state__in=again)
            .values_list(
                "external_id",
                "latest_revision__content_hash",
                "source",
                "latest_revision__options",
            )
        )
        return {
            external_id: (digest, source, options) for external_id, digest, source, options in rows
        }

    def _accept(self, files: list[tuple[str, str, Path, bytes]]) -> None:
        outcomes: list[tuple[Outcome, str]] = []
        with transaction.atomic():
            for external_id, source, file, data in files:
                try:
                    accepted = _accept(
                        self.collection,
                        external_id,
                        file.name,
                        data,
                        Document.Origin.PATH,
                        source,
                        "",
                        self.options,
                        self.doomed,
                    )
                except FileTooLarge as error:
                    self.report.failed.append(Failure(external_id, error.code, error.message))
                else:
                    outcomes.append((accepted.outcome, external_id))
            if files:
                notify()
        # Reported only once committed.
        for outcome, external_id in outcomes:
            getattr(self.report, outcome.value).append(external_id)


def _gone(collection: Collection, folders: list[Path], present: set[str]) -> list[Document]:
    """Documents that were read from these folders, and are not in them any more."""
    return [
        document
        for document in Document.objects.filter(
            collection=collection,
            deleted_at=None,
            source__in=[str(folder.resolve()) for folder in folders],
        ).only("pk", "external_id", "live_revision_id", "deleted_at")
        if document.external_id not in present
    ]
