"""Two texts beside each other, with the words that differ."""

import difflib
import re
from dataclasses import dataclass

#: Words of either text that are compared: more take longer than anybody waits for a page.
COMPARED = 2000
#: Texts that have less than this in common are shown as they are: marks would be everywhere.
ALIKE = 0.3

#: A word, a single Chinese or Japanese character, spaces, or any other character.
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|[^\W\u3040-\u30ff\u3400-\u9fff]+|\s+|."
)


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    before: list[Piece]
    after: list[Piece]
    is_alike: bool  #: enough for the differing words to be marked


def compare(before: str, after: str) -> Compared:
    """The pieces of both texts; joined, they are the texts."""
    old, new = WORD.findall(before), WORD.findall(after)
    if max(len(old), len(new)) > COMPARED:
        return Compared([Piece(before)], [Piece(after)], is_alike=False)
    # Very frequent words are no anchors: without that, a text of one word takes minutes.
    matcher = difflib.SequenceMatcher(str.isspace, old, new)
    if matcher.ratio() < ALIKE:
        return Compared([Piece(before)], [Piece(after)], is_alike=False)
    left, right = [], []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        is_changed = tag != "equal"
        if i2 > i1:
            left.append(Piece("".join(old[i1:i2]), is_changed))
        if j2 > j1:
            right.append(Piece("".join(new[j1:j2]), is_changed))
    return Compared(left, right, is_alike=True)
