"""Word (.docx) → Markdown by markitdown: headings, lists, tables, footnotes."""

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any
from xml.sax.handler import ContentHandler

from defusedxml import sax
from markitdown import StreamInfo
from markitdown.converters import DocxConverter

from retrieval.parsers.clean import tidy
from retrieval.parsers.limits import Limits
from retrieval.parsers.markdown import first_heading
from retrieval.parsers.office import reading, title_of
from retrieval.types import ParsedDocument

TITLE_STYLE = "p[style-name='Title'] => h1:fresh"
#: A picture without words about it; one with words leaves them.
PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")


def parse(filename: str, data: bytes, limits: Limits, options: Mapping[str, Any]) -> ParsedDocument:
    """Read a Word file. Raises DamagedFile, ZipBomb, ParserFailed."""
    converter = DocxConverter()  # type: ignore[no-untyped-call]  # markitdown
    with reading(data, limits, "Word") as stream:
        check_parts(data)
        converted = converter.convert(
            stream,
            StreamInfo(extension=".docx"),
            style_map=TITLE_STYLE,
            # Word knows no header cells: the first row is what names the columns.
            table_infer_header=True,
        )
    text = tidy(PICTURE.sub(r"\1", converted.markdown))
    return ParsedDocument(title_of(filename, data, first_heading(text)), text, {})


def check_parts(data: bytes) -> None:
    """Raises SAXParseException where the text's XML breaks off: markitdown would mend it, and
    silently leave out the rest."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if re.fullmatch(r"word/document\d*\.xml", name):
                sax.parseString(archive.read(name), ContentHandler())
