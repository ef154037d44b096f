"""Markdown with YAML front matter."""

import itertools
import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

import yaml
from frontmatter.default_handlers import YAMLHandler
from markdown_it import MarkdownIt

from retrieval.exceptions import InvalidFrontMatter
from retrieval.parsers.text import decode
from retrieval.types import MetadataValue, ParsedDocument, Scalar

MAX_TITLE = 500
#: Values in one front matter, those of lists and of aliases counted one by one.
MAX_VALUES, MAX_DEPTH = 10_000, 20
LARGEST_NUMBER = 1e300
#: Characters of front matter, and aliases in it: merging them unfolds while it is read.
MAX_FRONT_MATTER, MAX_ALIASES = 64 * 1024, 100
MAX_MERGES = 5
#: A title is looked for in so many characters of a text.
HEADING_WITHIN = 100_000
YAML = YAMLHandler()
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)??(---|\.\.\.)[ \t]*(\n|\Z)", re.DOTALL)


def parse(filename: str, data: bytes) -> ParsedDocument:
    text = decode(data)
    metadata, body = split_front_matter(text)
    title = str(metadata.get("title") or first_heading(body) or PurePosixPath(filename).stem)
    published = metadata.get("draft") is not True and metadata.get("published") is not False
    return ParsedDocument(
        title=title.strip()[:MAX_TITLE], text=body, metadata=metadata, published=published
    )


def split_front_matter(text: str) -> tuple[dict[str, MetadataValue], str]:
    """Typed front matter and the text below it.

    Raises InvalidFrontMatter with the line and column of the file where the YAML breaks.
    """
    block = FRONT_MATTER.match(text)
    if block is None:
        return {}, text
    # A page may also open with a thematic break; what follows is then text, and kept as such.
    header = block.group(1) or ""
    is_certain = not header.startswith("\n")
    try:
        _check_source(header)
        # Not the C loader: it crashes the process where this one raises RecursionError.
        raw = YAML.load(header, Loader=yaml.SafeLoader)
        if not isinstance(raw, Mapping | None):
            return {}, text
        _check_size(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if not is_certain:
            return {}, text
        raise _invalid(error) from error
    metadata = {
        _storable(str(key)): typed(value) for key, value in (raw or {}).items() if value is not None
    }
    return metadata, text[block.end() :].strip("\n")


def _invalid(error: Exception) -> InvalidFrontMatter:
    advice = "Mend it, or remove the block between the two --- lines."
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        return InvalidFrontMatter(f"The front matter is not valid YAML: {reason}. {advice}")
    # The mark counts from 0 and below the opening "---".
    line, column = mark.line + 2, mark.column + 1
    problem = getattr(error, "problem", None) or getattr(error, "context", None)
    return InvalidFrontMatter(
        f"The front matter is not valid YAML in line {line}, column {column}: {problem}. {advice}",
        line=line,
        column=column,
    )


def _check_source(header: str) -> None:
    """Raises ValueError for what would take too long to read."""
    if len(header) > MAX_FRONT_MATTER:
        raise ValueError(f"it has more than {MAX_FRONT_MATTER} characters")
    depth = itertools.accumulate((char in "[{") - (char in "]}") for char in header)
    if max(depth, default=0) > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    aliases = len(re.findall(r"(?<![\w*])\*\w", header))
    if aliases > MAX_ALIASES or (aliases and header.count("<<") > MAX_MERGES):
        raise ValueError("it refers to itself too often")


def _check_size(raw: Any) -> None:
    """Raises ValueError for values that unfold to very many: YAML's aliases can make a
    billion out of a few hundred bytes, or a list that holds itself."""
    level, seen, depth = [raw], 0, 0
    while level:
        seen, depth = seen + len(level), depth + 1
        if seen > MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError(f"it holds more than {MAX_VALUES} values or {MAX_DEPTH} levels")
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple | set):
                below += value
        level = below


def typed(value: Any) -> MetadataValue:
    """A YAML value as one of the types that metadata knows; dates become ISO text."""
    if isinstance(value, list | tuple | set):
        return [scalar(item) for item in value if item is not None]
    return scalar(value)


def scalar(value: Any) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < LARGEST_NUMBER:
        return value
    if isinstance(value, date | datetime):
        return value.isoformat()
    # .nan, .inf and numbers beyond every database's own are kept as text.
    return _storable(str(value))


def _storable(text: str) -> str:
    """Without NUL and halves of surrogate pairs, which YAML can spell and no database takes."""
    return "".join(
        character
        for character in text
        if character != "\0" and not "\ud800" <= character <= "\udfff"
    )


def first_heading(text: str) -> str:
    """The first heading of level 1, or of any level where there is none."""
    first = ""
    # Only blocks: the rules for what is inside a line take long on hostile text.
    tokens = MarkdownIt("commonmark").disable("inline").parse(text[:HEADING_WITHIN])
    for token, content in itertools.pairwise(tokens):
        if token.type == "heading_open":
            if token.tag == "h1":
                return plain(content.content)
            first = first or plain(content.content)
    return first


def plain(heading: str) -> str:
    """A heading without Markdown marks."""
    return re.sub(r"[`*_]{1,3}|\\(?=[^\w\s])", "", heading).strip()
