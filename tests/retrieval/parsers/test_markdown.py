import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.exceptions import InvalidFrontMatter, KnowledgeBaseError
from retrieval.parsers import parse
from retrieval.parsers.markdown import first_heading


def page(front_matter: str, body: str = "Some text.") -> bytes:
    return f"---\n{front_matter}\n---\n{body}\n".encode()


def test_front_matter_keeps_its_types():
    parsed = parse(
        "a.md",
        page(
            "title: Backups\nversion: 3\nratio: 0.5\nreviewed: true\ndate: 2024-03-01\n"
            "at: 2024-03-01T10:30:00\ntags: [linux, 7, 2024-01-01]\nempty:\n"
        ),
    )
    assert parsed.metadata == {
        "title": "Backups",
        "version": 3,
        "ratio": 0.5,
        "reviewed": True,
        "date": "2024-03-01",
        "at": "2024-03-01T10:30:00",
        "tags": ["linux", 7, "2024-01-01"],
    }
    assert parsed.metadata["reviewed"] is True
    assert parsed.text == "Some text."


def test_nested_values_become_text():
    metadata = parse("a.md", page("author: {name: Ann, age: 40}")).metadata
    assert "Ann" in str(metadata["author"])
    assert isinstance(metadata["author"], str)


def test_front_matter_may_hold_chinese_and_windows_line_ends():
    data = "---\r\ntitle: 备份\r\n语言: zh\r\n---\r\n正文内容\r\n".encode()
    parsed = parse("a.md", data)
    assert parsed.title == "备份"
    assert parsed.metadata["语言"] == "zh"
    assert parsed.text == "正文内容"


def test_broken_yaml_is_refused_with_its_line_and_column():
    with pytest.raises(InvalidFrontMatter) as caught:
        parse("a.md", page("title: fine\ntags: [one, two\ndate: x"))
    # Counted in the file: the opening --- is line 1, so `date` is in line 4.
    assert caught.value.details["line"] == 4
    assert caught.value.details["column"] >= 1
    assert "line 4" in caught.value.message


def test_a_stray_tab_is_refused_where_it_stands():
    with pytest.raises(InvalidFrontMatter) as caught:
        parse("a.md", page("title: x\n\ttags: y"))
    assert (caught.value.details["line"], caught.value.details["column"]) == (3, 1)


def test_a_thematic_break_at_the_top_is_no_front_matter():
    text = "---\n\n# Title\n\nText without an end of a block.\n"
    parsed = parse("a.md", text.encode())
    assert parsed.metadata == {}
    assert parsed.title == "Title"
    assert "Text without an end of a block." in parsed.text


def test_text_between_two_thematic_breaks_is_not_lost():
    """Nothing that people wrote may vanish without a word (law 4)."""
    text = "---\nWelcome to the handbook\n---\n\nHere it goes on.\n"
    try:
        parsed = parse("a.md", text.encode())
    except InvalidFrontMatter:
        return
    assert "Welcome to the handbook" in parsed.text
    assert "Here it goes on." in parsed.text


def test_a_list_between_two_thematic_breaks_is_not_lost():
    text = "---\n- first\n- second\n---\n\nHere it goes on.\n"
    try:
        parsed = parse("a.md", text.encode())
    except InvalidFrontMatter:
        return
    assert "second" in parsed.text


def test_empty_front_matter_is_front_matter():
    parsed = parse("a.md", b"---\n---\nText below.\n")
    assert parsed.metadata == {}
    assert parsed.text.strip() == "Text below."


def test_a_break_later_in_the_page_is_text():
    parsed = parse("a.md", b"Text.\n\n---\n\ntitle: not front matter\n\n---\n")
    assert parsed.metadata == {}
    assert "title: not front matter" in parsed.text


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: From above\n---\n# From the text\n", "From above"),
        ("---\ntitle: 2024\n---\ntext\n", "2024"),
        ("---\ntitle:\n---\n# From the text\n", "From the text"),
        ("Some words.\n\n## Second level\n\n# First level\n", "First level"),
        ("Some words.\n\n## Second level\n\nmore\n", "Second level"),
        ("Under\n=====\n\ntext\n", "Under"),
        ("# `code` and **bold** and \\*star\\*\n\ntext", "code and bold and star"),
        ("No heading at all.\n", "my-page"),
        ("```\n# a comment in code\n```\n", "my-page"),
        (f"---\ntitle: {'x' * 600}\n---\ntext", "x" * 500),
    ],
)
def test_the_title_comes_from_front_matter_heading_or_name(text, title):
    assert parse("folder/my-page.md", text.encode()).title == title


