"""JSON as people write it: read as far as it can be understood, with the place of every value,
every departure from the standard, and the change that would mend it.

Read are comments, commas too many or too few, other quotes, bare words, Python's literals,
line breaks in strings, odd numbers, brackets left open and text around the document.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from plugin.doctor.types import Replacement
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

#: Levels of nesting; documents for models have a dozen.
MAX_DEPTH = 100
WHITE = re.compile(r"[ \t\r\n]*")
ODD_WHITE = re.compile(r"[\u00a0\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff\u2028\u2029\v\f\x85]+")
COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/|#[^\r\n]*|<!--.*?-->", re.DOTALL)
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])")
LENIENT_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"
)
WORD = re.compile(r"[A-Za-z_$][\w$.-]*")
BARE = re.compile(r"[^,\]}\r\n\"':{\[]+")
LITERALS = {"true": True, "false": False, "null": None}
FOREIGN = {
    "True": True,
    "TRUE": True,
    "False": False,
    "FALSE": False,
    "None": None,
    "Null": None,
    "NULL": None,
    "nil": None,
    "undefined": None,
    "NaN": None,
    "Infinity": None,
}
CLOSING = {
    '"': '"',
    "'": "'",
    "`": "`",
    "“": "“”„",
    "”": "“”",
    "„": "“”",
    "‘": "‘’",
    "’": "‘’",
    "＂": "＂",
    "«": "»",
}
ESCAPES = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
#: What the line after a string that was not closed begins with.
NEXT_ENTRY = re.compile(r"[ \t\r\n]{1,200}(?:[\"'][^\"'\r\n]{1,60}[\"'][ \t]*:|[}\]])")


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands, in characters; `key` is where its name begins, or its start."""

    start: int
    end: int
    key: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A departure from the standard."""

    rule: str
    offset: int
    message: Sentence
    edit: Replacement | None = None
    pointer: str = ""


@dataclass(slots=True)
class Parsed:
    value: Any = None
    spans: dict[str, Span] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    is_complete: bool = False  #: everything was understood


class _Stop(Exception):
    """The rest cannot be understood."""


def escaped(key: str) -> str:
    """A key as a part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def parse(text: str) -> Parsed:
    """Never raises: what cannot be understood is a fault of rule KB102."""
    reader = _Reader(text)
    try:
        reader.document()
        reader.parsed.is_complete = True
    except _Stop:
        pass
    return reader.parsed


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.parsed = Parsed()

    def fault(
        self, rule: str, offset: int, message: Sentence, edit: Replacement | None = None
    ) -> None:
        self.parsed.faults.append(Fault(rule, offset, message, edit))

    def stop(self, message: Sentence, offset: int | None = None) -> "_Stop":
        self.fault("KB102", self.at if offset is None else offset, message)
        return _Stop()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def line_of(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def document(self) -> None:
        self.before()
        self.space()
        start = self.at
        self.parsed.value = self.value("", 0, start)
        self.space()
        if self.at < len(self.text):
            rest = self.text[self.at :].strip()
            self.fault(
                "KB116",
                self.at,
                _("The document is over, but more text follows: %(text)s", text=shown(rest)),
                Replacement(self.at, len(self.text), ""),
            )

    def before(self) -> None:
        """A fence of Markdown, an assignment: what stands before the first bracket."""
        found = re.match(
            r"\s*(```\w*\s*|(?:(?:var|let|const|export default)\b[^{\[]*|\w+\s*=\s*)(?=[{\[]))",
            self.text,
        )
        if found and found[0].strip():
            self.fault(
                "KB116",
                found.start(1),
                _("Text stands before the document: %(text)s", text=shown(found[0].strip())),
                Replacement(0, found.end(), ""),
            )
            self.at = found.end()

    def space(self) -> None:
        """Over white space and comments."""
        while True:
            self.at = WHITE.match(self.text, self.at).end()  # type: ignore[union-attr]  # it also matches nothing
            if odd := ODD_WHITE.match(self.text, self.at):
                self.fault(
                    "KB109",
                    self.at,
                    _(
                        "An invisible character (U+%(code)s) stands between values.",
                        code=f"{ord(odd[0][0]):04X}",
                    ),
                    Replacement(self.at, odd.end(), " "),
                )
                self.at = odd.end()
            elif comment := COMMENT.match(self.text, self.at):
                self.fault(
                    "KB104",
                    self.at,
                    _("JSON knows no comments: %(text)s", text=shown(comment[0])),
                    Replacement(self.at, comment.end(), ""),
                )
                self.at = comment.end()
            else:
                return

    def value(self, pointer: str, depth: int, key: int) -> Any:
        start = self.at
        char = self.peek()
        if depth > MAX_DEPTH:
            raise self.stop(
                _("The document is nested deeper than %(most)s levels.", most=MAX_DEPTH)
            )
        if char == "{":
            value: Any = self.object(pointer, depth)
        elif char == "[":
            value = self.array(pointer, depth)
        elif char and char in CLOSING:
            value = self.string()
        elif not char:
            raise self.stop(_("The text ends where a value should stand."))
        else:
            value = self.scalar()
        self.parsed.spans[pointer] = Span(start, self.at, key)
        return value

    def object(self, pointer: str, depth: int) -> dict[str, Any]:
        opened = self.at
        self.at += 1
        found: dict[str, Any] = {}
        while self.entry(opened, "}", bool(found)):
            place = self.at
            key = self.key()
            self.space()
            self.colon()
            self.space()
            if self.peek() in {",", "}"}:
                raise self.stop(
                    _("%(name)s has no value.", name=shown(json.dumps(key, ensure_ascii=False)))
                )
            if key in found:
                self.fault(
                    "KB110",
                    place,
                    _(
                        "%(name)s stands twice; the last counts.",
                        name=shown(json.dumps(key, ensure_ascii=False)),
                    ),
                )
            found[key] = self.value(f"{pointer}/{escaped(key)}", depth + 1, place)
        return found

    def array(self, pointer: str, depth: int) -> list[Any]:
        opened = self.at
        self.at += 1
        found: list[Any] = []
        while self.entry(opened, "]", bool(found)):
            found.append(self.value(f"{pointer}/{len(found)}", depth + 1, self.at))
        return found

    def entry(self, opened: int, closing: str, is_later: bool) -> bool:
        """Move to the next entry; False after the closing bracket."""
        ended = self.at
        self.space()
        comma = -1
        while self.peek() == ",":
            if comma >= 0 or not is_later:
                self.fault(
                    "KB103",
                    self.at,
                    _("A comma too many."),
                    Replacement(self.at, self.at + 1, ""),
                )
            else:
                comma = self.at
            self.at += 1
            self.space()
        char = self.peek()
        if char == closing:
            if comma >= 0:
                self.fault(
                    "KB103",
                    comma,
                    _("A comma stands before the closing %(closing)s.", closing=closing),
                    Replacement(comma, comma + 1, ""),
                )
            self.at += 1
            return False
        if not char:
            bracket = self.text[opened]
            # A comma that the rest was cut off after goes with it.
            start = comma if comma >= 0 else len(self.text)
            self.fault(
                "KB114",
                opened,
                _(
                    "This %(bracket)s is never closed: the text ends before its %(closing)s.",
                    bracket=bracket,
                    closing=closing,
                ),
                Replacement(start, start + 1 if comma >= 0 else start, closing),
            )
            return False
        if char in "]}":
            raise self.stop(
                _(
                    "A %(found)s stands where the %(opening)s of line %(line)s waits for its "
                    "%(closing)s.",
                    found=char,
                    opening=self.text[opened],
                    line=self.line_of(opened),
                    closing=closing,
                )
            )
        if is_later and comma < 0:
            self.fault(
                "KB108",
                ended,
                _("A comma is missing between two entries."),
                Replacement(ended, ended, ","),
            )
        return True

    def key(self) -> str:
        char = self.peek()
        if char in CLOSING:
            return self.string()
        word = WORD.match(self.text, self.at) or re.compile(r"\d+").match(self.text, self.at)
        if not word:
            raise self.stop(
                _("A name in quotes should stand here, not %(text)s.", text=shown(char))
            )
        self.fault(
            "KB107",
            self.at,
            _("The name %(text)s has no quotes.", text=shown(word[0])),
            Replacement(self.at, word.end(), json.dumps(word[0])),
        )
        self.at = word.end()
        return word[0]

    def colon(self) -> None:
        if self.peek() == ":":
            self.at += 1
            return
        other = re.compile(r"=>|=|：").match(self.text, self.at)
        if not other and not re.compile(r"[\"'{\[\w-]").match(self.text, self.at):
            raise self.stop(_("A colon should stand between a name and its value."))
        end = other.end() if other else self.at
        self.fault(
            "KB115",
            self.at,
            _("A colon should stand here, not %(text)s.", text=other[0])
            if other
            else _("A colon is missing."),
            Replacement(self.at, end, ":"),
        )
        self.at = end

    def scalar(self) -> Any:
        start = self.at
        if number := NUMBER.match(self.text, start):
            self.at = number.end()
            return float(number[0]) if re.search("[.eE]", number[0]) else _integer(number[0])
        if odd := LENIENT_NUMBER.match(self.text, start):
            self.at = odd.end()
            plain = odd[0].replace("_", "").lstrip("+")
            value: Any
            if "x" in plain.lower():
                value = int(plain, 16)
            elif plain.lstrip("-").isdecimal():
                value = _integer(plain)
            else:
                value = float(plain)
            self.fault(
                "KB111",
                start,
                _("JSON does not write a number as %(text)s.", text=shown(odd[0])),
                Replacement(start, odd.end(), json.dumps(value)),
            )
            return value
        word = WORD.match(self.text, start)
        if word and word[0] in LITERALS:
            self.at = word.end()
            return LITERALS[word[0]]
        bare = BARE.match(self.text, start)
        text = bare[0].rstrip() if bare else ""
        for literal, value in FOREIGN.items():
            if text.lstrip("-") == literal:
                self.at = start + len(text)
                self.fault(
                    "KB111",
                    start,
                    _(
                        "JSON does not know %(text)s; it writes %(right)s.",
                        text=text,
                        right=json.dumps(value),
                    ),
                    Replacement(start, self.at, json.dumps(value)),
                )
                return value
        if not text or not re.match(r"[\w$@<]", text):
            raise self.stop(
                _("A value should stand here, not %(text)s.", text=shown(self.text[start:]))
            )
        # A bare word goes on to the end of its line, colons of addresses included.
        found = re.compile(r"[^,\]}\r\n\"]+").match(self.text, start)
        text = (found[0] if found else text).rstrip()
        self.at = start + len(text)
        self.fault(
            "KB107",
            start,
            _("The text %(text)s has no quotes.", text=shown(text)),
            Replacement(start, self.at, json.dumps(text, ensure_ascii=False)),
        )
        return text

    def string(self) -> str:
        start = self.at
        quote = self.text[start]
        closing = CLOSING[quote]
        pieces: list[str] = []
        at = start + 1
        while True:
            if at >= len(self.text):
                self.at = start
                raise self.stop(_("This text is never closed: its second quote is missing."), start)
            char = self.text[at]
            if char in closing:
                break
            if char == "\\":
                at = self.escape(at, pieces, quote)
                continue
            if char in "\r\n" and NEXT_ENTRY.match(self.text, at):
                return self.unclosed(start, at)
            if char < " ":
                escape = json.dumps(char)[1:-1]
                self.fault(
                    "KB109",
                    at,
                    _("A line break stands inside a text.")
                    if char in "\r\n"
                    else _(
                        "A control character (U+%(code)s) stands inside a text.",
                        code=f"{ord(char):04X}",
                    ),
                    Replacement(at, at + 1, escape) if quote == '"' else None,
                )
            pieces.append(char)
            at += 1
        self.at = at + 1
        value = "".join(pieces)
        if quote != '"':
            rule = "KB106" if quote in "'`" else "KB112"
            kind = _("single quotes") if quote == "'" else _("quotes like %(quote)s", quote=quote)
            self.fault(
                rule,
                start,
                _(
                    "JSON wants double quotes, not %(kind)s: %(text)s",
                    kind=kind,
                    text=shown(self.text[start : self.at]),
                ),
                Replacement(start, self.at, json.dumps(value, ensure_ascii=False)),
            )
        return value

    def unclosed(self, start: int, newline: int) -> str:
        line = self.text[start + 1 : newline].rstrip()
        text = line.rstrip(",").rstrip()
        end = start + 1 + len(text)
        quote = CLOSING[self.text[start]][-1]
        self.fault(
            "KB113",
            start,
            _("The closing quote is missing: %(text)s", text=shown(self.text[start:newline])),
            Replacement(end, end, quote),
        )
        self.at = end
        return text

    def escape(self, at: int, pieces: list[str], quote: str) -> int:
        """Read an escape; where the text goes on."""
        char = self.text[at + 1 : at + 2]
        if char == quote == "'":
            pieces.append(char)
            return at + 2
        if char in ESCAPES and char:
            pieces.append(ESCAPES[char])
            return at + 2
        code = re.compile(r"[0-9a-fA-F]{4}").match(self.text, at + 2) if char == "u" else None
        if code:
            first = int(code[0], 16)
            second = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(self.text, at + 6)
            if 0xD800 <= first < 0xDC00 and second:
                low = int(second[1], 16)
                pieces.append(chr(0x10000 + ((first - 0xD800) << 10) + low - 0xDC00))
                return at + 12
            # Half a pair is no character; it could not be written again.
            pieces.append("\ufffd" if 0xD800 <= first < 0xE000 else chr(first))
            return at + 6
        instead = char if char == "'" else "\\\\" + char
        self.fault(
            "KB117",
            at,
            _("JSON knows no escape \\%(character)s.", character=char or ""),
            Replacement(at, at + 1 + len(char), instead) if char.isprintable() else None,
        )
        pieces.append(char if char == "'" else "\\" + char)
        return at + 1 + len(char)


def _integer(digits: str) -> int | float:
    # Python refuses to read thousands of digits, and no plugin means them.
    return int(digits) if len(digits) <= 300 else float(digits)


def shown(text: str, length: int = 60) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
