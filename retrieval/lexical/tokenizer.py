"""Text → index terms; the same for every database and for documents and queries.

- words: lower-cased, compatibility forms and accents folded;
- Chinese, Japanese, Korean: pairs of neighbouring characters, and the single character where
  a run has only one (a trigram index would find no two-character word, and most are that);
- identifiers: whole and in parts (`--strip-components`, `snake_case`, `camelCase`, `v1.2.3`).
"""

import itertools
import re
import unicodedata
from collections.abc import Iterator

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
LONGEST_TERM = 64


def tokenize(text: str) -> list[str]:
    """Index terms of a text, in order, repeated as often as they occur."""
    text = unicodedata.normalize("NFKC", text)
    terms: list[str] = []
    position = 0
    for run in CJK_RUN.finditer(text):
        terms.extend(_words(text[position : run.start()]))
        terms.extend(_pairs(run.group()))
        position = run.end()
    terms.extend(_words(text[position:]))
    return terms


def has_cjk(text: str) -> bool:
    return CJK_RUN.search(text) is not None


def _pairs(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
    for first, second in itertools.pairwise(run):
        yield first + second


def _words(text: str) -> Iterator[str]:
    for match in WORD.finditer(text):
        word = match.group().rstrip(".-_")
        bare = word.lstrip("-")
        if not bare or len(bare) > LONGEST_TERM:
            # Longer runs are data, not words: base64, hashes, minified code.
            continue
        whole = _fold(bare)
        if word != bare:
            yield _fold(word)
        yield whole
        parts = [part for piece in re.split(r"[-_.+#]+", bare) for part in CAMEL.split(piece)]
        folded = [_fold(part) for part in parts if part]
        if len(folded) > 1:
            yield from (part for part in folded if part != whole)


def _fold(word: str) -> str:
    """Lower case without accents: "Café" → "cafe"."""
    decomposed = unicodedata.normalize("NFD", word.casefold())
    return "".join(character for character in decomposed if unicodedata.category(character) != "Mn")
