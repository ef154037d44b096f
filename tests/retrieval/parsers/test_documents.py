"""PDF, Word, PowerPoint, Excel and web pages become Markdown that keeps their structure."""

import datetime

import pytest

from retrieval.exceptions import TextTooLong, TooManyPages
from retrieval.parsers import Limits, parse
from tests.retrieval.parsers import samples

LONG = "Backups run every night and are kept for ninety days in another building. " * 3


def test_a_pdf_keeps_headings_and_paragraphs():
    data = samples.pdf([
        [("Title", "Operations handbook"), ("Heading1", "Backups"), ("BodyText", LONG),
         ("BodyText", "A second paragraph."), ("Heading2", "Restore"), ("BodyText", LONG)],
        [("Heading1", "Monitoring"), ("BodyText", LONG)],
    ])  # fmt: skip
    parsed = parse("a.pdf", data)
    assert parsed.title == "Operations handbook"
    assert parsed.metadata == {"pages": 2}
    blocks = parsed.text.split("\n\n")
    assert [block for block in blocks if block.startswith("#")] == [
        "# Operations handbook",
        "# Backups",
        "## Restore",
        "# Monitoring",
    ]
    assert "A second paragraph." in blocks
    assert "another\nbuilding" in parsed.text or "in another building" in parsed.text


def test_a_pdf_loses_what_every_page_repeats_and_nothing_else():
    pages = [[("Heading1", f"Chapter {n}"), ("BodyText", f"Text {n}. {LONG}")] for n in range(6)]
    text = parse("a.pdf", samples.pdf(pages, header="ACME confidential")).text
    assert "ACME" not in text
    assert "Page " not in text
    assert all(f"Chapter {n}" in text and f"Text {n}." in text for n in range(6))


@pytest.mark.parametrize(
    ("given", "title"),
    [("Rules of the house", "Rules of the house"), ("Microsoft Word - a.docx", "name"),
     ("untitled", "name")],
)  # fmt: skip
def test_a_made_up_title_is_no_title(given, title):
    assert parse("a/name.pdf", samples.pdf([[("BodyText", LONG)]], title=given)).title == title


def test_a_long_pdf_is_refused_with_its_limit():
    with pytest.raises(TooManyPages, match="KBADMIN_MAX_PAGES") as caught:
        parse("a.pdf", samples.simple_pdf(pages=4), limits=Limits(max_pages=3))
    assert caught.value.details["limit"] == 3


def test_a_long_text_is_refused_while_it_is_read():
    with pytest.raises(TextTooLong, match="KBADMIN_MAX_CHARACTERS"):
        parse("a.pdf", samples.simple_pdf(LONG, pages=9), limits=Limits(max_characters=1000))
    with pytest.raises(TextTooLong):
        parse("a.csv", b"a,b\n" + b"1,2\n" * 999, limits=Limits(max_characters=1000))


def test_a_word_file_keeps_headings_lists_and_tables():
    def build(document):
        document.add_heading("Operations", 0)
        document.add_heading("Backups", 1)
        document.add_paragraph("Every night.")
        document.add_paragraph("first", style="List Bullet")
        document.add_paragraph("second", style="List Bullet")
        table = document.add_table(2, 2)
        for row, cells in enumerate([("Name", "Value"), ("retention", "90 days")]):
            for column, cell in enumerate(cells):
                table.cell(row, column).text = cell

    parsed = parse("a.docx", samples.word(build))
    assert parsed.title == "Operations"
    assert parsed.text.startswith("# Operations\n\n# Backups\n\nEvery night.")
    assert "* first\n* second" in parsed.text
    assert "| Name | Value |\n| --- | --- |\n| retention | 90 days |" in parsed.text


def test_the_title_of_a_word_file_is_that_of_its_properties():
    assert parse("a.docx", samples.word(title="House rules")).title == "House rules"


def test_a_presentation_has_a_section_for_each_slide():
    deck = [("Welcome", "Point one\nPoint two", "Say hello"), ("Second slide", "Text", "")]
    parsed = parse("a.pptx", samples.presentation(deck))
    assert parsed.title == "Welcome"
    assert parsed.metadata == {"slides": 2}
    assert parsed.text.startswith("## Welcome\n\nPoint one\nPoint two")
    assert "Say hello" in parsed.text
    assert "## Second slide\n\nText" in parsed.text


def test_a_workbook_names_the_columns_in_every_row():
    rows = [
        ["Item", "Price", "Since", None],
        ["Bolt", 0.25, datetime.datetime(2024, 1, 2), None],
        [None, None, None, None],
        ["Nut", 1.0, datetime.datetime(2024, 1, 3, 9, 30), "extra"],
    ]
    pairs = [["Question", "Answer", "Tag"], ["How?", "Like so.", "x"], ["Why?", "Because.", None]]
    parsed = parse("a.xlsx", samples.workbook({"Prices": rows, "FAQ": pairs, "None": [["A"]]}))
    assert parsed.text.split("\n\n") == [
        "# Prices",
        "- Item: Bolt; Price: 0.25; Since: 2024-01-02\n"
        "- Item: Nut; Price: 1; Since: 2024-01-03 09:30; column 4: extra",
        "# FAQ",
        "## How?",
        "Like so.",
        "- Tag: x",
        "## Why?",
        "Because.",
    ]


def test_one_sheet_can_be_chosen():
    book = samples.workbook({"a": [["x"], ["one"]], "b": [["x"], ["two"]]})
    text = parse("a.xlsx", book, options={"sheet": "b"}).text
    assert "two" in text and "one" not in text


def test_a_web_page_loses_menus_and_scripts():
    page = """<!doctype html><html><head><title>Backups - Site</title><style>x{}</style></head>
    <body><nav><a href=/>Home</a></nav><main><h1>Backups</h1><p>Every <b>night</b>.</p>
    <ul><li>a<li>b</ul><table><tr><th>k<th>v</tr><tr><td>1<td>2</tr></table>
    <pre># comment</pre><script>alert(1)</script><img src=x.png alt="a graph"></main>
    <!-- hidden --><footer>(c)</footer></body></html>"""
    parsed = parse("a.html", page.encode())
    assert parsed.title == "Backups - Site"
    for gone in ("Home", "alert", "x{}", "(c)", "hidden", "x.png"):
        assert gone not in parsed.text
    assert parsed.text.startswith("# Backups\n\nEvery **night**.")
    assert "* a\n* b" in parsed.text
    assert "| k | v |\n| --- | --- |\n| 1 | 2 |" in parsed.text
    assert "# comment" in parsed.text and "a graph" in parsed.text


def test_a_page_that_sits_in_its_menu_is_kept():
    page = f"<html><body><nav><p>{LONG}</p></nav></body></html>"
    assert "ninety days" in parse("a.html", page.encode()).text


@pytest.mark.parametrize("charset", ["big5", "shift_jis", "euc-jp", "gbk", "utf-8"])
def test_a_page_is_read_in_the_encoding_that_it_declares(charset):
    page = f'<html><head><meta charset="{charset}"></head><body><p>中文日本</p></body></html>'
    assert parse("a.html", page.encode(charset)).text == "中文日本"


def test_what_is_given_onward_is_clean():
    page = "<html><body><p>bell \x07, half &#xd800; pair, nul &#0; end\r\nline</p></body></html>"
    text = parse("a.html", page.encode()).text
    text.encode()
    assert not any(ord(character) < 32 and character not in "\n\t" for character in text)
