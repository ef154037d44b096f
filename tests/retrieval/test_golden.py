"""The golden set: what an import adds, what an export gives back, what documents still say."""

import csv
import io
import json

import pytest

from retrieval import golden
from retrieval.exceptions import InvalidQuestions
from retrieval.golden import Row, plan
from retrieval.models import Judgment
from retrieval.questions import load_questions, read_questions
from retrieval.search import MAX_QUERY_LENGTH

pytestmark = pytest.mark.django_db

REFUNDS = "# Refunds\n\nA refund may take thirty days. Ask the desk for a form."
PARKING = "# 停车\n\n访客把车停在楼后的第七排。"


@pytest.fixture
def docs(add, collection):
    add("refunds.md", REFUNDS, index=False)
    add("parking.md", PARKING)
    return collection


def test_a_plan_tells_what_is_new_what_is_there_and_what_has_no_document(docs):
    document = docs.documents.get(external_id="refunds.md")
    Judgment.objects.create(collection=docs, question="How long?", document=document)
    lines = (
        "question,document,quote\n"
        "How long?,refunds.md,\n"
        "How long?,refunds.md,\n"
        "访客停哪里？,parking.md,第七排\n"
        "Who pays?,nowhere.md,\n"
        ",refunds.md,\n" + "x" * (MAX_QUERY_LENGTH + 1) + ",refunds.md,\n"
    )
    found = plan(docs, read_questions("set.csv", lines.encode()))
    assert found.new == (Row("访客停哪里？", "parking.md", "第七排"),)
    assert (found.known, found.unresolved, found.unknown) == (1, ("Who pays?",), ("nowhere.md",))
    assert (found.left_out, found.too_long) == (1, 1)
    assert Judgment.objects.count() == 1


def test_paragraphs_of_squad_lead_to_the_documents_that_hold_them(docs):
    paragraph = {
        "context": "A refund may take  thirty days.",
        "qas": [{"question": "How long?", "answers": [{"text": "thirty days"}]}],
    }
    content = json.dumps({"data": [{"paragraphs": [paragraph]}]})
    found = plan(docs, read_questions("squad.json", content.encode()))
    assert found.new == (Row("How long?", "refunds.md", "thirty days"),)


def test_too_many_paragraphs_are_refused_in_a_sentence(docs, monkeypatch):
    monkeypatch.setattr(golden, "LOOKS", 1)
    paragraph = {"context": "A refund.", "qas": [{"question": "How?"}]}
    content = json.dumps({"data": [{"paragraphs": [paragraph]}]})
    with pytest.raises(InvalidQuestions, match="Split the file"):
        plan(docs, read_questions("squad.json", content.encode()))


def test_adding_twice_adds_once_and_flags_quotes_that_nobody_says(docs):
    rows = [
        Row("How long?", "refunds.md", "thirty days"),
        Row("How long exactly?", "refunds.md", "forty days"),
        Row("Gone?", "nowhere.md"),
    ]
    added = golden.add(docs, rows)
    assert len(added) == 2
    assert golden.add(docs, rows) == []
    stale = Judgment.objects.get(is_stale=True)
    assert (stale.question, stale.source) == ("How long exactly?", "import")
    assert golden.forget_quotes(Judgment.objects.all()) == 1
    stale.refresh_from_db()
    assert (stale.quote, stale.is_stale) == ("", False)


def test_a_quote_is_stale_once_its_document_says_something_else(docs, add):
    golden.add(docs, [Row("How long?", "refunds.md", "thirty days"), Row("Who?", "refunds.md")])
    add("refunds.md", "# Refunds\n\nA refund takes a week.")
    stale = Judgment.objects.filter(is_stale=True)
    assert [row.question for row in stale] == ["How long?"]
    add("refunds.md", REFUNDS + "\n\nAs before.")
    assert not stale.all().exists()


@pytest.mark.parametrize(("suffix", "write"), [("csv", golden.as_csv), ("jsonl", golden.as_jsonl)])
def test_what_is_exported_can_be_imported(docs, tmp_path, suffix, write):
    odd = 'Is "this, here"\u2028 right?'
    rows = [Row(odd, "refunds.md", "thirty days"), Row("访客停哪里？", "parking.md")]
    golden.add(docs, rows)
    written = "".join(write(golden.rows_of(Judgment.objects.all())))
    path = tmp_path / f"set.{suffix}"
    path.write_text(written, encoding="utf-8", newline="")
    Judgment.objects.all().delete()
    found = plan(docs, load_questions(path))
    assert [row.document for row in found.new] == ["refunds.md", "parking.md"]
    assert found.new[1] == rows[1]
    assert "this, here" in found.new[0].question


@pytest.mark.parametrize("text", ["=1+1", "'=1+1", "@sum", "- thirty days", "'quoted' it", "+49"])
def test_no_spreadsheet_runs_what_is_exported_and_an_import_reads_what_was_meant(
    docs, tmp_path, text
):
    golden.add(docs, [Row(f"{text} for how long?", "refunds.md")])
    written = "".join(golden.as_csv(golden.rows_of(Judgment.objects.all())))
    cells = next(csv.reader(io.StringIO(written.split("\r\n")[1])))
    assert not any(cell.lstrip(" ").startswith(tuple("=+-@")) for cell in cells)
    path = tmp_path / "set.csv"
    path.write_text(written, encoding="utf-8", newline="")
    was = Judgment.objects.get().question
    assert [question.question for question in load_questions(path).questions] == [was]


def test_a_csv_names_its_columns_and_its_encoding(docs):
    golden.add(docs, [Row("How long?", "refunds.md", "thirty days")])
    written = "".join(golden.as_csv(golden.rows_of(Judgment.objects.all())))
    assert written.startswith("\ufeff")
    assert list(csv.DictReader(io.StringIO(written.removeprefix("\ufeff"), newline=""))) == [
        {
            "question": "How long?",
            "document": "refunds.md",
            "quote": "thirty days",
            "collection": docs.slug,
        }
    ]
