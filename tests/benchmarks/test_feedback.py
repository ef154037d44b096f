"""What a simulated month of feedback consists of, and what counts as found in it."""

import xml.etree.ElementTree as ET

import pytest

from benchmarks import quality
from benchmarks.feedback import __main__ as simulation
from benchmarks.feedback import month as months
from benchmarks.feedback.chart import GAP, LINES, apart, draw
from benchmarks.feedback.month import Entry, plan_month, rank_of, reword, sentence_with
from benchmarks.quality import Corpus
from retrieval.likeness import question_key
from retrieval.questions import Question


@pytest.fixture
def corpora(tmp_path):
    return [
        corpus_of(tmp_path, "en", "What does animal {0} of park {1} eat?", "It eats leaf {0}-{1}."),
        corpus_of(tmp_path, "zh", "公园{1}的动物{0}吃什么？", "它吃树叶{0}-{1}。"),
    ]


def corpus_of(tmp_path, slug: str, question: str, sentence: str) -> Corpus:
    """100 documents with 5 questions each; the answer is "leaf" or "树叶" with its numbers."""
    folder = tmp_path / slug
    folder.mkdir()
    questions = []
    for page in range(100):
        sentences = [sentence.format(animal, page) for animal in range(5)]
        (folder / f"{slug}-{page}.txt").write_text(" ".join(sentences))
        questions += [
            Question(
                question.format(animal, page),
                frozenset({f"{slug}-{page}.txt"}),
                quote=f"{animal}-{page}",
            )
            for animal in range(5)
        ]
    return Corpus(slug, slug, folder, tuple(questions))


def test_the_same_seed_gives_the_same_month_and_another_one_another(corpora):
    month = plan_month(corpora, seed=8)
    assert plan_month(corpora, seed=8) == month
    other = plan_month(corpora, seed=9)
    assert other.withheld != month.withheld
    assert other.days != month.days


def test_a_tenth_of_the_documents_of_each_language_is_withheld_and_asked_about_every_day(corpora):
    month = plan_month(corpora, seed=8)
    assert len(month.days) == months.DAYS == 30
    for slug in ("en", "zh"):
        assert len([name for name in month.withheld if name.startswith(slug)]) == 10
        for day in month.days:
            asked = [one for one in day if one.question.relevant < frozenset_of(slug)]
            assert len(asked) == months.QUESTIONS
            missing = [one for one in asked if one.question.relevant & month.withheld]
            assert len(missing) == months.QUESTIONS / 10


def frozenset_of(slug: str) -> frozenset[str]:
    return frozenset(f"{slug}-{page}.txt" for page in range(100))


def test_what_is_measured_is_kept_apart(corpora):
    month = plan_month(corpora, seed=8)
    asked = {question_key(one.question.question) for day in month.days for one in day}
    for kind in ("reworded", "never_asked", "others", "golden"):
        questions = getattr(month, kind)
        assert questions
        assert not asked & {question_key(item.question) for item in questions}, kind
        of_withheld = [bool(item.relevant & month.withheld) for item in questions]
        assert set(of_withheld) == {kind in ("reworded", "never_asked")}, kind
    assert {question_key(item.question) for item in month.asked} < asked
    assert not set(month.others) & set(month.golden)
    assert len(month.others) == 2 * months.OTHERS


def test_corrections_are_answers_of_the_set_or_the_sentences_that_hold_them(corpora):
    month = plan_month(corpora, seed=8)
    asked = [one for day in month.days for one in day]
    said = [one for one in asked if one.correction]
    assert all(one.question.quote in one.correction for one in said)
    whole = [one for one in said if one.correction.startswith(("It eats leaf", "它吃树叶"))]
    assert len(said) / len(asked) == pytest.approx(months.CORRECTING, abs=0.05)
    assert len(whole) / len(said) == pytest.approx(months.SENTENCES, abs=0.05)


def test_a_sentence_ends_where_it_does_in_either_language():
    assert sentence_with("1.5 m", "It is old. It is 1.5 m high! Yes.") == "It is 1.5 m high!"
    assert sentence_with("两米", "它很老。它高两米。是的。") == "它高两米。"
    assert sentence_with("old. It", "It is old. It is high.") == "old. It"


