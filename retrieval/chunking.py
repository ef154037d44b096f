"""Markdown → chunks with offsets and heading path.

Cuts follow the structure of the text (headings, then blocks, then sentences) and stay within
the embedding model's token limit; a code fence stays whole where it fits.
"""

import itertools
import re
from bisect import bisect_right
from dataclasses import dataclass

from markdown_it import MarkdownIt
from semantic_text_splitter import MarkdownSplitter
from tokenizers import Tokenizer

from retrieval.parsers.markdown import plain
from retrieval.types import ChunkSlice

#: Tokens that a model adds around a text ([CLS] and [SEP]).
SPECIAL_TOKENS = 2
#: At most this share of a chunk's tokens goes to its title and headings.
CONTEXT_SHARE = 0.25
SMALLEST_CAPACITY = 8
CONTEXT_STEP = 8
#: Markup that costs the model a fifth of its time and tells it nothing: marks in front of a
#: line, targets of links (their text stays), all of an address but its host, code and bold
#: marks. An address ends with its ASCII characters, since Chinese follows without a space.
#: Words are searched in the text itself, so a path in an address is still found.
MARKUP = (
    (re.compile(r"(?m)^[ \t]*(?:(?:[-*+>]|#{1,6})[ \t]+)+"), ""),
    (re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)"), r"\1"),
    (re.compile(r"<?https?://([\w.-]+)[!-;=?-~]*>?", re.ASCII), r"\1"),
    (re.compile(r"`+|\*\*"), ""),
)
#: Finds blocks only: what is inside of them is not looked at.
BLOCKS = MarkdownIt("commonmark").disable("inline")


@dataclass(frozen=True, slots=True)
class Heading:
    start: int  #: characters into the text, of the line that holds it
    end: int
    level: int
    text: str


class Chunker:
    """Cuts texts for one model and one size. Safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer, *, size: int, overlap: int, max_tokens: int) -> None:
        """`size` and `overlap` in tokens; `max_tokens` is what the model can read at once."""
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        # The files that models ship truncate and pad: both would falsify every count.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.limit = min(size, max_tokens)
        self.context_limit = int(self.limit * CONTEXT_SHARE)
        self.overlap = overlap
        self._splitters: dict[int, MarkdownSplitter] = {}

    def count(self, text: str) -> int:
        """Tokens of a text without the special ones."""
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def split(self, text: str, title: str) -> list[ChunkSlice]:
        """Cut a text. Offsets are characters into `text`; the title gives context only."""
        headings = find_headings(text)
        paths = heading_paths(headings)
        contexts = {context_of(title, path) for path in [(), *paths]}
        longest = max(map(self.count, contexts))
        # In steps, because every capacity has a splitter with a whole tokenizer inside.
        reserved = min(-(-longest // CONTEXT_STEP) * CONTEXT_STEP, self.context_limit)
        capacity = max(self.limit - SPECIAL_TOKENS - reserved, SMALLEST_CAPACITY)
        starts = [heading.start for heading in headings]
        slices: list[ChunkSlice] = []
        for start, piece in self._splitter(capacity).chunk_indices(text):
            end = start + len(piece)
            if not any(character.isalnum() for character in piece):
                continue
            if _is_only_headings(headings, starts, text, start, end) and end < len(text.rstrip()):
                continue  # its words are in the heading path of the chunk that follows
            enclosing = bisect_right(starts, start)
            path = paths[enclosing - 1] if enclosing else ()
            embedding_text = self.embedding_text(title, path, piece)
            slices.append(
                ChunkSlice(
                    order=len(slices),
                    start=start,
                    end=end,
                    heading_path=path,
                    text=piece,
                    token_count=self.count(embedding_text) + SPECIAL_TOKENS,
                    embedding_text=embedding_text,
                )
            )
        return slices

    def embedding_text(self, title: str, path: tuple[str, ...], piece: str) -> str:
        """What the model reads of a piece: title and headings above it, within their share.

        A piece that opens with its own heading needs it no second time.
        """
        context = self._fit(context_of(title, path))
        opening = plain(piece.lstrip("# \n").split("\n", 1)[0])
        lean = without_markup(piece)
        return lean if not context or opening == context else f"{context}\n\n{lean}"

    def _splitter(self, capacity: int) -> MarkdownSplitter:
        if capacity not in self._splitters:
            self._splitters[capacity] = MarkdownSplitter.from_huggingface_tokenizer(
                self.tokenizer, capacity, min(self.overlap, capacity - 1)
            )
        return self._splitters[capacity]

    def _fit(self, context: str) -> str:
        """Cut a context that is longer than its share, at the front: the last heading is the
        nearest to the text."""
        encoding = self.tokenizer.encode(context, add_special_tokens=False)
        if len(encoding.ids) <= self.context_limit:
            return context
        return context[encoding.offsets[-self.context_limit][0] :] if self.context_limit else ""


def without_markup(piece: str) -> str:
    """The words of a Markdown text, and the text itself where it has none."""
    words = piece
    for pattern, replacement in MARKUP:
        words = pattern.sub(replacement, words)
    return words if any(map(str.isalnum, words)) else piece


def find_headings(text: str) -> list[Heading]:
    """The headings of a Markdown text in order; a # inside a code fence is none."""
    if "#" not in text and "\n=" not in text and "\n-" not in text:
        return []
    line_starts = [0]
    for line in text.split("\n"):  # not splitlines(): Markdown knows no other line ends
        line_starts.append(min(line_starts[-1] + len(line) + 1, len(text)))
    headings = []
    tokens = BLOCKS.parse(text)
    for token, content in itertools.pairwise(tokens):
        if token.type == "heading_open" and token.map and token.level == 0:
            first, last = token.map
            if last < len(line_starts):
                headings.append(
                    Heading(
                        start=line_starts[first],
                        end=line_starts[last],
                        level=int(token.tag[1]),
                        text=plain(content.content),
                    )
                )
    return headings


def heading_paths(headings: list[Heading]) -> list[tuple[str, ...]]:
    """For each heading the path that its section has, outermost first."""
    path: list[Heading] = []
    paths = []
    for heading in headings:
        while path and path[-1].level >= heading.level:
            path.pop()
        path.append(heading)
        paths.append(tuple(step.text for step in path if step.text))
    return paths


def context_of(title: str, path: tuple[str, ...]) -> str:
    """What a chunk is about, for the model: title and headings, each once."""
    parts = [part for part in (title, *path) if part]
    return " > ".join(dict.fromkeys(parts))


def _is_only_headings(
    headings: list[Heading], starts: list[int], text: str, start: int, end: int
) -> bool:
    """Whether a slice holds nothing but headings."""
    position = start
    while position < end:
        number = bisect_right(starts, position) - 1
        if number < 0 or headings[number].end <= position:
            return not text[position:end].strip()
        position = headings[number].end
    return True
