"""Files of questions with the documents that answer them: SQuAD-style JSON, CSV, JSONL.

    JSON    {"data": [{"paragraphs": [{"context": "…", "qas": [{"question": "…"}]}]}]}
            the relevant document is the one whose text is the paragraph's, or holds it; a
            paragraph may name it by `external_id` or `document` for when its text is not found
    CSV     question,document[,quote]    a header, then a row for each relevant document
    JSONL   {"question": "…", "document": "…" or […], "quote": "…"}    in each line

`external_id` may be written for `document`. Rows with the same question are one question.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.exceptions import InvalidQuestions
from retrieval.parsers.clean import clean, one_line
from retrieval.spreadsheets import meant

QUESTION, DOCUMENT, QUOTE = "question", "document", "quote"
#: Other names for the column of the relevant document.
DOCUMENT_NAMES = (DOCUMENT, "external_id")


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what answers it, as a file or the golden set has it."""

    question: str
    relevant: frozenset[str]  #: external ids
    #: the paragraph that answers it, normalised: leads to the documents that hold it, and
    #: counts before `relevant`
    passage: str = ""
    quote: str = ""  #: the words of the answer
    group: str = ""  #: the article or file that it belongs to
    place: str = ""  #: where it stands, for messages: "line 3"


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions to measure with, and what was left out of their file."""

    questions: tuple[Question, ...]
    source: str  #: for people: the file's name
    empty: int = 0  #: left out because nothing was asked
    unanswerable: int = 0  #: left out because the file says that nothing answers them

    def sample(self, count: int, seed: int) -> "QuestionSet":
        """Some of them, drawn without replacement, in their order; the same for a seed."""
        if count >= len(self.questions):
            return self
        rng = np.random.default_rng(seed)
        chosen = sorted(rng.choice(len(self.questions), size=count, replace=False).tolist())
        return replace(self, questions=tuple(self.questions[place] for place in chosen))


def load_questions(path: Path) -> QuestionSet:
    """Read a file of questions; what kind it is follows from its name's ending.

    Raises InvalidQuestions, with the place, for anything that cannot be read or used, and if
    no question is left.
    """
    _reader_of(path.name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidQuestions(f"{path} cannot be read: {error.strerror}.") from error
    return read_questions(path.name, data)


def read_questions(name: str, data: bytes) -> QuestionSet:
    """The questions of a file that is in memory; otherwise as load_questions."""
    reader = _reader_of(name)
    try:
        rows = list(reader(data.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise InvalidQuestions(
            f"{name}: byte {error.start} is not UTF-8. Save the file as UTF-8."
        ) from error
    except InvalidQuestions as error:
        raise InvalidQuestions(f"{name}: {error.message}") from error
    asked = [row for row in rows if row is not None]
    kept = [row for row in asked if row.question]
    if not kept:
        raise InvalidQuestions(f"{name} holds no question.")
    return QuestionSet(
        questions=tuple(_merged(kept)),
        source=name,
        empty=len(asked) - len(kept),
        unanswerable=len(rows) - len(asked),
    )


def _reader_of(name: str) -> Callable[[str], Iterator[Question | None]]:
    readers: dict[str, Callable[[str], Iterator[Question | None]]] = {
        ".json": _squad,
        ".csv": _csv,
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
    }
    reader = readers.get(Path(name).suffix.lower())
    if reader is None:
        raise InvalidQuestions(
            f"{name}: questions are read from .json (SQuAD), .csv and .jsonl files."
        )
    return reader


def normalised(text: str) -> str:
    """A text without what reading and saving may change: blanks, and forms of characters."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def _merged(questions: list[Question]) -> Iterator[Question]:
    """Rows with the same question are one with several relevant documents.

    Paragraphs are not: the same words about two paragraphs are two questions of a benchmark.
    """
    together: dict[int | str, Question] = {}
    for number, item in enumerate(questions):
        key = number if item.passage else item.question
        known = together.get(key)
        together[key] = item if known is None else _with(known, item)
    yield from together.values()


def _with(known: Question, more: Question) -> Question:
    return replace(known, relevant=known.relevant | more.relevant, quote=known.quote or more.quote)


# --- One reader for each kind of file. None is a question that nothing answers. -------------


def _squad(text: str) -> Iterator[Question | None]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidQuestions(f"line {error.lineno} is not JSON ({error.msg}).") from error
    except RecursionError as error:
        raise InvalidQuestions("it is nested too deeply.") from error
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise InvalidQuestions(
            'SQuAD-style JSON is wanted: {"data": [{"paragraphs": [{"context": …, "qas": …}]}]}.'
        )
    for number, article in enumerate(content["data"]):
        place = f"data[{number}]"
        title = str(_object(article, place).get("title") or "")
        for index, paragraph in enumerate(_list(article, "paragraphs", place)):
            yield from _paragraph(paragraph, title, f"{place}.paragraphs[{index}]")


def _paragraph(paragraph: Any, title: str, place: str) -> Iterator[Question | None]:
    context = normalised(_text(_object(paragraph, place), "context", place))
    if not context:
        raise InvalidQuestions(f"{place}.context is empty.")
    relevant = frozenset(_documents(paragraph, place))
    for index, qa in enumerate(_list(paragraph, "qas", place)):
        inner = f"{place}.qas[{index}]"
        if _object(qa, inner).get("is_impossible"):
            yield None
            continue
        answers = qa.get("answers") or []
        quote = answers[0].get("text") if answers and isinstance(answers[0], dict) else ""
        yield Question(
            question=one_line(_text(qa, QUESTION, inner)),
            relevant=relevant,
            passage=context,
            quote=clean(str(quote or "")),
            group=title,
            place=inner,
        )


def _csv(text: str) -> Iterator[Question]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in reader.fieldnames or ()]
        if QUESTION not in header or not set(header) & set(DOCUMENT_NAMES):
            raise InvalidQuestions("line 1 must be a header: question,document or more columns.")
        reader.fieldnames = header
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row:
                raise InvalidQuestions(f"{place} has more columns than the header.")
            yield _row({name: meant(value or "") for name, value in row.items()}, place)
    except csv.Error as error:
        raise InvalidQuestions(f"line {reader.line_num} is not CSV ({error}).") from error


def _jsonl(text: str) -> Iterator[Question]:
    # Not splitlines(): JSON may hold U+2028 as it is.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidQuestions(f"{place} is not JSON ({error.msg}).") from error
        yield _row(_object(row, place), place)


def _row(row: Mapping[str, Any], place: str) -> Question:
    question = one_line(_text(row, QUESTION, place))
    relevant = frozenset(_documents(row, place))
    if question and not relevant:
        raise InvalidQuestions(f"{place} names no document.")
    quote = row.get(QUOTE) or ""
    return Question(question, relevant, quote=clean(str(quote)), place=place)


def _documents(row: Mapping[str, Any], place: str) -> Iterator[str]:
    for name in DOCUMENT_NAMES:
        given = row.get(name)
        for value in given if isinstance(given, list) else [given]:
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                raise InvalidQuestions(f"{place}: `{name}` must be a document's external id.")
            yield value.strip()


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidQuestions(f"{place} is not an object with names and values.")
    return value


def _list(row: Mapping[str, Any], name: str, place: str) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list):
        raise InvalidQuestions(f"{place}.{name} is missing or not a list.")
    return value


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise InvalidQuestions(f"{place}: `{name}` is missing or not a text.")
    return value
