"""Bytes → Markdown text and metadata. One module per family of formats.

Parsers know neither models nor settings. They raise `ParseError`s, which say what to do.
"""

from collections.abc import Callable
from pathlib import PurePosixPath

from retrieval.exceptions import NoText, UnsupportedFormat
from retrieval.parsers import markdown, text
from retrieval.types import ParsedDocument

Parser = Callable[[str, bytes], ParsedDocument]

PARSERS: dict[str, Parser] = {
    ".md": markdown.parse,
    ".markdown": markdown.parse,
    ".txt": text.parse,
}


def is_supported(filename: str) -> bool:
    return PurePosixPath(filename.lower()).suffix in PARSERS


def parse(filename: str, data: bytes) -> ParsedDocument:
    """Read a file.

    Raises:
        UnsupportedFormat: no parser takes this kind of file.
        NoText: the file was read and holds no text; an empty document is never "done".
        ParseError: what else the format's parser found wrong.
    """
    suffix = PurePosixPath(filename.lower()).suffix
    parser = PARSERS.get(suffix)
    if parser is None:
        raise UnsupportedFormat(
            f"Files of the kind {suffix or 'without an ending'} cannot be read. "
            f"These can: {', '.join(sorted(PARSERS))}."
        )
    parsed = parser(filename, data)
    if not any(character.isalnum() for character in parsed.text):
        raise NoText("No text was found in this file. Add some text, or delete it.")
    return parsed
