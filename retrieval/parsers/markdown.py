"""Markdown with YAML front matter."""

import itertools
import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

import frontmatter
import yaml
from markdown_it import MarkdownIt

from retrieval.exceptions import InvalidFrontMatter
from retrieval.parsers.text import decode
from retrieval.types import MetadataValue, ParsedDocument, Scalar

MAX_TITLE = 500
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
    # A page may open with a thematic break: only a closed block is front matter.
    if not FRONT_MATTER.match(text):
        return {}, text
    try:
        raw, body = frontmatter.parse(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The mark counts from 0 and below the opening "---".
        place = f" in line {mark.line + 2}, column {mark.column + 1}" if mark else ""
        raise InvalidFrontMatter(
            f"The front matter is not valid YAML{place}: {error.problem or error.context}. "
            "Mend it, or remove the block between the two --- lines.",
            line=mark.line + 2 if mark else None,
            column=mark.column + 1 if mark else None,
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidFrontMatter(f"The front matter is not valid YAML: {error}") from error
    if not isinstance(raw, Mapping):
        raise InvalidFrontMatter("The front matter must be a list of `name: value` lines.")
    return {str(key): typed(value) for key, value in raw.items() if value is not None}, body


def typed(value: Any) -> MetadataValue:
    """A YAML value as one of the types that metadata knows; dates become ISO text."""
    if isinstance(value, list | tuple | set):
        return [scalar(item) for item in value if item is not None]
    return scalar(value)


def scalar(value: Any) -> Scalar:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value)


def first_heading(text: str) -> str:
    """The first heading of level 1, or of any level where there is none."""
    first = ""
    tokens = MarkdownIt("commonmark").parse(text[:100_000])
    for token, content in itertools.pairwise(tokens):
        if token.type == "heading_open":
            if token.tag == "h1":
                return plain(content.content)
            first = first or plain(content.content)
    return first


def plain(heading: str) -> str:
    """A heading without Markdown marks."""
    return re.sub(r"[`*_]{1,3}|\\(?=[^\w\s])", "", heading).strip()
