"""CSV and its kin: a header, then one record per row."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from retrieval.exceptions import InvalidTable, NoText
from retrieval.parsers.clean import one_line
from retrieval.parsers.limits import Limits
from retrieval.parsers.records import Record, Roles, render, roles_of
from retrieval.parsers.text import decode
from retrieval.types import ParsedDocument

DELIMITERS = ",;\t|"
#: Characters at the start of a file from which its delimiter is found.
SAMPLE = 64 * 1024
MAX_COLUMNS = 1000


def parse(filename: str, data: bytes, limits: Limits, options: Mapping[str, Any]) -> ParsedDocument:
    """Read a CSV file of whatever delimiter; options as of `records_of`.

    Raises InvalidTable for an open quote, with its line, and for a mapping that does not fit.
    """
    text = decode(data)
    delimiter = ""
    if text[:4].casefold() == "sep=" and text[4:5] in DELIMITERS and text[5:6] == "\n":
        delimiter, text = text[4], text[6:]  # Excel writes this line
    rows = read_rows(text, delimiter or find_delimiter(text), limits)
    body = render(records_of(rows, options), limits)
    return ParsedDocument(title=PurePosixPath(filename).stem, text=body, metadata={})


def find_delimiter(text: str) -> str:
    """The delimiter by which the first rows have most often the same number of columns."""
    sample = text[:SAMPLE]
    if len(text) > SAMPLE:
        sample = sample.rpartition("\n")[0] or sample

    def agreement(delimiter: str) -> tuple[float, int]:
        try:
            widths = [len(row) for row in csv.reader(io.StringIO(sample), delimiter=delimiter)]
        except csv.Error:
            return 0.0, 0
        widths = [width for width in widths if width]
        if not widths or max(widths) < 2:
            return 0.0, 0
        width, count = Counter(widths).most_common(1)[0]
        # The header decides where rows are ragged.
        width = widths[0] if widths[0] > 1 else width
        return (count / len(widths) if width > 1 else 0.0), width

    return max(DELIMITERS, key=agreement)


def read_rows(text: str, delimiter: str, limits: Limits) -> Iterator[list[str]]:
    """Rows as the standard reads them; where quotes are used loosely, as most programs do.

    Raises InvalidTable if a quote is never closed: everything after it would be one cell.
    """
    csv.field_size_limit(max(limits.max_characters, 131_072))
    started = 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            started = reader.line_num + 1
            yield row
    except csv.Error as error:
        if "field larger" in str(error):
            raise InvalidTable(
                f"The cell that begins in line {started} is longer than a whole document may "
                "be. Split it, or raise KBADMIN_MAX_CHARACTERS.",
                line=started,
            ) from error
        if "unexpected end" in str(error):
            raise InvalidTable(
                f"A quote that opens in line {started} is never closed. Close it, or double "
                'it ("") if it belongs to the text.',
                line=started,
            ) from error
        # A stray quote inside a quoted cell. Lines before `started` have been given already.
        lines = io.StringIO(text, newline="")
        for _ in range(started - 1):
            next(lines)
        yield from csv.reader(lines, delimiter=delimiter)


def records_of(
    rows: Iterable[list[str]], options: Mapping[str, Any]
) -> Iterator[tuple[Roles, Record]]:
    """Rows below a header as records.

    Options: `columns` maps the parts question, answer, title and text to column names;
    `header: False` says that the first row is data.

    Raises InvalidTable for a mapping that does not fit, NoText for a header alone.
    """
    filled = (row for row in rows if any(cell.strip() for cell in row))
    first = next(filled, None)
    if first is None:
        return
    if len(first) > MAX_COLUMNS:
        raise InvalidTable(
            f"The first row has {len(first):,} columns; at most {MAX_COLUMNS:,} are read. "
            "Check the delimiter, or split the table."
        )
    has_header = options.get("header", True) is not False
    names = unique_names(first if has_header else [""] * len(first))
    roles = roles_of(names, options)
    empty = True
    for row in filled if has_header else _chain(first, filled):
        empty = False
        if len(row) > len(names):
            names = unique_names([*names, *[""] * (min(len(row), MAX_COLUMNS) - len(names))])
        yield roles, dict(zip(names, row, strict=False))
    if empty:
        raise NoText(
            "No text was found: this table has a header and no rows. Add rows, or delete it."
        )


def _chain(first: list[str], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rest


def unique_names(header: list[str]) -> list[str]:
    """Column names of which each is there once: a nameless one is called by its number."""
    names: list[str] = []
    taken: set[str] = set()
    for number, cell in enumerate(header, 1):
        name = base = one_line(cell) or f"column {number}"
        again = 1
        while name in taken:
            again += 1
            name = f"{base} ({again})"
        taken.add(name)
        names.append(name)
    return names
