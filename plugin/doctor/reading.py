"""A document's bytes → its values, each with its line and column, and what is wrong with the
text itself.

JSON is read by `almost_json`, YAML by PyYAML's nodes, as YAML 1.2: `on` and dates are text, and
keys are always text, as they are to the clients, which are written in JavaScript.
"""

import bisect
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

from plugin.doctor import almost_json
from plugin.doctor.almost_json import Fault, Span, escaped, shown
from plugin.doctor.types import Document, Replacement
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

#: Bytes of a document; the largest published one has 70,000.
MAX_BYTES = 2 * 1024 * 1024
#: Values of a YAML document after its aliases were followed: a few lines can mean billions.
MAX_VALUES = 200_000
OPENAPI_KEYS = ("openapi", "swagger", "paths")
MANIFEST_KEYS = ("name_for_model", "name_for_human", "schema_version", "description_for_model")


@dataclass(frozen=True)
class Reading:
    """One document as far as it could be understood."""

    text: str
    value: Any = None
    spans: dict[str, Span] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    language: str = "json"  #: or yaml
    is_readable: bool = False  #: `value` is all of it
    address: str = ""  #: where it comes from; "" where unknown

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(found.end() for found in re.finditer(r"\r\n|\r|\n", self.text))]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1."""
        line = bisect.bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def place(self, pointer: str) -> tuple[int, int]:
        """Line and column of a value, by its name, or of the nearest one around it."""
        while pointer not in self.spans:
            if not pointer:
                return (1, 1) if self.text else (0, 0)
            pointer = pointer.rpartition("/")[0]
        return self.position(self.spans[pointer].key)

    @property
    def mapping(self) -> dict[str, Any]:
        return self.value if isinstance(self.value, dict) else {}

    def kinds(self) -> set[Document]:
        """What it is, by its keys; a document can be both."""
        kinds = set()
        if any(key in self.mapping for key in OPENAPI_KEYS):
            kinds.add(Document.OPENAPI)
        if any(key in self.mapping for key in MANIFEST_KEYS):
            kinds.add(Document.MANIFEST)
        return kinds

    def mended(self, edits: tuple[Replacement, ...]) -> str:
        """The text with some pieces replaced; of two that overlap, the wider one."""
        pieces: list[str] = []
        at = 0
        for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
            if edit.start >= at:
                pieces += [self.text[at : edit.start], edit.text]
                at = edit.end
        return "".join([*pieces, self.text[at:]])


def read(data: bytes | str, *, address: str = "", expect: Document = Document.MANIFEST) -> Reading:
    """Read a document of either language. Never raises."""
    text, faults = decode(data)
    reading = _read(text, faults, expect)
    return Reading(
        text=reading.text,
        value=reading.value,
        spans=reading.spans,
        faults=reading.faults,
        language=reading.language,
        is_readable=reading.is_readable,
        address=address,
    )


def decode(data: bytes | str) -> tuple[str, list[Fault]]:
    """Text, and what its bytes do that not every program understands."""
    faults: list[Fault] = []
    if isinstance(data, bytes):
        if len(data) > MAX_BYTES:
            fault = Fault(
                "KB119", 0, _("The document has %(length)s bytes.", length=f"{len(data):,}")
            )
            return "", [fault]
        encoding = "utf-8"
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "utf-16"
        elif b"\0" in data[:4]:
            encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            text = data.decode("latin-1")
            place = len(data[: error.start].decode("utf-8", "replace"))
            faults.append(
                Fault(
                    "KB118",
                    place,
                    _(
                        "Byte %(place)s is not UTF-8 (%(reason)s).",
                        place=f"{error.start:,}",
                        reason=error.reason,
                    ),
                )
            )
        if encoding != "utf-8":
            faults.append(Fault("KB118", 0, _("The document is UTF-16, not UTF-8.")))
    else:
        text = data
        if len(text) > MAX_BYTES:
            return "", [
                Fault(
                    "KB119",
                    0,
                    _("The document has %(length)s characters.", length=f"{len(text):,}"),
                )
            ]
    if text.startswith("\ufeff"):
        faults.append(
            Fault("KB105", 0, _("A byte order mark (U+FEFF) stands before the first character."))
        )
        text = text[1:]
    return text, faults


def _read(text: str, faults: list[Fault], expect: Document) -> Reading:
    start = text.lstrip()
    if any(fault.rule == "KB119" for fault in faults):
        return Reading(text, faults=tuple(faults))
    if not start:
        return Reading(text, faults=(*faults, Fault("KB120", 0, _("There is no text in it."))))
    if re.match(r"<(?:!doctype|html|head|body|\?xml|script|!--)", start, re.IGNORECASE):
        fault = Fault("KB121", 0, _("This is a page of the web: %(text)s", text=shown(start)))
        return Reading(text, faults=(*faults, fault))
    if looks_like_json(start):
        return _read_json(text, faults, expect)
    return _read_yaml(text, faults, expect)


def looks_like_json(text: str) -> bool:
    """Whether a text is meant as JSON, whatever stands before its first bracket."""
    without = re.sub(r"\A(?:\s+|//[^\n]*|/\*.*?\*/|#[^\n]*|```\w*)*", "", text, flags=re.DOTALL)
    return bool(re.match(r"[{\[]|(?:var|let|const|export default)\b|\w+\s*=\s*[{\[]", without))


def _read_json(text: str, faults: list[Fault], expect: Document) -> Reading:
    parsed = almost_json.parse(text)
    if parsed.faults and expect is Document.OPENAPI:
        # Clients read OpenAPI documents as YAML, which allows most of what JSON forbids.
        as_yaml = _read_yaml(text, [], expect)
        if as_yaml.is_readable and as_yaml.mapping:
            lesser = tuple(
                Fault(
                    fault.rule if fault.rule == "KB110" else "KB122",
                    fault.offset,
                    fault.message,
                    fault.edit,
                )
                for fault in parsed.faults
            )
            if parsed.is_complete:
                return Reading(text, parsed.value, parsed.spans, (*faults, *lesser), "json", True)
            return Reading(text, as_yaml.value, as_yaml.spans, (*faults, *lesser), "yaml", True)
    return Reading(
        text, parsed.value, parsed.spans, (*faults, *parsed.faults), "json", parsed.is_complete
    )


# --- YAML ------------------------------------------------------------------------------------


class _Yaml12(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml where it is there
    """Scalars as YAML 1.2 has them: `yes`, `on` and dates are text."""


_Yaml12.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml12.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


#: What PyYAML and libyaml say most often.
PROBLEMS = {
    "found a tab for indentation": _("a line is indented with a tab, which YAML forbids"),
    "mapping values are not allowed here": _("a colon stands where no name can stand"),
    "mapping values are not allowed in this context": _("a colon stands where no name can stand"),
    "could not find expected ':'": _("a colon is missing after a name"),
    "did not find expected key": _("a name should stand here; perhaps the indentation is wrong"),
    "expected <block end>, but found '<block mapping start>'": _("the indentation is wrong"),
    "did not find expected '-' indicator": _("the next entry of a list should begin here"),
    "did not find expected node content": _("a value should stand here"),
    "did not find expected ',' or '}'": _("a comma or a closing brace is missing"),
    "did not find expected ',' or ']'": _("a comma or a closing bracket is missing"),
    "found unexpected end of stream": _("the text ends within a quoted text or a bracket"),
    "found undefined alias": _("an alias names nothing in the document"),
    "found character that cannot start any token": _("a character that no value can begin with"),
    "found unknown escape character": _("a backslash stands before a character that needs none"),
    "expected a single document in the stream": _("more than one document is in the text"),
    "but found another document": _("more than one document is in the text"),
    "control characters are not allowed": _("a control character stands in the text"),
}


def _read_yaml(text: str, faults: list[Fault], expect: Document) -> Reading:
    found = list(faults)
    spans: dict[str, Span] = {}
    try:
        _check_depth(text)
        loader = _Yaml12(text)
        try:
            node = loader.get_single_node()
            builder = _Builder(loader, spans, found)
            value = builder.value(node, "", 0) if node is not None else None
        finally:
            loader.dispose()
    except _TooMuch as error:
        found.append(Fault("KB123", 0, error.message))
        return Reading(text, None, spans, tuple(found), "yaml")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = str(getattr(error, "problem", None) or error)
        offset = _offset(text, mark) if mark is not None else 0
        if "\t" in text[max(text.rfind("\n", 0, offset), 0) : offset + 1] and "token" in problem:
            problem = "found a tab for indentation"
        said = _(
            "This cannot be read as YAML: %(problem)s.", problem=PROBLEMS.get(problem, problem)
        )
        found.append(Fault("KB123", offset, said))
        return Reading(text, None, spans, tuple(found), "yaml")
    except ValueError as error:
        # Characters that YAML does not allow at all, or a number that is none.
        found.append(
            Fault(
                "KB123",
                0,
                _("This cannot be read as YAML: %(problem)s", problem=shown(str(error), 200)),
            )
        )
        return Reading(text, None, spans, tuple(found), "yaml")
    if expect is Document.MANIFEST and isinstance(value, dict):
        mended = json.dumps(value, ensure_ascii=False, indent=2)
        found.append(
            Fault(
                "KB124",
                0,
                _("The manifest is written in YAML."),
                Replacement(0, len(text), mended + "\n"),
            )
        )
    return Reading(text, value, spans, tuple(found), "yaml", True)


class _TooMuch(Exception):
    def __init__(self, message: Sentence) -> None:
        super().__init__(message)
        self.message = message


def _offset(text: str, mark: Any) -> int:
    """Where a mark stands; libyaml counts lines and columns reliably, its index not always."""
    lines = text.split("\n")
    before = sum(len(line) + 1 for line in lines[: mark.line])
    return min(before + int(mark.column), len(text))


def _check_depth(text: str) -> None:
    """Composing is recursive, so what is nested too deeply must not get there."""
    depth = 0
    for event in yaml.parse(text, _Yaml12):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > almost_json.MAX_DEPTH:
                raise _TooMuch(
                    _("It is nested deeper than %(most)s levels.", most=almost_json.MAX_DEPTH)
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Builder:
    """Nodes → values with text for keys, and where each stands."""

    def __init__(self, loader: Any, spans: dict[str, Span], faults: list[Fault]) -> None:
        self.loader = loader
        self.spans = spans
        self.faults = faults
        self.count = 0

    def value(self, node: Any, pointer: str, depth: int, key: int | None = None) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            raise _TooMuch(
                _(
                    "It has more than %(most)s values once its aliases are followed.",
                    most=f"{MAX_VALUES:,}",
                )
            )
        if depth > almost_json.MAX_DEPTH:
            raise _TooMuch(
                _(
                    "It is nested deeper than %(most)s levels, or within itself.",
                    most=almost_json.MAX_DEPTH,
                )
            )
        start, end = node.start_mark.index, node.end_mark.index
        self.spans[pointer] = Span(start, end, start if key is None else key)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, pointer, depth)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.value(item, f"{pointer}/{number}", depth + 1)
                for number, item in enumerate(node.value)
            ]
        return self.scalar(node)

    def mapping(self, node: Any, pointer: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own = {id(key) for key, _value in node.value}
        self.loader.flatten_mapping(node)
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(
                    Fault("KB123", key_node.start_mark.index, _("A name is a list or a mapping."))
                )
                continue
            key = str(key_node.value)
            if key in found and id(key_node) in own:
                self.faults.append(
                    Fault(
                        "KB125",
                        key_node.start_mark.index,
                        _(
                            "%(name)s stands twice.",
                            name=shown(json.dumps(key, ensure_ascii=False)),
                        ),
                    )
                )
            found[key] = self.value(
                value_node, f"{pointer}/{escaped(key)}", depth + 1, key_node.start_mark.index
            )
        return found

    def scalar(self, node: Any) -> Any:
        kind = node.tag.rsplit(":", 1)[-1]
        if kind in {"null", "bool", "int", "float"}:
            try:
                value = self.loader.construct_object(node)
            except (ValueError, yaml.YAMLError):
                return str(node.value)
            if isinstance(value, float) and (value != value or abs(value) == float("inf")):
                return None
            return value
        return str(node.value)
