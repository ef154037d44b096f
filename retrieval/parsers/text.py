"""Plain text, and the decoding that every text format needs."""

import codecs
from pathlib import PurePosixPath

from retrieval.exceptions import UndecodableText
from retrieval.types import ParsedDocument

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(data: bytes) -> str:
    """UTF-8, or UTF-16 and GB18030 where the bytes tell; line ends become "\\n".

    Raises UndecodableText for anything else: a guess would put wrong letters into answers.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _normalise(_decode_as(data[len(mark) :], encoding))
    if b"\0" in data:
        raise UndecodableText(
            "This file is not text (it holds NUL bytes). Save it as UTF-8 text and try again."
        )
    try:
        return _normalise(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        position = error.start
    try:
        # Chinese files from Windows. GB18030 accepts nearly any bytes, so it must also yield
        # mostly Chinese before it is believed.
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    wide = [character for character in text if ord(character) > 0x7F]
    if wide and sum("\u4e00" <= character <= "\u9fff" for character in wide) / len(wide) > 0.6:
        return _normalise(text)
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


def _normalise(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def parse(filename: str, data: bytes) -> ParsedDocument:
    return ParsedDocument(title=PurePosixPath(filename).stem, text=decode(data), metadata={})
