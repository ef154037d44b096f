"""Word (.docx) → Markdown by markitdown: headings, lists, tables, footnotes."""

import re
from collections.abc import Mapping
from typing import Any

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
    converter = DocxConverter()  # type: ignore[no-untyped-call]
    with reading(data, limits, "Word") as stream:
        converted = converter.convert(
            stream,
            StreamInfo(extension=".docx"),
            style_map=TITLE_STYLE,
            # Word knows no header cells: the first row is what names the columns.
            table_infer_header=True,
        )
    text = tidy(PICTURE.sub(r"\1", converted.markdown))
    return ParsedDocument(title_of(filename, data, first_heading(text)), text, {})
