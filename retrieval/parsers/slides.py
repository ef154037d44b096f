"""PowerPoint (.pptx) → Markdown by markitdown: a section per slide, tables, charts, notes."""

import re
from collections.abc import Mapping
from typing import Any

from markitdown import StreamInfo
from markitdown.converters import PptxConverter
from pptx import Presentation

from retrieval.exceptions import TooManyPages
from retrieval.parsers.clean import one_line, tidy
from retrieval.parsers.limits import Limits
from retrieval.parsers.office import reading, title_of
from retrieval.parsers.word import PICTURE
from retrieval.types import ParsedDocument

SLIDE = re.compile(r"^<!-- Slide number: (\d+) -->$", re.MULTILINE)
#: Names that PowerPoint gives to pictures about which nobody said anything.
UNNAMED = re.compile(r"(picture|image|graphic|图片|图像|图形) ?\d*", re.IGNORECASE)


def parse(filename: str, data: bytes, limits: Limits, options: Mapping[str, Any]) -> ParsedDocument:
    """Read a presentation. Raises TooManyPages, DamagedFile, ZipBomb, ParserFailed."""
    with reading(data, limits, "PowerPoint") as stream:
        count = len(Presentation(stream).slides)
        if count > limits.max_pages:
            raise TooManyPages(
                f"This presentation has {count:,} slides; at most {limits.max_pages:,} are read. "
                "Split it, or raise KBADMIN_MAX_PAGES.",
                limit=limits.max_pages,
            )
        stream.seek(0)
        converter = PptxConverter()  # type: ignore[no-untyped-call]  # markitdown
        converted = converter.convert(stream, StreamInfo(extension=".pptx"))
    _, *parts = SLIDE.split(converted.markdown)
    sections = [section(content) for content in parts[1::2]]
    text = tidy("\n\n".join(filter(None, sections)))
    first = next((line[3:] for line in text.split("\n") if line.startswith("## ")), "")
    return ParsedDocument(title_of(filename, data, first), text, {"slides": count})


def section(content: str) -> str:
    """A slide as a section: its title is the heading, wherever on the slide it stands."""
    content = PICTURE.sub(lambda found: "" if UNNAMED.fullmatch(found[1]) else found[1], content)
    lines = content.strip().split("\n")
    at = next((n for n, line in enumerate(lines) if line.startswith("# ")), None)
    if at is None:
        return "\n".join(lines)
    heading = one_line(lines.pop(at)[2:].replace("\v", " "))
    return f"## {heading}\n\n" + "\n".join(lines).strip()