@pytest.mark.parametrize(
    ("line", "published"),
    [
        ("draft: true", False),
        ("published: false", False),
        ("draft: false", True),
        ("published: true", True),
        ('draft: "yes, one"', True),
        ("title: nothing said", True),
    ],
)
def test_a_draft_is_not_published(line, published):
    assert parse("a.md", page(line)).published is published


def storable(value) -> bool:
    """What every database takes: Unicode text without NUL, finite numbers."""
    if isinstance(value, list):
        return all(map(storable, value))
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return isinstance(value, bool) or (
        isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e308
    )


@pytest.mark.parametrize(
    "value",
    [".nan", ".inf", "-.inf", "[1, .inf]", '"\\ud800"', '"a\\0b"', '"\\udfff"', "9" * 400],
    ids=["nan", "inf", "minus inf", "in a list", "surrogate", "nul", "low surrogate", "huge"],
)
def test_values_that_no_database_takes_are_refused_or_made_text(value):
    try:
        parsed = parse("a.md", page(f"field: {value}"))
    except InvalidFrontMatter as error:
        assert error.message
    else:
        assert storable(parsed.metadata["field"]), parsed.metadata


@pytest.mark.parametrize("name", ['"\\ud800"', '"a\\0b"', "? [1, 2]\n"])
def test_names_that_no_database_takes_are_refused_or_made_text(name):
    try:
        parsed = parse("a.md", page(f"{name}: 1"))
    except InvalidFrontMatter:
        return
    assert all(storable(key) for key in parsed.metadata)


@pytest.mark.parametrize("title", ['"\\ud83d"', '"\\0"', '"a\\0b"'])
def test_titles_that_no_database_takes_are_refused_or_mended(title):
    try:
        parsed = parse("a.md", page(f"title: {title}"))
    except InvalidFrontMatter:
        return
    assert storable(parsed.title)


def test_yaml_that_unfolds_without_end_is_refused_quickly():
    """Nine levels of nine references: a billion values out of a few hundred bytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    try:
        parsed = parse("a.md", page("\n".join(lines)))
    except InvalidFrontMatter:
        return
    assert len(str(parsed.metadata)) < 100_000


@pytest.mark.parametrize("depth", [30, 500, 5_000, 100_000])
@pytest.mark.parametrize("closing", ["", "]"])
def test_deep_nesting_is_refused_and_does_not_crash(depth, closing):
    with pytest.raises(InvalidFrontMatter):
        parse("a.md", page(f"a: {'[' * depth}{closing * depth}"))


def test_a_list_that_holds_itself_is_refused():
    with pytest.raises(InvalidFrontMatter):
        parse("a.md", page("a: &a [1, *a]"))


def test_a_blank_line_below_the_first_break_does_not_hide_front_matter():
    parsed = parse("a.md", b"---\n\ntitle: Backups\n---\ntext\n")
    assert parsed.title == "Backups"


def test_sections_between_breaks_are_text_whatever_they_hold():
    text = "---\n\n# Title\n\nA note: with *stars*: and [brackets\n\n---\n\nMore.\n"
    parsed = parse("a.md", text.encode())
    assert (parsed.title, parsed.text) == ("Title", text)


def test_yaml_cannot_make_python_objects():
    with pytest.raises(InvalidFrontMatter):
        parse("a.md", page("x: !!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize(
    "text", ["", "plain words", "#no blank", "    # code", "```\n# in a fence\n```"]
)
def test_what_is_no_heading_gives_no_title(text):
    assert first_heading(text) == ""


@given(st.text(alphabet="ab:-[]{}\"'#&*!|>%@`, \n\t0", max_size=120))
def test_any_front_matter_is_read_or_refused_with_a_place(header):
    try:
        parsed = parse("a.md", page(header))
    except KnowledgeBaseError as error:
        assert len(error.message) > 10
    else:
        assert "Some text." in parsed.text
        assert all(storable(value) for value in parsed.metadata.values())
