"""What a file is: decided by its content first, then by its name."""

import io
import re
import zipfile
import zlib
from enum import StrEnum
from pathlib import PurePosixPath

from retrieval.exceptions import (
    DamagedFile,
    EncryptedFile,
    LegacyOffice,
    NoText,
    UnsupportedFormat,
    WrongType,
)


class Format(StrEnum):
    MARKDOWN = "Markdown"
    TEXT = "plain text"
    HTML = "HTML"
    PDF = "PDF"
    DOCX = "Word (.docx)"
    PPTX = "PowerPoint (.pptx)"
    XLSX = "Excel (.xlsx)"
    CSV = "CSV"
    JSONL = "JSONL"
    ZIP = "ZIP"


BY_SUFFIX: dict[str, Format] = {
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".txt": Format.TEXT,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".xhtml": Format.HTML,
    ".pdf": Format.PDF,
    ".docx": Format.DOCX,
    ".pptx": Format.PPTX,
    ".xlsx": Format.XLSX,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".zip": Format.ZIP,
}
#: Formats whose bytes say what they are.
BINARY = {Format.PDF, Format.DOCX, Format.PPTX, Format.XLSX, Format.ZIP}
LEGACY_SUFFIXES = {".doc": ".docx", ".dot": ".docx", ".xls": ".xlsx", ".ppt": ".pptx"}

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: The main part of each kind of Office file, as [Content_Types].xml names it.
OFFICE_PARTS = (
    (b"wordprocessingml.document.main+xml", Format.DOCX),
    (b"wordprocessingml.template.main+xml", Format.DOCX),
    (b"ms-word.document.macroEnabled.main+xml", Format.DOCX),
    (b"presentationml.presentation.main+xml", Format.PPTX),
    (b"presentationml.slideshow.main+xml", Format.PPTX),
    (b"ms-powerpoint.presentation.macroEnabled.main+xml", Format.PPTX),
    (b"spreadsheetml.sheet.main+xml", Format.XLSX),
    (b"ms-excel.sheet.macroEnabled.main+xml", Format.XLSX),
)
CONTENT_TYPES = "[Content_Types].xml"
#: What people upload by mistake: (first bytes, what it is).
FOREIGN = (
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"{\\rtf", "a rich text file (RTF); save it as .docx"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; pack it as .zip"),
    (b"Rar!\x1a\x07", "a RAR archive; pack it as .zip"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it first"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file"),
    (b"%!PS", "a PostScript file; save it as PDF"),
)
HTML_START = re.compile(
    r"\A\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
#: Bytes at the start in which a signature is looked for.
HEAD = 4096


def suffix_of(filename: str) -> str:
    return PurePosixPath(filename.lower()).suffix


def is_supported(filename: str) -> bool:
    """Whether the name is of a kind that can be read, archives included."""
    return suffix_of(filename) in BY_SUFFIX


def detect(filename: str, data: bytes) -> Format:
    """The format to read a file as.

    Raises:
        UnsupportedFormat: neither the name nor the content is of a known kind.
        WrongType: the content is something else than the name says, and no document.
        LegacyOffice, EncryptedFile, DamagedFile: found while looking inside.
        NoText: there are no bytes.
    """
    suffix = suffix_of(filename)
    named = BY_SUFFIX.get(suffix)
    if not data and named:
        raise NoText("No text was found: this file is empty (0 bytes). Upload it again.")
    seen = _by_content(data, suffix)
    if seen:
        return seen
    if named is None:
        raise UnsupportedFormat(
            f"Files of the kind {suffix or 'without an ending'} cannot be read. "
            f"These can: {', '.join(sorted(BY_SUFFIX))}."
        )
    foreign = _foreign(data)
    # "BM", "MZ" and the like may also begin a word.
    if foreign and (named in BINARY or b"\0" in data[:HEAD] or data[:5] == b"{\\rtf"):
        raise WrongType(f"This file is called {suffix} but it is {foreign}.", found=foreign)
    is_page = HTML_START.match(_peek(data)) is not None
    if named in BINARY:
        found = "a web page (HTML)" if is_page else "something else"
        raise WrongType(
            f"This file is called {suffix} but its content is {found}, not {named}. "
            "Check where it came from, and save or download it again.",
            found=found,
        )
    if not is_page:
        return named
    if named in {Format.CSV, Format.JSONL}:
        raise WrongType(
            f"This file is called {suffix} but it is a web page (HTML), perhaps the login or "
            "error page of the site it was downloaded from. Download it again.",
            found="a web page (HTML)",
        )
    return Format.HTML


def _by_content(data: bytes, suffix: str) -> Format | None:
    """A document format that the bytes themselves prove."""
    if b"%PDF-" in data[:1024]:
        return Format.PDF
    if data.startswith(ZIP_MAGIC):
        return _zip_kind(data, suffix)
    if data.startswith(OLE_MAGIC):
        # Office wraps an encrypted .docx in the old container.
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise EncryptedFile(
                "This Office file is protected by a password. Remove the password and upload "
                "it again."
            )
        kind = LEGACY_SUFFIXES.get(suffix, ".docx, .xlsx or .pptx")
        raise LegacyOffice(
            f"This is an Office file in the format of before 2007. Open it and save it as {kind}."
        )
    return None


def _zip_kind(data: bytes, suffix: str) -> Format:
    """An Office file, or an archive if it is called one."""
    is_office_name = BY_SUFFIX.get(suffix) in {Format.DOCX, Format.PPTX, Format.XLSX}
    names: list[str] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if CONTENT_TYPES in names:
                with archive.open(CONTENT_TYPES) as file:
                    types = file.read(1024 * 1024)
                for part, kind in OFFICE_PARTS:
                    if part in types:
                        return kind
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        # RuntimeError: an encrypted entry; NotImplementedError, a kind of it: its compression.
        if is_office_name:
            raise DamagedFile(
                f"This {suffix} file is cut off or damaged. Open and save it again, then upload it."
            ) from error
    if suffix == ".zip":
        return Format.ZIP
    found = "an OpenDocument file; save it in the Office format or as PDF"
    if not any(name == "content.xml" for name in names):
        found = "a ZIP archive; name it .zip"
    if CONTENT_TYPES in names:
        found = "a file of another Office program"
    if "META-INF/container.xml" in names:
        found = "an e-book (EPUB); convert it to HTML or PDF"
    raise WrongType(f"This file is called {suffix or 'nothing'} but it is {found}.", found=found)


def _foreign(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "a film or sound file"
    if data[:4] == b"RIFF" and data[8:12] in {b"WEBP", b"WAVE", b"AVI "}:
        return "a picture, film or sound file"
    return next((what for magic, what in FOREIGN if data.startswith(magic)), "")


def _peek(data: bytes) -> str:
    """The beginning, as far as it takes to see whether this is a web page."""
    head = data[:HEAD]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "ignore")
    return head.decode("utf-8-sig", "ignore")
