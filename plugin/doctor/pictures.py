"""Logos: what they are, and a small picture made anew that is safe to show."""

import io
import struct
from dataclasses import dataclass

from PIL import Image

from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "ICO")
MAX_PIXELS = 16 * 1024 * 1024
SHOWN = 96
SVG = "image/svg+xml"


@dataclass(frozen=True, slots=True)
class Picture:
    format: str
    content_type: str
    width: int  #: pixels; 0 for SVG, which has none
    height: int
    shown: bytes | None  #: a small PNG; None for SVG, which is not drawn here


class Undecodable(Exception):
    """The message says why."""

    def __init__(self, message: Sentence) -> None:
        super().__init__(message)
        self.message = message


def decode(data: bytes) -> Picture:
    """Raises Undecodable."""
    start = data[:1000].lstrip().lower()
    if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start:
        return Picture("SVG", SVG, 0, 0, None)
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<body")):
        raise Undecodable(_("It answers with a page of the web."))
    if not data:
        raise Undecodable(_("It answers with nothing."))
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Undecodable(
                    _(
                        "It has %(width)s × %(height)s pixels, which nobody decodes.",
                        width=f"{width:,}",
                        height=f"{height:,}",
                    )
                )
            image.load()
            small = image.convert("RGBA")
            small.thumbnail((SHOWN, SHOWN))
            out = io.BytesIO()
            small.save(out, "PNG")
            kind = Image.MIME.get(image.format or "", "")
            return Picture(image.format or "", kind, width, height, out.getvalue())
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        LookupError,
        TypeError,
        ArithmeticError,
        MemoryError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise Undecodable(_("It is no picture that can be decoded.")) from error
