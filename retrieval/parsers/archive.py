"""ZIP archives → their files, without trusting a word of what the archive says of itself."""

import io
import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from retrieval.exceptions import (
    DamagedFile,
    ParseError,
    ZipBomb,
    ZipDamaged,
    ZipEmpty,
    ZipEncrypted,
    ZipNested,
    ZipSymlink,
    ZipTooManyEntries,
    ZipUnsafePath,
)
from retrieval.parsers.detection import Format, detect, suffix_of
from retrieval.parsers.limits import DEFAULT_LIMITS, Limits

CENTRAL_ENTRY = b"PK\x01\x02"
PIECE = 64 * 1024
#: Below this, unpacked, a ratio says nothing: a page of blanks packs a thousandfold.
RATIO_FLOOR = 4 * 1024 * 1024
OFFICE_PARTS_PER_ENTRY = 20
IS_UTF8, IS_ENCRYPTED = 0x800, 0x1
BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive."""

    name: str  #: its path in the archive, with /
    data: bytes


def is_archive(filename: str, data: bytes) -> bool:
    """Whether a file is to be expanded and not parsed: called .zip, and no Office file.

    A file called .zip that is none counts too: `expand` says what is wrong with it.
    """
    if suffix_of(filename) != ".zip":
        return False
    try:
        return detect(filename, data) is Format.ZIP
    except ParseError:
        return True


def expand(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Member]:
    """The files of an archive, of whatever kind they are; folders and hidden files left out.

    All or nothing: an archive with one bad entry gives no files.

    Raises:
        ZipTooManyEntries, ZipBomb: beyond the limits, measured while unpacking.
        ZipUnsafePath: a path that leaves the archive: "..", absolute, a drive.
        ZipSymlink: a link or a device.
        ZipEncrypted, ZipDamaged, ZipNested, ZipEmpty: what they say.
    """
    if not data:
        raise ZipEmpty("This archive is empty (0 bytes). Upload it again.")
    members: list[Member] = []
    total = 0
    with _open(data, limits) as archive:
        entries = [(_checked_name(info), info) for info in archive.infolist()]
        seen: set[str] = set()
        for name, info in entries:
            if info.is_dir() or _is_hidden(name):
                continue
            if name in seen:
                raise ZipDamaged(f"The archive holds {name} twice. Pack it again.", name=name)
            seen.add(name)
            content = _read(archive, info, name, limits, total, len(data))
            total += len(content)
            if is_archive(name, content):
                raise ZipNested(
                    f"The archive holds another archive, {name}. Unpack it, and pack its files "
                    "into one .zip.",
                    name=name,
                )
            members.append(Member(name, content))
    if not members:
        raise ZipEmpty("The archive holds no files. Pack it again with the documents in it.")
    return members


def check_office(data: bytes, limits: Limits) -> None:
    """Raises ZipBomb or DamagedFile if the ZIP that an Office file is cannot be read safely."""
    # No ratio: long tables of like rows pack better than anything in a plain archive. Each
    # slide or sheet is several entries.
    limits = replace(limits, zip_entries=limits.zip_entries * OFFICE_PARTS_PER_ENTRY)
    total = 0
    try:
        with _open(data, limits) as archive:
            for info in archive.infolist():
                total = _measure(archive, info, limits, total)
    except (ZipDamaged, ZipEncrypted) as error:
        raise DamagedFile(
            "This Office file is cut off or damaged. Open and save it again, then upload it."
        ) from error


def _open(data: bytes, limits: Limits) -> zipfile.ZipFile:
    # Counted in the bytes, before a list of a million entries is made of them.
    if data.count(CENTRAL_ENTRY) > limits.zip_entries:
        raise ZipTooManyEntries(
            f"The archive holds more than {limits.zip_entries:,} entries. Split it, or raise "
            "KBADMIN_MAX_ZIP_ENTRIES.",
            limit=limits.zip_entries,
        )
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (*BROKEN, NotImplementedError) as error:
        raise ZipDamaged(
            "The archive is cut off, damaged, or no ZIP. Pack it again, and upload it whole."
        ) from error


def _checked_name(info: zipfile.ZipInfo) -> str:
    """The path of an entry, decoded and found harmless."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    name = _decoded_name(info)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ZipSymlink(
            f"The archive holds a link or a device, {name!r}. Pack the files themselves.",
            name=name,
        )
    path = name.replace("\\", "/")
    unsafe = (
        path.startswith("/")
        or re.match(r"[A-Za-z]:", path)
        or ".." in path.split("/")
        or "\0" in info.orig_filename
        or not path.strip("/. ")
    )
    if unsafe:
        raise ZipUnsafePath(
            f"The archive holds a path that leads out of it, {name!r}. Pack it again from "
            "inside the folder.",
            name=name,
        )
    return PurePosixPath(path).as_posix()


def _decoded_name(info: zipfile.ZipInfo) -> str:
    """The name as it was typed: Windows in China writes GBK and does not say so."""
    if info.flag_bits & IS_UTF8:
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    # "~$" begins the names of Word's lock files.
    return "__MACOSX" in parts or any(part.startswith((".", "~$")) for part in parts)


def _read(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    name: str,
    limits: Limits,
    before: int,
    packed: int,
) -> bytes:
    """One entry, unpacked piece by piece and counted."""
    pieces: list[bytes] = []
    total = before
    for piece in _pieces(archive, info, name):
        total += len(piece)
        _check_total(total, limits)
        if total > RATIO_FLOOR and total > packed * limits.zip_ratio:
            raise ZipBomb(
                f"The archive unpacks to more than {limits.zip_ratio} times its size. If that is "
                "meant, raise KBADMIN_MAX_ZIP_RATIO, or upload the files without packing them.",
                limit=limits.zip_ratio,
            )
        pieces.append(piece)
    return b"".join(pieces)


def _measure(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits, total: int) -> int:
    for piece in _pieces(archive, info, info.filename):
        total += len(piece)
        _check_total(total, limits)
    return total


def _check_total(total: int, limits: Limits) -> None:
    if total > limits.zip_bytes:
        raise ZipBomb(
            f"The file unpacks to more than {limits.zip_bytes:,} bytes. Split it, or raise "
            "KBADMIN_MAX_ZIP_SIZE.",
            limit=limits.zip_bytes,
        )


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    if info.flag_bits & IS_ENCRYPTED:
        raise ZipEncrypted("The archive is protected by a password. Pack it without one.")
    try:
        with archive.open(info) as file:
            while piece := file.read(PIECE):
                yield piece
    except NotImplementedError as error:
        raise ZipDamaged(
            f"{name} is packed in a way that cannot be read. Pack it as an ordinary .zip.",
            name=name,
        ) from error
    except BROKEN as error:
        if "overlap" in str(error).lower():
            raise ZipBomb(
                "The entries of this archive overlap, as in a ZIP bomb. Pack it again."
            ) from error
        raise ZipDamaged(
            f"{name} in the archive is cut off or damaged. Pack it again, and upload it whole.",
            name=name,
        ) from error
