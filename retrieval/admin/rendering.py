"""A document's text with its passages marked in it: rendered as Markdown, or as it stands.

Where passages begin and end is noted in the source with marks that Markdown takes for letters;
once it is rendered and sanitised, each run of text between two marks is wrapped. So a passage
may begin in one block and end in another, and the HTML is well-formed whatever was cut where.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from typing import Any

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

#: A mark is a number in letters of a private plane: OPEN, sixteen DIGITS, CLOSE.
OPEN, CLOSE, DIGITS = "\U000f0000", "\U000f0001", "".join(map(chr, range(0xF0010, 0xF0020)))
MARK = re.compile(f"{OPEN}([{DIGITS}]+){CLOSE}")
PRIVATE = re.compile("[\U000f0000\U000f0001\U000f0010-\U000f001f]")
#: What stands before the words of a line: quotes, list items, headings, cells, emphasis.
LEADING = re.compile(
    r"(?:[ \t]*(?:>|#{1,6}(?=[ \t])|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])|\|))*[ \t]*[*_~]*"
)
#: Lines that say something only as they are: fences, rules, underlines, borders of tables,
#: targets of links. A mark inside of them would change what they are.
STRUCTURE = re.compile(r"[ \t>]*(?:`{3,}|~{3,}|[-=*_|:+ \t>]*$|\[[^\]]+\]:)")
FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})(.*)$", re.MULTILINE)
TINTS = 2
TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li",
    "ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
#: Longer lines take the rules for what is inside a line too long; they are shown as they stand.
LONGEST_LINE = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    """A passage on the page; offsets are characters into the shown part of the text."""

    pk: int
    number: int  #: as people count, from 1
    start: int
    end: int
    enabled: bool


def plain(
    text: str, spans: Sequence[Span], selected: int | None = None, query: str = ""
) -> SafeString:
    """The text as it stands, escaped, its passages wrapped. `query` is kept in their links."""
    borders = _borders(spans)
    painter = _Painter(borders, selected, query)
    parts = []
    at = 0
    for number, (offset, _active) in enumerate(borders):
        parts.append(painter.paint(escape(text[at:offset])))
        painter.move_to(number)
        at = offset
    parts.append(painter.paint(escape(text[at:])))
    return mark_safe("".join(parts))  # noqa: S308 - every part is escaped


def rendered(
    text: str, spans: Sequence[Span], selected: int | None = None, query: str = ""
) -> SafeString:
    """The text as Markdown, sanitised, its passages wrapped. Nothing in it is loaded from
    anywhere: pictures are named, and HTML is shown as text."""
    if any(len(line) > LONGEST_LINE for line in text.split("\n")):
        return mark_safe(f'<div class="kb-text">{plain(text, spans, selected, query)}</div>')  # noqa: S308  # `plain` escapes
    borders = _borders(spans)
    source = _with_marks(PRIVATE.sub("\ufffd", text), [offset for offset, _ in borders])
    html = nh3.clean(
        MARKDOWN.render(source),
        tags=TAGS,
        attributes={"a": {"href"}, "ol": {"start"}, "*": set()},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    walker = _Walker(_Painter(borders, selected, query))
    walker.feed(html)
    walker.close()
    return mark_safe("".join(walker.parts))  # noqa: S308 - sanitised above


def open_fence(text: str) -> str:
    """The line that opens the code fence in which a text ends; empty where it ends in none."""
    opened = ""
    for match in FENCE.finditer(text):
        fence, info = match.groups()
        if not opened:
            opened = "" if fence[0] == "`" and "`" in info else fence
        elif fence[0] == opened[0] and len(fence) >= len(opened) and not info.strip():
            opened = ""
    return opened


def _image(
    self: RendererHTML, tokens: Sequence[Token], number: int, options: OptionsDict, env: EnvType
) -> str:
    """A picture is named and not loaded: its host would learn who reads this page."""
    token = tokens[number]
    name = self.renderInlineAsText(token.children, options, env) if token.children else ""
    return f"<em>🖼 {escape(name or str(token.attrs.get('src', '')))}</em>"


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    markdown.add_render_rule("image", _image)
    return markdown


MARKDOWN = _markdown()


# --- Marks in the source --------------------------------------------------------------------


def _borders(spans: Iterable[Span]) -> list[tuple[int, tuple[Span, ...]]]:
    """Where passages begin or end, and which of them go on from there."""
    spans = list(spans)
    offsets = sorted({offset for span in spans for offset in (span.start, span.end)})
    return [
        (offset, tuple(span for span in spans if span.start <= offset < span.end))
        for offset in offsets
    ]


def _with_marks(text: str, offsets: Sequence[int]) -> str:
    parts = []
    at = 0
    for number, offset in enumerate(offsets):
        place = max(_place(text, offset), at)
        parts += [text[at:place], _mark(number)]
        at = place
    return "".join([*parts, text[at:]])


def _mark(number: int) -> str:
    digits = "".join(DIGITS[int(digit, 16)] for digit in f"{number:x}")
    return f"{OPEN}{digits}{CLOSE}"


def _place(text: str, offset: int) -> int:
    """The nearest place from `offset` on where a mark is only a letter."""
    while offset < len(text):
        begin = text.rfind("\n", 0, offset) + 1
        end = text.find("\n", offset)
        end = len(text) if end < 0 else end
        line = text[begin:end]
        if STRUCTURE.match(line):
            offset = end + 1
            continue
        leading = LEADING.match(line)
        first = begin + (leading.end() if leading else 0)
        last = begin + len(line.rstrip().removesuffix("|").rstrip())
        place = max(first, min(offset, last))
        # Not between the two stars of one mark, nor behind the backslash of a character.
        while 0 < place < end and _is_torn(text[place - 1], text[place]):
            place += 1
        return place
    return len(text)


def _is_torn(before: str, after: str) -> bool:
    return before == "\\" or (before == after and after in "*_`~")


# --- Passages in the HTML -------------------------------------------------------------------


class _Painter:
    """Wraps runs of text in the passages that are open, and numbers each where it begins."""

    def __init__(
        self,
        borders: Sequence[tuple[int, tuple[Span, ...]]],
        selected: int | None,
        query: str,
    ) -> None:
        self.borders = borders
        self.selected = selected
        self.query = escape(f"{query}&" if query else "")
        self.active: tuple[Span, ...] = ()
        self.waiting: list[Span] = []

    def move_to(self, number: int) -> None:
        if number >= len(self.borders):
            return
        before = self.active
        self.active = self.borders[number][1]
        self.waiting += [span for span in self.active if span not in before]

    def paint(self, html: str, numbered: bool = True) -> str:
        """A run of text that is escaped already."""
        if not html.strip() or not self.active:
            return html
        heads = ""
        if numbered:
            heads = "".join(self._head(span) for span in self.waiting)
            self.waiting = []
        return f'{heads}<span class="{self._classes()}" data-chunks="{self._keys()}">{html}</span>'

    def _head(self, span: Span) -> str:
        on = " kb-chunk-on" if span.pk == self.selected else ""
        return (
            f'<a class="kb-chunk-number{on}" id="chunk-{span.pk}" data-chunk="{span.pk}" '
            f'href="?{self.query}chunk={span.pk}#chunk-{span.pk}">{span.number}</a>'
        )

    def _keys(self) -> str:
        return " ".join(str(span.pk) for span in self.active)

    def _classes(self) -> str:
        classes = ["kb-chunk", f"kb-tint-{self.active[-1].number % TINTS}"]
        if len(self.active) > 1:
            classes.append("kb-chunk-shared")
        if not any(span.enabled for span in self.active):
            classes.append("kb-chunk-off")
        if any(span.pk == self.selected for span in self.active):
            classes.append("kb-chunk-on")
        return " ".join(classes)


class _Walker(HTMLParser):
    """Sanitised HTML → the same with its text painted and without marks."""

    def __init__(self, painter: _Painter) -> None:
        super().__init__(convert_charrefs=False)
        self.painter = painter
        self.parts: list[str] = []
        self._run = ""
        self._links = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._flush()
        self._links += tag == "a"
        self.parts.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self._flush()
        self._links -= tag == "a"
        self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._run += data

    def handle_entityref(self, name: str) -> None:
        self._run += f"&{name};"

    def handle_charref(self, name: str) -> None:
        self._run += f"&#{name};"

    def close(self) -> None:
        super().close()
        self._flush()

    def _flush(self) -> None:
        run, self._run = self._run, ""
        at = 0
        for match in MARK.finditer(run):
            self._paint(run[at : match.start()])
            self.painter.move_to(int("".join(f"{DIGITS.index(d):x}" for d in match[1]), 16))
            at = match.end()
        self._paint(run[at:])

    def _paint(self, html: str) -> None:
        # A link inside a link is none: the number waits for the words behind it.
        self.parts.append(self.painter.paint(html, numbered=self._links == 0))
