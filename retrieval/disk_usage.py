"""How much of the disk an index takes, as far as Chroma's own files say.

Chroma keeps the graph of each index in a folder of its own, and the records of all indexes
together in one database. Both can be seen only where Chroma runs on this machine.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

#: Seconds to wait for a lock on Chroma's database.
PATIENCE = 0.2


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """In bytes."""

    own: int  #: files of this index alone; 0 while Chroma has only noted its newest records
    shared: int  #: the database that holds the records of all indexes


def disk_usage(folder: Path, name: str) -> DiskUsage | None:
    """What a physical collection takes in Chroma's data folder; None where it cannot be seen."""
    database = folder / "chroma.sqlite3"
    try:
        shared = size(database) + size(database.with_name("chroma.sqlite3-wal"))
        segments = _segments(database, name)
        if segments is None:
            return None
        own = sum(
            file.stat().st_size
            for segment in segments
            if (folder / segment).is_dir()
            for file in (folder / segment).iterdir()
        )
    except OSError:
        return None  # not here, or dropped this moment
    return DiskUsage(own, shared) if shared else None


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _segments(database: Path, name: str) -> tuple[str, ...] | None:
    """The folders that belong to a physical collection."""
    if not database.exists():
        return None
    try:
        return _read_segments(database, name)
    except (sqlite3.Error, LookupError):
        return None


@lru_cache(maxsize=256)
def _read_segments(database: Path, name: str) -> tuple[str, ...]:
    """Raises LookupError if Chroma does not know the collection, so that this is not kept."""
    uri = f"{database.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection:
        rows = connection.execute(
            "SELECT segments.id FROM segments JOIN collections "
            "ON segments.collection = collections.id WHERE collections.name = ?",
            [name],
        ).fetchall()
    if not rows:
        raise LookupError(name)
    return tuple(row[0] for row in rows)
