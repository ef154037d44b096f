"""Text → index terms; the same for every database and for documents and queries.

- words: lower-cased, compatibility forms and accents folded;
- Chinese, Japanese, Korean: pairs of neighbouring characters, and the single character where
  a run has only one (a trigram index would find no two-character word, and most are that);
- identifiers: whole and in parts (`--strip-components`, `snake_case`, `camelCase`, `v1.2.3`).
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence

CJK = (
    "\u3005\u3007"  # iteration mark, zero
    "\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # ideographs
    "\uac00-\ud7af"  # hangul
    "\U00020000-\U0003ffff"
)
#: Characters that join an identifier; the database's own tokeniser must keep them.
JOINERS = "-_.+#"
CJK_RUN = re.compile(f"[{CJK}]+")
#: A run without blanks, to be cut further; marks (category M) belong to their letters.
WORD = re.compile(rf"(?:--?)?[^\W_{CJK}](?:[^\W{CJK}]|[{re.escape(JOINERS)}]|[\u0300-\u036f])*")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
PIECE = re.compile(f"[^{re.escape(JOINERS)}]+")
LONGEST_TERM = 64

Located = tuple[str, int, int]  #: a term, where it begins, where it ends


def tokenize(text: str) -> list[str]:
    """Index terms of a text, in order, repeated as often as they occur."""
    return [term for word in _words(unicodedata.normalize("NFKC", text)) for term, _, _ in word]


def spans(text: str, terms: Collection[str]) -> list[tuple[int, int]]:
    """Where a text holds one of these index terms, for highlighting.

    Offsets count the characters of `text` as it was given, end excluded; ascending and
    disjoint. Spans that overlap or touch, as pairs of neighbouring characters do, are one.
    """
    wanted = frozenset(terms)
    if not wanted:
        return []
    normal, starts, ends = _normalized(text)
    found: list[tuple[int, int]] = []
    for word in _words(normal):
        for term, start, end in word:
            if term not in wanted:
                continue
            if _inside_character(starts, start) or _inside_character(starts, end):
                # "Ⅱz" reads "IIz", of which "I" and "Iz" are parts, but half a character
                # cannot be marked: the whole word is.
                _, start, end = word[0]
            found.append((starts[start], ends[end - 1]))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _words(text: str) -> Iterator[list[Located]]:
    """The terms of each word of a text in NFKC: whole first, then its parts."""
    position = 0
    for run in CJK_RUN.finditer(text):
        yield from _identifiers(text, position, run.start())
        yield from _pairs(text, run.start(), run.end())
        position = run.end()
    yield from _identifiers(text, position, len(text))


def _pairs(text: str, start: int, end: int) -> Iterator[list[Located]]:
    if end - start == 1:
        yield [(text[start], start, end)]
    for first in range(start, end - 1):
        yield [(text[first : first + 2], first, first + 2)]


def _identifiers(text: str, start: int, end: int) -> Iterator[list[Located]]:
    for match in WORD.finditer(text, start, end):
        word = match.group().rstrip(".-_")
        bare = word.lstrip("-")
        if not bare or len(bare) > LONGEST_TERM:
            # Longer runs are data, not words: base64, hashes, minified code.
            continue
        last = match.start() + len(word)
        first = last - len(bare)
        whole = _fold(bare)
        terms = [(whole, first, last)]
        if word != bare:
            terms.insert(0, (_fold(word), match.start(), last))
        parts = list(_parts(bare, first))
        if len(parts) > 1:
            # A part can be nothing but accents, and then no term is left of it.
            terms += [part for part in parts if part[0] and part[0] != whole]
        yield terms


def _parts(bare: str, offset: int) -> Iterator[Located]:
    for piece in PIECE.finditer(bare):
        start = offset + piece.start()
        for part in CAMEL.split(piece.group()):
            yield _fold(part), start, start + len(part)
            start += len(part)


def _fold(word: str) -> str:
    """Lower case without accents: "Café" → "cafe"."""
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFD", word.casefold())
    return "".join(character for character in decomposed if unicodedata.category(character) != "Mn")


def _normalized(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """A text in NFKC and, for each of its characters, where the original's begin and end that
    it was made of."""
    if unicodedata.is_normalized("NFKC", text):
        return text, range(len(text)), range(1, len(text) + 1)
    normal: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _segments(text):
        piece = unicodedata.normalize("NFKC", text[start:end])
        normal.append(piece)
        starts += [start] * len(piece)
        ends += [end] * len(piece)
    return "".join(normal), starts, ends


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """The smallest slices that can be normalised by themselves: letters with their marks."""
    start = 0
    for position in range(1, len(text)):
        if not _joins(text[start:position], text[position]):
            yield start, position
            start = position
    yield start, len(text)


def _joins(segment: str, character: str) -> bool:
    """Whether normalisation may change a segment by what follows it (UAX #15, section 9)."""
    if character < "\u0300" or "\u3400" <= character <= "\u9fff":
        return False  # most characters by far
    if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]):
        return True
    # Vowels of Hangul and of some Indic scripts compose without being combining marks.
    apart = unicodedata.normalize("NFKC", segment) + unicodedata.normalize("NFKC", character)
    return unicodedata.normalize("NFKC", segment + character) != apart


def _inside_character(starts: Sequence[int], boundary: int) -> bool:
    return 0 < boundary < len(starts) and starts[boundary - 1] == starts[boundary]
