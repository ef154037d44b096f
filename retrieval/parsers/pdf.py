"""PDF → Markdown by PDFium, page by page.

Not by markitdown: it reads a whole file before it can stop, takes a hundred times as long,
knows no headings, and takes columns of prose for tables. Headings come from the size of the
letters, paragraphs from the gaps between lines; headers and footers that every page repeats
are left out.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from ctypes import byref
from dataclasses import dataclass
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from retrieval.exceptions import DamagedFile, EncryptedFile, NoText, TooManyPages
from retrieval.parsers.clean import check_length, clean, is_readable, one_line
from retrieval.parsers.limits import Limits
from retrieval.parsers.office import given_title
from retrieval.types import ParsedDocument

#: A heading is larger than the text by this factor, short, and of a few sizes only.
HEADING_SCALE = 1.15
HEADING_LENGTH = 150
HEADING_LEVELS = 4
#: A gap between lines, to the usual gap of the document, that begins a paragraph.
PARAGRAPH_GAP = 1.35
#: The second line of a heading follows closer than the next heading.
HEADING_GAP = 1.3
#: A line at the edge of so many of the pages is no text of theirs.
REPEATED_SHARE = 0.6
EDGE = 0.09
REPEATED_PAGES = 4
#: Letters of a line whose size is looked at.
SIZED_LETTERS = 5
SENTENCE_ENDS = tuple(".!?:;。！？：；")
HYPHEN_AT_LINE_END = {0x02, 0xFFFE}


@dataclass(slots=True)
class Line:
    text: str
    size: float  #: height of its letters, in points
    top: float  #: points from the bottom of the page
    at_edge: bool  #: where headers and footers stand
    continues: bool = False  #: its last word goes on in the next line


def parse(filename: str, data: bytes, limits: Limits, options: Mapping[str, Any]) -> ParsedDocument:
    """Read a PDF.

    Raises:
        EncryptedFile: it does not open without a password.
        DamagedFile: it is cut off or broken.
        TooManyPages, TextTooLong: beyond the limits.
        NoText: its fonts do not say which letters they draw.
    """
    if b"%%EOF" not in data[-2048:]:
        # PDFium would mend it and silently leave out the pages that are gone.
        raise DamagedFile(
            "This PDF is cut off: its end is missing. Upload it again; if that does not help, "
            "open it and save a copy."
        )
    with closing(_open(data)) as document:
        count = len(document)
        if count > limits.max_pages:
            raise TooManyPages(
                f"This PDF has {count:,} pages; at most {limits.max_pages:,} are read. "
                "Split it, or raise KBADMIN_MAX_PAGES.",
                limit=limits.max_pages,
            )
        title = given_title(document.get_metadata_value("Title"))
        pages: list[list[Line]] = []
        length = 0
        for number in range(count):
            pages.append(list(_lines_of(document, number)))
            length += sum(len(line.text) + 1 for line in pages[-1])
            check_length(length, limits)
    text, heading = to_markdown(without_repeated(pages))
    if text and not is_readable(text):
        raise NoText(
            "No text was found that can be read: the fonts of this PDF do not say which letters "
            "they draw; is this a scan? Run text recognition (OCR) on it, for example with "
            "`ocrmypdf --force-ocr`, and upload the result."
        )
    return ParsedDocument(title or heading or _stem(filename), text, {"pages": count})


def _stem(filename: str) -> str:
    return re.sub(r"\.[^.]*\Z", "", filename.rpartition("/")[2])


def _open(data: bytes) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if error.err_code == pdfium_c.FPDF_ERR_PASSWORD:
            raise EncryptedFile(
                "This PDF is protected by a password. Save a copy without it and upload that."
            ) from error
        raise DamagedFile(
            "This PDF is damaged and cannot be opened. Open it in another program, save a copy, "
            "and upload that."
        ) from error


def _lines_of(document: pdfium.PdfDocument, number: int) -> Iterator[Line]:
    """The lines of a page with the size and place of their letters."""
    try:
        page = document[number]
        text_page = page.get_textpage()
    except pdfium.PdfiumError as error:
        raise DamagedFile(
            f"Page {number + 1} of this PDF is damaged. Open it in another program, save a copy, "
            "and upload that."
        ) from error
    with closing(page), closing(text_page):
        letters: list[str] = []
        sizes: list[float] = []
        top = 0.0
        height = page.get_height()

        def at_edge() -> bool:
            return not height * EDGE < top < height * (1 - EDGE)

        for index in range(text_page.count_chars()):
            code = pdfium_c.FPDFText_GetUnicode(text_page, index)
            if code in HYPHEN_AT_LINE_END or code in (0x0A, 0x0D):
                if text := clean("".join(letters)).strip():
                    yield Line(text, _middle(sizes), top, at_edge(), code in HYPHEN_AT_LINE_END)
                letters, sizes = [], []
                continue
            letter = chr(code)
            letters.append(letter)
            if len(sizes) < SIZED_LETTERS and letter.isalnum():
                box = pdfium_c.FS_RECTF()
                if pdfium_c.FPDFText_GetLooseCharBox(text_page, index, byref(box)):
                    sizes.append(box.top - box.bottom)
                    top = box.top
        if text := clean("".join(letters)).strip():
            yield Line(text, _middle(sizes), top, at_edge())


def _middle(sizes: list[float]) -> float:
    return round(sorted(sizes)[len(sizes) // 2], 1) if sizes else 0.0


def without_repeated(pages: list[list[Line]]) -> list[list[Line]]:
    """Pages without the headers and footers that most of them share, page numbers included."""
    if len(pages) < REPEATED_PAGES:
        return pages

    def shape(line: Line) -> str:
        return re.sub(r"\d+", "#", line.text)

    edges = Counter(key for page in pages for key in {shape(line) for line in page if line.at_edge})
    repeated = {key for key, times in edges.items() if times >= len(pages) * REPEATED_SHARE}
    return [
        [line for line in page if not (line.at_edge and shape(line) in repeated)] for page in pages
    ]


def usual_gap(lines: list[Line]) -> float:
    """From the top of a line to that of the next, in line heights, as most paragraphs have it."""
    gaps = Counter(
        round((line.top - below.top) / line.size, 1)
        for line, below in itertools.pairwise(lines)
        if line.size and line.size == below.size and 0 < line.top - below.top < 3 * line.size
    )
    return gaps.most_common(1)[0][0] if gaps else 1.0


def to_markdown(pages: list[list[Line]]) -> tuple[str, str]:
    """The text with headings and paragraphs, and the most important heading."""
    lines = [line for page in pages for line in page]
    levels, usual = heading_levels(lines), usual_gap(lines)
    blocks: list[str] = []
    best, title_at = HEADING_LEVELS + 1, -1
    previous: Line | None = None
    was_heading = 0
    for line in lines:
        level = levels.get(line.size, 0) if len(line.text) <= HEADING_LENGTH else 0
        if level and not any(letter.isalpha() for letter in line.text):
            level = 0
        text = line.text
        drop = previous.top - line.top if previous else 0.0
        apart = previous is not None and (
            drop > PARAGRAPH_GAP * usual * max(line.size, 1.0)
            # The next page or column: as often as not in the middle of a paragraph.
            or (drop < 0 and previous.text.endswith(SENTENCE_ENDS))
        )
        if level and level == was_heading and 0 < drop < HEADING_GAP * line.size:
            blocks[-1] += f" {text}"  # a heading of two lines
        elif level:
            blocks.append(f"{'#' * level} {text}")
        elif previous is None or was_heading or apart:
            blocks.append(_escaped(text))
        elif previous.continues:
            blocks[-1] += text
        else:
            blocks[-1] += f"\n{_escaped(text)}"
        if level and level < best:
            best, title_at = level, len(blocks) - 1
        previous, was_heading = line, level
    heading = blocks[title_at].lstrip("# ") if title_at >= 0 else ""
    return "\n\n".join(blocks), one_line(heading)


def heading_levels(lines: list[Line]) -> dict[float, int]:
    """Level by letter size: the sizes above that of most letters, the largest first."""
    letters: Counter[float] = Counter()
    for line in lines:
        letters[line.size] += len(line.text)
    if not letters:
        return {}
    body = letters.most_common(1)[0][0]
    whole = sum(letters.values())
    larger = sorted(
        (
            size
            for size, count in letters.items()
            if size > body * HEADING_SCALE and count < whole / 4
        ),
        reverse=True,
    )
    return {size: min(level, HEADING_LEVELS) for level, size in enumerate(larger, 1)}


def _escaped(text: str) -> str:
    """A line as Markdown: its bullet is one, and nothing else becomes a heading or a fence."""
    text = re.sub(r"^[•▪●◦‣]\s*", "- ", text)
    return re.sub(r"^(#{1,6} |`{3}|~{3}|={2,}\s*$|-{2,}\s*$)", r"\\\1", text)
