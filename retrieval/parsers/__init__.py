"""Bytes → Markdown text and metadata. One module per family of formats.

Parsers know neither models nor settings. They raise `ParseError`s, which say what to do.
The libraries behind them are heavy, so each module is imported when its first file comes.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from retrieval.exceptions import NoText, WrongType
from retrieval.parsers.archive import Member, expand, is_archive
from retrieval.parsers.clean import check_length, clean, flatten, has_text, one_line
from retrieval.parsers.detection import Format, detect, is_supported
from retrieval.parsers.limits import DEFAULT_LIMITS, Limits
from retrieval.types import ParsedDocument

__all__ = ["Limits", "Member", "expand", "is_archive", "is_supported", "parse"]

MAX_TITLE = 500
#: Module of each format. Those of the first group take nothing but name and bytes.
SIMPLE = {Format.MARKDOWN: "markdown", Format.TEXT: "text"}
BOUNDED = {
    Format.HTML: "html",
    Format.PDF: "pdf",
    Format.DOCX: "word",
    Format.PPTX: "slides",
    Format.XLSX: "workbook",
    Format.CSV: "table",
    Format.JSONL: "jsonl",
}
OCR = "Run text recognition (OCR) on it, for example with ocrmypdf, and upload the result."
NO_TEXT = {
    Format.PDF: f"No text was found; is this a scan? {OCR}",
    Format.DOCX: f"No text was found; is this a scan pasted into a document? {OCR}",
    Format.PPTX: "No text was found; are the slides pictures? Export them as PDF. " + OCR,
    Format.HTML: "No text was found; is the page made by scripts? Save it from the browser as PDF.",
}


def parse(
    filename: str,
    data: bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    options: Mapping[str, Any] = {},
) -> ParsedDocument:
    """Read a file. Its content decides what it is read as, then its name.

    `options` says how tables are read, see `records_of` in table.py. For files of strangers use
    `sandbox.parse_isolated`, which does the same and survives what they do to a parser.

    Raises:
        UnsupportedFormat, WrongType: no parser takes this kind of file.
        NoText: the file was read and holds no text; an empty document is never "done".
        TextTooLong, TooManyPages: beyond the limits.
        ParseError: what else the format's parser found wrong.
    """
    kind = detect(filename, data)
    if kind is Format.ZIP:
        raise WrongType("This is a ZIP archive: its files are taken one by one, not as a document.")
    if kind in SIMPLE:
        parsed = import_module(f"{__name__}.{SIMPLE[kind]}").parse(filename, data)
    else:
        module = import_module(f"{__name__}.{BOUNDED[kind]}")
        parsed = module.parse(filename, data, limits, options)
    check_length(len(parsed.text), limits)
    text = flatten(clean(parsed.text))
    if not has_text(text):
        raise NoText(
            NO_TEXT.get(kind, "No text was found in this file. Add some text, or delete it.")
        )
    title = one_line(parsed.title)[:MAX_TITLE]
    return ParsedDocument(
        title=title, text=text, metadata=parsed.metadata, published=parsed.published
    )
