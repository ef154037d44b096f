"""How much a file may be; the defaults are those of the settings."""

from dataclasses import dataclass

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that every parser keeps. Each error that they cause names its setting."""

    max_pages: int = 2000  #: pages of a PDF, slides, sheets
    max_characters: int = 5_000_000  #: of text read from one document
    zip_entries: int = 1000
    zip_bytes: int = 200 * MEGABYTE  #: unpacked, also of the ZIP that an Office file is
    zip_ratio: int = 100  #: unpacked to packed, of archives
    memory_bytes: int = 512 * MEGABYTE  #: of the process that reads, its libraries included


DEFAULT_LIMITS = Limits()
