"""Folders of files → rows: what has changed is accepted, what has not costs a hash each."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import transaction

from retrieval.exceptions import FileTooLarge, SourceError
from retrieval.hashing import bytes_hash
from retrieval.ingest import EDITED_FROM, SourceFile, accept_batch, leaves_as_is, storable
from retrieval.models import Collection, Document, Revision
from retrieval.parsers import is_supported

#: Files that are committed together.
ACCEPT_BATCH = 50


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
        changed: list[SourceFile] = []
        for external_id, (path, file) in found.items():
            source = str(path.resolve())
            try:
                data = file.read_bytes()
            except OSError as error:
                self.report.failed.append(
                    Failure(external_id, "unreadable_file", f"{file}: {error.strerror}")
                )
                continue
            if known.get(external_id) == (bytes_hash(data), source):
                self.report.unchanged.append(external_id)
                continue
            changed.append(SourceFile(external_id, file.name, data, source))
            if len(changed) >= ACCEPT_BATCH:
                self._accept(changed)
                changed = []
        self._accept(changed)
        return self.report

    def _known(self) -> dict[str, tuple[str, str]]:
        """Hash and source of the documents that the same bytes would leave as they are."""
        again = [Revision.State.FAILED, Revision.State.CANCELLED]
        rows = (
            Document.objects.filter(collection=self.collection, deleted_at=None)
            .exclude(latest_revision__state__in=again)
            .values_list(
                "external_id",
                "latest_revision__content_hash",
                "source",
                "latest_revision__options",
                "latest_revision__duplicate_of",
            )
        )
        return {
            external_id: (options.get(EDITED_FROM, digest), source)
            for external_id, digest, source, options, twin in rows
            if leaves_as_is(options, self.options, twin is not None)
        }

    def _accept(self, files: list[SourceFile]) -> None:
        if not files:
            return
        results = accept_batch(
            self.collection,
            files,
            origin=Document.Origin.PATH,
            options=self.options,
            doomed=self.doomed,
        )
        # Reported only once committed.
        for file, result in zip(files, results, strict=True):
            if isinstance(result, FileTooLarge):
                self.report.failed.append(Failure(file.external_id, result.code, result.message))
            else:
                getattr(self.report, result.value).append(file.external_id)


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


def files_below(path: Path) -> Iterator[tuple[str, Path]]:
    """(external id, file) of every readable kind of file below a folder, or of one file."""
    if path.is_file():
        yield storable(path.name), path
        return
    for file in _visible_files(path):
        if is_supported(file.name):
            yield storable(file.relative_to(path).as_posix()), file


def _visible_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.is_file():
            yield file


def _count_unreadable(folder: Path) -> int:
    return sum(not is_supported(file.name) for file in _visible_files(folder))
