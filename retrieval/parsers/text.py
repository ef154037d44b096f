"""Plain text, and the decoding that every text format needs."""

import codecs
import itertools
from pathlib import PurePosixPath

from retrieval.exceptions import UndecodableText
from retrieval.parsers.clean import line_ends
from retrieval.types import ParsedDocument

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Characters that are looked at to tell whether a decoding makes sense.
SAMPLE = 20_000
#: Shares of a sample from which a decoding is believed.
COMMON_CHINESE = 0.5
PLAUSIBLE_UTF16 = 0.97


def decode(data: bytes) -> str:
    """UTF-8, or UTF-16 and GB18030 where the bytes tell; line ends become "\\n".

    Raises UndecodableText for anything else: a guess would put wrong letters into answers.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return line_ends(_decode_as(data[len(mark) :], encoding))
    if b"\0" in data:
        text = _utf16_without_mark(data)
        if text is None:
            raise UndecodableText(
                "This file is not text (it holds NUL bytes). Save it as UTF-8 text and try again."
            )
        return line_ends(text)
    try:
        return line_ends(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        position = error.start
    try:
        # Chinese files from Windows.
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    if _is_chinese(text):
        return line_ends(text)
    raise UndecodableText(
        f"This file is not UTF-8 text (byte {position} does not fit). "
        "Save it as UTF-8 and try again."
    )


def _decode_as(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UndecodableText(
            f"This file begins as {encoding.upper()} but byte {error.start} does not fit. "
            "Save it as UTF-8 and try again."
        ) from error


def _is_chinese(text: str) -> bool:
    """Whether text decoded as GB18030 is Chinese, and not the letters of another encoding.

    GB18030 accepts nearly any bytes. Nine of ten characters of Chinese text are in the first
    level of GB 2312 or are its punctuation; of Cyrillic or Western letters read as Chinese,
    few are.
    """
    wide = list(itertools.islice((letter for letter in text if letter > "\x7f"), SAMPLE))
    ideographs = [letter for letter in wide if "\u4e00" <= letter <= "\u9fff"]
    common = sum(map(_is_common, ideographs))
    return (
        bool(ideographs)
        and len(ideographs) / len(wide) > 0.6
        and common / len(ideographs) > COMMON_CHINESE
    )


def _is_common(ideograph: str) -> bool:
    try:
        return ideograph.encode("gb2312")[0] <= 0xD7
    except UnicodeEncodeError:
        return False


def _utf16_without_mark(data: bytes) -> str | None:
    """UTF-16 shows by its NUL bytes, which lie on one side of every blank and line end."""
    if len(data) % 2:
        return None
    even, odd = data[::2].count(0), data[1::2].count(0)
    if even == odd:
        return None
    try:
        text = data.decode("utf-16-le" if odd > even else "utf-16-be")
    except UnicodeDecodeError:
        return None
    sample = text[:SAMPLE]
    plausible = sum(map(_is_usual, sample))
    return text if plausible / len(sample) >= PLAUSIBLE_UTF16 else None


def _is_usual(letter: str) -> bool:
    """A character of ordinary text in the scripts that are often written on Windows."""
    return (
        letter in "\t\r\n"
        or " " <= letter <= "~"
        or "\xa0" <= letter <= "\u052f"  # Latin, Greek, Cyrillic
        or "\u2010" <= letter <= "\u203a"
        or "\u3000" <= letter <= "\u30ff"  # Chinese punctuation, kana
        or "\u4e00" <= letter <= "\u9fff"
        or "\uac00" <= letter <= "\ud7a3"
        or "\uff01" <= letter <= "\uffee"
    )


def parse(filename: str, data: bytes) -> ParsedDocument:
    return ParsedDocument(title=PurePosixPath(filename).stem, text=decode(data), metadata={})
