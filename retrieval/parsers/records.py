"""Rows of tables and records of JSONL → Markdown whose chunks make sense.

A table as one Markdown table would be cut in the middle, and a row without its header says
nothing. So every row carries its column names; rows that are questions with answers become
sections, which search finds by their question.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retrieval.exceptions import InvalidTable
from retrieval.parsers.clean import check_length, nested, one_line
from retrieval.parsers.limits import Limits


def known(names: str) -> frozenset[str]:
    return frozenset(names.split(", "))


QUESTION = known(
    "question, questions, q, prompt, query, instruction, faq, 问题, 提问, 问, 问句, 标准问题, "
    "标准问, 問題, 提問, 問"
)
ANSWER = known(
    "answer, answers, a, response, reply, completion, output, 答案, 回答, 回复, 答, 标准答案, "
    "解答, 回覆"
)
TITLE = known("title, name, heading, subject, topic, 标题, 名称, 主题, 標題, 名稱")
TEXT = known("text, content, body, description, passage, 内容, 正文, 文本, 描述, 內容")
#: Characters of a row up to which it is one item of a list; a longer one is a section.
SHORT_ROW = 300
LONGEST_HEADING = 300
SHORT_HEADING = 80

Record = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Roles:
    """Which column plays which part; empty where none does."""

    question: str = ""
    answer: str = ""
    title: str = ""
    text: str = ""


def roles_of(columns: Iterable[str], options: Mapping[str, Any]) -> Roles:
    """Find the columns by their names, or as `options["columns"]` maps them.

    The mapping has any of the keys question, answer, title and text.

    Raises InvalidTable if the mapping names a column that is not there.
    """
    names = list(columns)
    found = {
        role: _first_of(names, wanted)
        for role, wanted in (
            ("question", QUESTION), ("answer", ANSWER), ("title", TITLE), ("text", TEXT),
        )
    }  # fmt: skip
    mapping = options.get("columns") or {}
    if not isinstance(mapping, Mapping):
        raise InvalidTable('The column mapping must look like {"question": "…", "answer": "…"}.')
    folded = {name.strip().casefold(): name for name in names}
    for role, wanted in mapping.items():
        if role not in found:
            raise InvalidTable(
                f"The column mapping knows {', '.join(found)}; not {role!r}.", column=str(role)
            )
        if not wanted:
            found[role] = ""
            continue
        if str(wanted).strip().casefold() not in folded:
            raise InvalidTable(
                f"There is no column {str(wanted)!r}. The columns are: {', '.join(names)[:1000]}.",
                column=str(wanted),
            )
        found[role] = folded[str(wanted).strip().casefold()]
    if not (found["question"] and found["answer"]):
        found["question"] = found["answer"] = ""
    return Roles(**found)


def _first_of(columns: list[str], wanted: frozenset[str]) -> str:
    return next((name for name in columns if name.strip().casefold() in wanted), "")


def render(records: Iterable[tuple[Roles, Record]], limits: Limits) -> str:
    """The Markdown of many records. Raises TextTooLong as soon as it is."""
    blocks: list[str] = []
    length = 0
    after_item = under_heading = False
    for roles, record in records:
        block, is_item = render_record(roles, record)
        if not block:
            continue
        if block.startswith("## "):
            under_heading = True
        elif under_heading:
            # Records need not be alike; this one is not about what the last heading says.
            first = one_line(next(filter(str.strip, record.values())))
            block, is_item = f"## {first[:SHORT_HEADING]}\n\n{block}", False
        length += len(block) + 2
        check_length(length, limits)
        blocks.append(("\n" if is_item and after_item else "\n\n") + block)
        after_item = is_item
    return "".join(blocks).strip()


def render_record(roles: Roles, record: Record) -> tuple[str, bool]:
    """One record as Markdown, and whether that is an item of a list."""
    filled = {name: value.strip() for name, value in record.items() if value.strip()}
    if not filled:
        return "", False
    head = filled.pop(roles.question, "") if roles.question else ""
    body = filled.pop(roles.answer, "") if roles.answer else ""
    if not roles.question:
        head = filled.get(roles.title, "")
        body = filled.get(roles.text, "")
        size = sum(len(name) + len(value) + 4 for name, value in filled.items())
        if not (head and body) and size <= SHORT_ROW and not _is_alone(filled, body):
            item = "; ".join(
                f"{one_line(name)}: {one_line(value)}" for name, value in filled.items()
            )
            return f"- {item}", True
        if head:
            filled.pop(roles.title)
        if body:
            filled.pop(roles.text)
    return "\n\n".join(_parts(head, body, filled)), False


def _is_alone(filled: Record, body: str) -> bool:
    """Nothing but running text: it needs no name before it."""
    return bool(body) and len(filled) == 1


def _parts(head: str, body: str, others: Record) -> Iterator[str]:
    heading = one_line(head).lstrip("# ")
    if heading and len(heading) <= LONGEST_HEADING:
        yield f"## {heading}"
    elif head:
        # A heading this long would crowd out the text of every chunk below it.
        yield f"## {heading[:LONGEST_HEADING].rsplit(' ', 1)[0]} …"
        yield nested(head)
    if body:
        yield nested(body)
    if others:
        yield "\n".join(f"- {one_line(name)}: {_cell(value)}" for name, value in others.items())


def _cell(value: str) -> str:
    """A cell in a list: its further lines belong to the same item."""
    lines = nested(value).split("\n")
    return lines[0] + "".join(f"\n  {line}" if line.strip() else "\n" for line in lines[1:])
