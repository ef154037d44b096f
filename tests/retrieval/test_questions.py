"""Files of questions: what each kind means, and what is said about a bad one."""

import json

import pytest

from retrieval.exceptions import InvalidQuestions
from retrieval.questions import QuestionSet, load_questions, normalised
from tests.conftest import SHARED_DATA


@pytest.fixture
def load(tmp_path):
    """Read a text as a file of a name."""

    def read(name: str, text: str | bytes) -> QuestionSet:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_questions(path)

    return read


def squad(*paragraphs):
    return json.dumps({"data": [{"title": "Article", "paragraphs": list(paragraphs)}]})


def test_squad_gives_each_question_its_paragraph(load):
    found = load(
        "q.json",
        squad(
            {
                "context": "The zebra\n sleeps.",
                "qas": [
                    {"question": "Who sleeps? ", "answers": [{"text": "The zebra"}]},
                    {"question": "What does the zebra do?"},
                ],
            },
            {"context": "Other.", "external_id": "b.md", "qas": [{"question": "Who sleeps?"}]},
        ),
    )
    # The same words about another paragraph are another question.
    assert [item.question for item in found.questions] == [
        "Who sleeps?",
        "What does the zebra do?",
        "Who sleeps?",
    ]
    first, _, third = found.questions
    assert first.passage == normalised("The zebra sleeps.")
    assert (first.quote, first.group, first.relevant) == ("The zebra", "Article", frozenset())
    assert third.relevant == {"b.md"}
    assert found.source == "q.json"


def test_questions_that_ask_nothing_or_have_no_answer_are_counted(load):
    qas = [{"question": "x?"}, {"question": " "}, {"question": "y?", "is_impossible": True}]
    found = load("q.json", squad({"context": "text", "qas": qas}))
    assert [item.question for item in found.questions] == ["x?"]
    assert (found.empty, found.unanswerable) == (1, 1)


def test_rows_of_a_csv_with_the_same_question_are_one(load):
    found = load(
        "q.csv",
        "Question,document,quote\nWho eats?,a.md,\nWho eats?,b.md,The giraffe\n"
        '"What, then?","c, d.md",\n,e.md,\n',
    )
    who, what = found.questions
    assert (who.question, who.relevant, who.quote) == ("Who eats?", {"a.md", "b.md"}, "The giraffe")
    assert (what.question, what.relevant) == ("What, then?", {"c, d.md"})
    assert found.empty == 1


def test_a_csv_from_a_spreadsheet_is_read(load):
    """A byte order mark, Windows line ends, another name for the column, line breaks in a cell."""
    found = load("q.CSV", b'\xef\xbb\xbfquestion,external_id\r\n"two\nlines",a.md\r\n\r\n')
    assert [(item.question, item.relevant) for item in found.questions] == [("two lines", {"a.md"})]


def test_jsonl_takes_one_document_or_several(load):
    found = load(
        "q.jsonl",
        '{"question": "谁在睡觉？", "document": "a.md", "quote": "斑马"}\n\n'
        '{"question": "y", "document": ["a.md", "b.md"]}\n{"question": "y", "external_id": "c.md"}',
    )
    assert [(item.question, item.relevant) for item in found.questions] == [
        ("谁在睡觉？", {"a.md"}),
        ("y", {"a.md", "b.md", "c.md"}),
    ]


def test_control_characters_that_no_database_takes_are_left_out(load):
    found = load("q.jsonl", '{"question": "a\\u0000b", "document": "a.md", "quote": "q\\u0000"}')
    assert (found.questions[0].question, found.questions[0].quote) == ("ab", "q")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.txt", "x", ".jsonl"),
        ("q.json", "{", "line 1"),
        ("q.json", '{"a":\n1,\n}', "line 3"),
        ("q.json", "[" * 100_000, "nested"),
        ("q.json", "[]", "SQuAD"),
        ("q.json", '{"data": [3]}', "data[0]"),
        ("q.json", '{"data": [{}]}', "data[0].paragraphs"),
        ("q.json", squad({"context": "x", "qas": [{"question": 5}]}), "paragraphs[0].qas[0]"),
        ("q.json", squad({"context": " ", "qas": []}), "paragraphs[0].context"),
        ("q.json", squad({"qas": []}), "paragraphs[0]: `context`"),
        ("q.json", '{"data": []}', "no question"),
        ("q.csv", "", "line 1"),
        ("q.csv", "question,quote\nx,y", "line 1"),
        ("q.csv", "question,document\nx,a.md\ny", "line 3 names no document"),
        ("q.csv", "question,document\nx,a.md,z", "line 2 has more columns"),
        ("q.csv", 'question,document\nx,"a.md', "is not CSV"),
        ("q.csv", "question,document\n", "no question"),
        ("q.jsonl", '{"question": "x", "document": "a"}\nnope', "line 2 is not JSON"),
        ("q.jsonl", "[1]", "line 1 is not an object"),
        ("q.jsonl", '{"question": "x"}', "line 1 names no document"),
        ("q.jsonl", '{"document": "x"}', "line 1: `question`"),
        ("q.jsonl", '{"question": "x", "document": [5]}', "line 1: `document`"),
        ("q.jsonl", b"\xff\xfe", "byte 0 is not UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(load, name, text, said):
    with pytest.raises(InvalidQuestions) as caught:
        load(name, text)
    assert name in caught.value.message
    assert said in caught.value.message


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidQuestions, match=r"No such file"):
        load_questions(tmp_path / "none.csv")


def test_a_sample_is_the_same_for_a_seed_and_keeps_the_order(load):
    rows = "\n".join(f"question {number},a.md" for number in range(50))
    every = load("q.csv", f"question,document\n{rows}")
    one, again, other = every.sample(10, 1), every.sample(10, 1), every.sample(10, 2)
    assert one == again != other
    assert len(set(one.questions)) == 10
    assert list(one.questions) == [item for item in every.questions if item in one.questions]
    assert every.sample(50, 1) == every.sample(99, 1) == every


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "questions", "empty", "passages"),
    [("xquad.en.json", 1190, 0, 240), ("cmrc2018.trial.zh.json", 1000, 2, 256)],
)
def test_the_evaluation_data_is_read_whole(name, questions, empty, passages):
    found = load_questions(SHARED_DATA / "eval" / name)
    assert (len(found.questions), found.empty) == (questions, empty)
    assert len({item.passage for item in found.questions}) == passages
