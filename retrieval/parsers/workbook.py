"""Excel (.xlsx) → Markdown: each sheet a table, each row with its column names.

By openpyxl, not markitdown: that makes one wide table of a sheet, which chunking would cut
into rows without a header.
"""

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import openpyxl

from retrieval.exceptions import NoText, TooManyPages
from retrieval.parsers.clean import check_length, one_line
from retrieval.parsers.limits import Limits
from retrieval.parsers.office import reading, title_of
from retrieval.parsers.records import render
from retrieval.parsers.table import MAX_COLUMNS, records_of
from retrieval.types import ParsedDocument

#: Rows without a value after which a sheet is over: a format set for whole columns leaves a
#: million of them.
EMPTY_ROWS = 1000


def parse(filename: str, data: bytes, limits: Limits, options: Mapping[str, Any]) -> ParsedDocument:
    """Read a workbook; `options["columns"]` maps columns, `options["sheet"]` names one sheet.

    Raises TooManyPages, InvalidTable, DamagedFile, ZipBomb, ParserFailed.
    """
    sections: list[str] = []
    with reading(data, limits, "Excel") as stream:
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
        names = [sheet.title for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if len(names) > limits.max_pages:
            raise TooManyPages(
                f"This workbook has {len(names):,} sheets; at most {limits.max_pages:,} are read. "
                "Split it, or raise KBADMIN_MAX_PAGES.",
                limit=limits.max_pages,
            )
        wanted = options.get("sheet")
        for name in names:
            if wanted and name != wanted:
                continue
            try:
                text = render(records_of(rows_of(book[name]), options), limits)
            except NoText:  # a header alone; another sheet may hold the rows
                continue
            if text:
                # Above the rows' own headings, which are of level 2.
                sections.append(f"# {one_line(name)}\n\n{text}" if len(names) > 1 else text)
                check_length(sum(map(len, sections)), limits)
        book.close()
    return ParsedDocument(title_of(filename, data), "\n\n".join(sections), {"sheets": len(names)})


def rows_of(sheet: Any) -> Iterator[list[str]]:
    """The rows of a sheet as text."""
    # The size that a file claims for its sheet may be wrong either way.
    sheet.reset_dimensions()
    empty = 0
    for row in sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS):
        cells = [as_text(value) for value in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            empty = 0
            yield cells
        elif (empty := empty + 1) > EMPTY_ROWS:
            return


def as_text(value: Any) -> str:
    """A cell as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, datetime.datetime):
        is_date = value.time() == datetime.time()
        return value.date().isoformat() if is_date else value.isoformat(" ", "minutes")
    return str(value)
