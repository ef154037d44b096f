"""CSV and JSONL: rows that carry their column names, pairs that search finds by question."""

import pytest

from retrieval.exceptions import InvalidRecord, InvalidTable, NoText
from retrieval.parsers import parse
from retrieval.parsers.table import find_delimiter


def text_of(data: str, filename: str = "a.csv", **options) -> str:
    return parse(filename, data.encode(), options=options).text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter):
    rows = [["name", "price, net", "note; old"], ["bolt", "1,5", "a|b"], ["nut", "2", ""]]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in rows]
    text = text_of("\n".join(lines))
    assert text == ("- name: bolt; price, net: 1,5; note; old: a|b\n- name: nut; price, net: 2")


@pytest.mark.parametrize(
    ("sample", "delimiter"),
    [
        ("name;text\nbolt;one, two, three\nnut;four, five\n", ";"),
        ("name,text\nbolt,one; two\nnut,three\n", ","),
        ("words\nmore words, and some\nothers\n", ","),
    ],
)
def test_the_header_decides_about_the_delimiter(sample, delimiter):
    assert find_delimiter(sample) == delimiter


def test_the_line_that_excel_writes_names_the_delimiter():
    assert text_of("sep=;\nname;price\nbolt;1,5\n") == "- name: bolt; price: 1,5"


def test_rows_may_be_ragged():
    text = text_of("name,price\nbolt\nnut,2,3,4\n\n,,\nscrew,5\n")
    assert text.split("\n") == [
        "- name: bolt",
        "- name: nut; price: 2; column 3: 3; column 4: 4",
        "- name: screw; price: 5",
    ]


def test_columns_of_one_name_are_told_apart():
    assert text_of("a,a,\n1,2,3\n") == "- a: 1; a (2): 2; column 3: 3"


@pytest.mark.parametrize(
    "header",
    ["question,answer", "Question , ANSWER", "q,a", "prompt,response", "问题,答案", "問題,回覆"],
)
def test_pairs_become_sections(header):
    assert text_of(f"{header}\nHow?,Like so.\nWhy?,Because.\n") == (
        "## How?\n\nLike so.\n\n## Why?\n\nBecause."
    )


def test_columns_can_be_mapped():
    columns = {"question": "Frage", "answer": "antwort"}
    text = text_of("Frage;Antwort;Thema\nWie?;So.;Technik\n", columns=columns)
    assert text == "## Wie?\n\nSo.\n\n- Thema: Technik"


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"question": "Fragen", "answer": "b"}, "Fragen"),
        ({"frage": "a"}, "frage"),
        ("a", "mapping"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(columns, named):
    with pytest.raises(InvalidTable, match=named):
        text_of("a,b\n1,2\n", columns=columns)


def test_an_answer_keeps_its_markdown_below_its_question():
    text = text_of('q,a\nHow?,"# Steps\n\n```\n# a comment\n```\n\n## More"\n')
    assert text == "## How?\n\n### Steps\n\n```\n# a comment\n```\n\n#### More"


def test_a_fence_that_an_answer_leaves_open_ends_with_it():
    assert text_of('q,a\nHow?,"```\ncode"\nWhy?,b\n').count("```") == 2


def test_a_question_of_many_lines_is_one_heading():
    assert text_of('q,a\n"How\nand why?",b\n').startswith("## How and why?\n")


def test_long_rows_become_sections():
    text = text_of(f"title,text,lang\nBolts,{'long text ' * 50},en\n")
    assert text.startswith("## Bolts\n\nlong text")
    assert text.endswith("- lang: en")


def test_a_quote_that_is_never_closed_is_refused_with_its_line():
    with pytest.raises(InvalidTable, match="line 3") as caught:
        text_of('a,b\n1,2\n3,"open\n4,5\n')
    assert caught.value.details["line"] == 3


def test_stray_quotes_are_read_as_most_programs_do():
    assert "bolt" in text_of('name,size\n"bolt "long" one",2\nnut,3\n')


def test_every_row_is_there_once_after_a_stray_quote():
    text = text_of('name,size\nscrew,1\n"bolt "long" one",2\nnut,3\n')
    assert [text.count(word) for word in ("screw", "bolt", "nut")] == [1, 1, 1]


@pytest.mark.parametrize("data", ["a,b\n", "question,answer\n\n,,\n", '""\n'])
def test_a_header_alone_is_no_text(data):
    with pytest.raises(NoText):
        text_of(data)


def test_records_of_jsonl_need_not_be_alike():
    lines = [
        '{"question": "Q1?", "answer": "A1"}',
        "",
        '{"title": "T", "text": "Body", "tags": ["a", "b"], "n": 3, "on": true, "no": null}',
        '{"x": 1, "y": {"z": 2}}',
        '"just words"',
    ]
    assert text_of("\n".join(lines), "a.jsonl").split("\n\n") == [
        "## Q1?",
        "A1",
        "## T",
        "Body",
        "- tags: a, b\n- n: 3\n- on: yes",
        # A heading of its own: it is not about what the last one says.
        "## 1",
        '- x: 1; y: {"z": 2}',
        "## just words",
        "just words",
    ]


@pytest.mark.parametrize(
    ("line", "column"), [('{"a":', 6), ("{'a': 1}", 2), ("{} {}", 4), ("words", 1)]
)
def test_a_broken_line_is_refused_with_its_place(line, column):
    with pytest.raises(InvalidRecord, match="Line 2") as caught:
        text_of('{"a": "b"}\n' + line, "a.jsonl")
    assert caught.value.details == {"line": 2, "column": column}


def test_half_a_surrogate_pair_is_replaced():
    assert "half \ufffd" in text_of('{"text": "half \\ud800"}', "a.jsonl")
