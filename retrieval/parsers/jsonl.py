"""JSONL: one record per line."""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from retrieval.exceptions import InvalidRecord
from retrieval.parsers.limits import Limits
from retrieval.parsers.records import Record, Roles, render, roles_of
from retrieval.parsers.text import decode
from retrieval.types import ParsedDocument


def parse(filename: str, data: bytes, limits: Limits, options: Mapping[str, Any]) -> ParsedDocument:
    """Read records with question and answer, or title and text, or any fields.

    Raises InvalidRecord with its line; InvalidTable if `options["columns"]` names a field that
    the first record does not have.
    """
    body = render(records_of(decode(data), options), limits)
    return ParsedDocument(title=PurePosixPath(filename).stem, text=body, metadata={})


def records_of(text: str, options: Mapping[str, Any]) -> Iterator[tuple[Roles, Record]]:
    """Records with the parts their own fields play: lines need not be alike."""
    mapped: Roles | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        record = _read(line, number)
        if options.get("columns") and mapped is None:
            mapped = roles_of(record, options)
        yield mapped or roles_of(record, {}), record


def _read(line: str, number: int) -> Record:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidRecord(
            f"Line {number} is not valid JSON, column {error.colno}: {error.msg}. "
            "Each line must hold one whole record.",
            line=number,
            column=error.colno,
        ) from error
    except (RecursionError, ValueError) as error:
        raise InvalidRecord(
            f"Line {number} cannot be read: it is nested too deeply or holds a number that is "
            "too long. Mend or remove it.",
            line=number,
        ) from error
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise InvalidRecord(
            f'Line {number} is no record: write it as {{"title": …, "text": …}}.', line=number
        )
    return {str(name) or "value": _as_text(item) for name, item in value.items()}


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False)
