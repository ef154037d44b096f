"""What Word, PowerPoint and Excel files have in common: a ZIP with properties inside."""

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from defusedxml import ElementTree

from retrieval.exceptions import DamagedFile, KnowledgeBaseError, ParserFailed
from retrieval.parsers.archive import check_office
from retrieval.parsers.clean import one_line
from retrieval.parsers.limits import Limits

TITLE_PART = "docProps/core.xml"
TITLE_TAG = "{http://purl.org/dc/elements/1.1/}title"
#: What the libraries raise where XML is broken or a part is missing.
BROKEN = {
    "BadZipFile",
    "EntitiesForbidden",
    "ExpatError",
    "OSError",  # of a stream in memory: mammoth's word for a missing part
    "PackageNotFoundError",
    "ParseError",
    "SAXParseException",
    "XMLSyntaxError",
}
#: Titles that programs write when nobody gave one.
MADE_UP = re.compile(
    r"(untitled|无标题|未命名|microsoft (word|powerpoint|excel)\b.*|powerpoint[ -]presentation"
    r"|powerpoint 演示文稿|(document|presentation|workbook|slide|文档|演示文稿|工作簿) ?\d*"
    r"|word document|.*\.(docx?|pptx?|xlsx?|indd|tex|dvi|pages|odt))",
    re.IGNORECASE,
)


def given_title(title: str | None) -> str:
    """A title from a file's properties, or nothing if a program made it up."""
    title = one_line(title or "")
    return "" if MADE_UP.fullmatch(title) else title


def title_of(filename: str, data: bytes, heading: str = "") -> str:
    """From the properties, else the first heading, else the file name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(TITLE_PART) as part:
            found = ElementTree.fromstring(part.read(1024 * 1024)).findtext(f".//{TITLE_TAG}")
    except (KeyError, ValueError, ElementTree.ParseError, zipfile.BadZipFile):
        found = ""  # they are no part of the text: a file may do without
    return given_title(found) or one_line(heading) or PurePosixPath(filename).stem


@contextmanager
def reading(data: bytes, limits: Limits, program: str) -> Iterator[io.BytesIO]:
    """The bytes as a stream, checked; whatever a library makes of them becomes ParserFailed."""
    check_office(data, limits)
    try:
        yield io.BytesIO(data)
    except (KnowledgeBaseError, MemoryError):
        raise
    except Exception as error:  # libraries raise of everything on broken files
        if isinstance(error, KeyError) or type(error).__name__ in BROKEN:
            raise DamagedFile(
                f"This file is damaged inside. Open it in {program}, save it again, and upload "
                "that.",
                cause=str(error)[:500],
            ) from error
        raise ParserFailed(
            f"This file could not be read ({type(error).__name__}). Open it in {program}, save it "
            "again, and upload that.",
            cause=str(error)[:500],
        ) from error
