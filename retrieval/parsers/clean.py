"""What every text goes through before it is given onward."""

import re
import unicodedata

from retrieval.exceptions import TextTooLong
from retrieval.parsers.limits import Limits

#: Databases take neither NUL nor lone surrogates; other control characters show as nothing.
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
SURROGATES = re.compile(r"[\ud800-\udfff]")
#: Deeper lists and quotes than anybody reads: chunking takes long for every level of them.
DEEP_ITEM = re.compile(r"^[ \t]{40,}(?=(?:[-*+]|\d{1,9}[.)])[ \t])", re.MULTILINE)
DEEP_QUOTE = re.compile(r"^[ \t]*(?:>[ \t]?){10,}", re.MULTILINE)
MANY_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")


def line_ends(text: str) -> str:
    """Line ends as "\\n", whoever wrote them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def clean(text: str) -> str:
    """Line ends "\\n", no control characters but tab, a lone surrogate is U+FFFD."""
    text = line_ends(text).replace("\v", "\n").replace("\f", "\n")
    return SURROGATES.sub("\ufffd", CONTROLS.sub("", text))


def flatten(text: str) -> str:
    """Lists of more than 20 levels and quotes of more than 10 go on at that level."""
    return DEEP_QUOTE.sub("> " * 10, DEEP_ITEM.sub(" " * 40, text))


def one_line(text: str) -> str:
    """A text as it may stand in a heading or a title."""
    return " ".join(clean(text).split())


def tidy(text: str) -> str:
    """Converted text without runs of empty lines and blanks at line ends."""
    text = "\n".join(line.rstrip() for line in clean(text).split("\n"))
    return MANY_BLANK_LINES.sub("\n\n", text).strip()


def nested(text: str) -> str:
    """Markdown that goes below a heading of level 2: its own headings move to level 3 and on.

    Lines of code fences stay, where # is a comment.
    """
    lines, fence = [], ""
    for line in clean(text).split("\n"):
        mark = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and (heading := re.match(r"(#{1,6})(?=[ \t])", line)):
            line = "#" * min(len(heading[1]) + 2, 6) + line[heading.end() :]
        lines.append(line)
    if fence:
        lines.append(fence)  # an open fence would swallow what follows
    return "\n".join(lines).strip()


def has_text(text: str) -> bool:
    """Whether there is a letter or a digit."""
    return any(character.isalnum() for character in text)


def is_readable(text: str) -> bool:
    """Whether most of a text is letters that somebody can read: fonts without a mapping to
    Unicode yield private-use characters and replacement marks."""
    sample = [character for character in text[:20_000] if not character.isspace()]
    bad = sum(
        character == "\ufffd" or unicodedata.category(character) in {"Co", "Cn"}
        for character in sample
    )
    return bad * 2 <= len(sample)


def check_length(length: int, limits: Limits) -> None:
    """Raises TextTooLong. Called while reading, so that an endless text ends early."""
    if length > limits.max_characters:
        raise TextTooLong(
            f"This document has more than {limits.max_characters:,} characters of text. "
            "Split it, or raise KBADMIN_MAX_CHARACTERS.",
            limit=limits.max_characters,
        )
