"""HTML → Markdown by markitdown, after the page around the text has been taken away."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from bs4 import BeautifulSoup, Tag
from bs4.element import Comment

from retrieval.exceptions import TooDeeplyNested, UndecodableText
from retrieval.parsers.clean import clean, one_line, tidy
from retrieval.parsers.limits import Limits
from retrieval.parsers.text import decode
from retrieval.types import ParsedDocument

CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
#: Never text: code, forms, drawings, what is embedded.
REMOVED = frozenset(
    (
        "script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "canvas",
        "annotation", "form", "button", "select", "input", "textarea", "dialog",
    )
)  # fmt: skip
#: Around the text: menus and footers, which would be found with every question.
AROUND = frozenset(("nav", "aside"))
AROUND_BODY = frozenset(("header", "footer"))
AROUND_ROLES = frozenset(("navigation", "banner", "contentinfo", "search"))
MAIN = "main, [role=main], article"
#: The share of a page's text that its main part must hold to be taken for the page.
MAIN_SHARE = 0.3


def parse(filename: str, data: bytes, limits: Limits, options: Mapping[str, Any]) -> ParsedDocument:
    """Read a web page: its main part where it names one, without menus and scripts.

    Raises UndecodableText, TooDeeplyNested.
    """
    soup = BeautifulSoup(read_page(data), "lxml")
    heading = soup.find("h1")
    title = one_line(soup.title.get_text() if soup.title else "")
    title = title or one_line(heading.get_text() if heading else "") or PurePosixPath(filename).stem
    content = strip(soup)
    return ParsedDocument(title=title, text=to_markdown(str(content)), metadata={})


def read_page(data: bytes) -> str:
    """The text of a page: as Unicode if it is, else in the encoding that it declares."""
    try:
        return clean(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        position = error.start
    if declared := CHARSET.search(data[:4096]):
        name = declared[1].decode("ascii")
        # gb18030 holds what is called gb2312 and gbk, and what Windows adds to them.
        name = "gb18030" if name.lower() in {"gb2312", "gbk", "x-gbk"} else name
        try:
            return clean(data.decode(name))
        except LookupError:
            pass
        except UnicodeDecodeError as error:
            raise UndecodableText(
                f"This page says that it is {name}, but byte {error.start} does not fit "
                f"(as UTF-8, byte {position}). Save it as UTF-8 and try again."
            ) from error
    return decode(data)


def strip(soup: BeautifulSoup) -> Tag:
    """Take away what is no text of the page; returns the part that is left."""
    for comment in soup.find_all(string=lambda string: isinstance(string, Comment)):
        comment.extract()
    # One walk for all: each selector of its own would take as long as the whole page.
    around: list[Tag] = []
    for tag in soup.find_all(is_no_text):
        if tag.name in REMOVED:
            tag.decompose()
        elif tag.name == "img":
            tag.replace_with(str(tag.get("alt") or ""))
        else:
            around.append(tag)
    whole = len(soup.get_text())
    for tag in around:
        # A page may sit inside such an element as a whole.
        if not tag.decomposed and len(tag.get_text()) < whole * (1 - MAIN_SHARE):
            tag.decompose()
    mains = [tag for tag in soup.select(MAIN) if not tag.find_parent(["main", "article"])]
    body = soup.body or soup
    if len(mains) == 1 and len(mains[0].get_text()) >= MAIN_SHARE * len(body.get_text()):
        return mains[0]
    return body


def is_no_text(tag: Tag) -> bool:
    """Whether an element is to be taken away, or perhaps to be."""
    if tag.name in REMOVED or tag.name in AROUND or tag.name == "img":
        return True
    if tag.name in AROUND_BODY:
        return tag.parent is not None and tag.parent.name == "body"
    if not tag.attrs:
        return False
    return (
        tag.get("role") in AROUND_ROLES
        or tag.get("aria-hidden") == "true"
        or tag.has_attr("hidden")
    )


def to_markdown(source: str) -> str:
    """Markdown of clean HTML. Raises TooDeeplyNested."""
    from markitdown.converters import HtmlConverter

    try:
        # strict: it would else fall back to text without any structure, and say nothing.
        converted = HtmlConverter().convert_string(source, strict=True)
    except RecursionError as error:
        raise TooDeeplyNested(
            "The elements of this page are nested too deeply. Save it from the browser as PDF, "
            "or as plain text."
        ) from error
    return tidy(converted.markdown)