def test_a_question_is_reworded_in_either_language_but_never_into_one_that_is_asked():
    english = Question("Who did the Broncos beat in 2015?", frozenset({"a"}), quote="x")
    assert [item.question for item in reword(english, set())] == [
        "Broncos beat 2015",
        "Hello, I would like to know: who did the Broncos beat in 2015?",
    ]
    chinese = Question("尤金袋鼠分布在哪些地区？", frozenset({"a"}), quote="x")
    first, second = reword(chinese, set())
    assert (first.question, second.question) == (
        "尤金袋鼠分布 地区",
        "你好，我想知道，尤金袋鼠分布在哪些地区？",
    )
    assert first.relevant == chinese.relevant
    assert reword(chinese, {question_key(first.question)}) == [second]


def test_found_is_a_document_or_an_entry_that_was_made_for_it_and_answers():
    question = Question("How many?", frozenset({"page.txt"}), quote="four points")
    assert rank_of(["other.txt", "other.txt", "page.txt"], question, []) == 2
    assert rank_of(["other.txt"], question, []) is None
    about = frozenset({"page.txt"})
    right = Entry("answers/1.md", "They scored  four points.", about)
    assert rank_of(["other.txt", "answers/1.md"], question, [right]) == 2
    silent = Entry("answers/1.md", "They scored five points.", about)
    foreign = Entry("answers/1.md", "four points", frozenset({"other.txt"}))
    assert rank_of(["answers/1.md"], question, [silent, foreign]) is None


def ranks_of(asked: float, others: float, first: float) -> dict[str, list[int | None]]:
    """A hundred questions of each kind: so many are answered, and so many others at once."""

    def ranks(found: float, best: float) -> list[int | None]:
        one, some = round(100 * best), round(100 * found)
        return [1] * one + [5] * (some - one) + [None] * (100 - some)

    return {
        "asked": ranks(asked, asked),
        "reworded": ranks(asked, asked),
        "others": ranks(others, first),
    }


@pytest.mark.parametrize(
    ("asked", "others", "best", "proofs", "missed"),
    [
        (0.8, 0.98, 0.95, [True] * 20, []),
        (0.8, 0.97, 0.92, [True] * 20, []),
        (0.8, 0.96, 0.95, [True] * 20, ["recall on the others"]),
        (0.8, 0.98, 0.91, [True] * 20, ["first place on the others"]),
        (0.0, 0.98, 0.95, [True] * 20, ["asked", "reworded"]),
        (0.8, 0.98, 0.95, [True] * 18 + [False] * 2, ["accepted"]),
        (0.0, 0.98, 0.95, [], ["asked", "reworded", "accepted"]),
    ],
)
def test_it_judges_the_rise_the_others_and_the_proofs(asked, others, best, proofs, missed):
    before, after = ranks_of(0.0, 0.98, 0.95), ranks_of(asked, others, best)
    checks = simulation.judge(before, after, proofs)
    assert len(checks) == 5
    told = [text for is_reached, text in checks if not is_reached]
    assert len(told) == len(missed)
    assert all(word in text for word, text in zip(missed, told, strict=True))


def test_the_chart_holds_every_line_and_is_the_same_for_the_same_numbers(tmp_path):
    values = {kind: [1.0, 0.0] for kind in LINES}
    for name in ("one.svg", "two.svg"):
        draw([(0, values), (3, values)], tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "two.svg").read_text()
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    for label, _colour, _mark in LINES.values():
        assert f"{label}: 0.50" in text


def test_labels_do_not_cover_each_other():
    places = apart({"a": 0.5, "b": 0.99, "c": 0.98, "d": 0.0})
    assert places["b"] == 0.99
    assert places["c"] == pytest.approx(0.99 - GAP)
    assert (places["a"], places["d"]) == (0.5, 0.0)


def test_without_the_data_it_says_aloud_that_nothing_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quality, "DATA", tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["feedback"])
    monkeypatch.setattr("signal.signal", lambda *given: None)
    assert simulation.main() == 0
    assert capsys.readouterr().out.startswith("LEFT OUT: nothing was measured")
