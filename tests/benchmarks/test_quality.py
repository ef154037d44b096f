"""What `make eval` asks, and when it says that a bar was missed."""

import json

import httpx
import pytest

from benchmarks import quality, quantisation
from benchmarks.quality import (
    MIXED,
    SHOWN,
    Cell,
    Corpus,
    ask_all,
    judge,
    judge_databases,
    write_corpus,
)
from retrieval.metrics import Interval
from retrieval.questions import Question


def summary_of(alone: float, mixed: float):
    """Both languages with the same means, whatever the metric."""
    return {
        Cell(slug, collection, "hybrid"): {name: Interval(mean, mean, mean) for name in SHOWN}
        for slug in quality.BARS
        for collection, mean in ((slug, alone), (MIXED, mixed))
    }


@pytest.mark.parametrize(
    ("alone", "mixed", "missed"),
    [(0.99, 0.99, 0), (0.99, 0.981, 0), (0.99, 0.979, 4), (0.96, 0.96, 1), (0.5, 0.5, 4)],
)
def test_it_judges_both_languages_alone_and_what_the_mix_costs(alone, mixed, missed):
    checks = judge(summary_of(alone, mixed))
    assert len(checks) == 8
    assert sum(not is_reached for is_reached, _ in checks) == missed


def test_two_databases_may_lie_a_little_apart():
    one = summary_of(0.97, 0.97)
    assert all(is_reached for is_reached, _ in judge_databases(one, summary_of(0.955, 0.97)))
    checks = judge_databases(one, summary_of(0.97, 0.94))
    assert [is_reached for is_reached, _ in checks] == [False] * len(SHOWN)
    assert "in mixed, hybrid" in checks[0][1]


def test_each_paragraph_is_a_file_and_each_question_knows_its_own(tmp_path):
    paragraphs = [
        {"context": "The zebra sleeps.", "qas": [{"question": "Who sleeps?"}, {"question": ""}]},
        {"context": "长颈鹿在吃树叶。", "qas": [{"question": "谁在吃？"}]},
        {"context": "The zebra  sleeps.", "qas": [{"question": "Who else?"}]},
    ]
    path = tmp_path / "q.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    corpus = write_corpus(path, tmp_path / "set", "page", "Set")
    assert {file.name: file.read_text() for file in (tmp_path / "set").iterdir()} == {
        "page-0001.txt": "The zebra sleeps.",
        "page-0002.txt": "长颈鹿在吃树叶。",
    }
    assert [(item.question, *item.relevant) for item in corpus.questions] == [
        ("Who sleeps?", "page-0001.txt"),
        ("谁在吃？", "page-0002.txt"),
        ("Who else?", "page-0001.txt"),
    ]


def client_answering(names: list[str], asked: list[dict], degraded: bool = False) -> httpx.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        results = [{"external_id": name} for name in names]
        body = {"results": results, "degraded": degraded, "degraded_reason": "x" * degraded}
        return httpx.Response(200, json=body)

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://kbadmin")


def test_it_asks_the_mode_and_counts_passages_of_a_document_once(tmp_path):
    corpus = Corpus("xquad-en", "Set", tmp_path, (Question("Who?", frozenset({"b.txt"})),))
    asked: list[dict] = []
    client = client_answering(["a.txt", "a.txt", "b.txt"], asked)
    values = ask_all(client, corpus, Cell("xquad-en", MIXED, "dense"))
    assert asked == [{"query": "Who?", "collection": MIXED, "top_k": 10, "mode": "dense"}]
    assert (values["hit@1"], values["MRR@10"]) == ([0.0], [0.5])


def test_a_degraded_answer_is_no_measurement(tmp_path):
    corpus = Corpus("xquad-en", "Set", tmp_path, (Question("Who?", frozenset({"b.txt"})),))
    with pytest.raises(RuntimeError, match="degraded"):
        ask_all(client_answering([], [], degraded=True), corpus, Cell("xquad-en", MIXED, "dense"))


@pytest.mark.parametrize("module", [quality, quantisation])
def test_without_the_data_it_says_aloud_that_nothing_was_measured(
    module, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(module, "DATA", tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["eval"])
    monkeypatch.setattr("signal.signal", lambda *given: None)
    assert module.main() == 0
    assert capsys.readouterr().out.startswith("LEFT OUT: nothing was measured")
