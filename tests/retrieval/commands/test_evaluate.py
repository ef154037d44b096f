"""manage.py evaluate: exit codes, the report for people and the one for programs."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from retrieval import search as search_module
from retrieval.models import EvaluationRun, Judgment
from retrieval.vector_store import VectorStore
from tests.isolation import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture
def docs(add, collection):
    add("zebra.md", "# Zebra\n\nThe zebra sleeps.", index=False)
    add("giraffe.md", "# Giraffe\n\nThe giraffe eats.")
    return collection


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.csv"
    path.write_text("question,document\nWho sleeps?,zebra.md\nWho eats?,giraffe.md\n")
    return path


@pytest.fixture
def evaluate(docs):
    """Run the command: evaluate("--json") returns exit code, standard output and errors."""

    def run(*arguments, slug="docs"):
        out, err = io.StringIO(), io.StringIO()
        code = 0
        try:
            call_command("evaluate", slug, *map(str, arguments), stdout=out, stderr=err)
        except CommandError as error:
            code = error.returncode
            err.write(str(error))
        return code, out.getvalue(), err.getvalue()

    return run


def test_it_prints_metrics_with_intervals_and_shows_progress(evaluate, questions):
    code, out, err = evaluate("--questions", questions, "--name", "first try")
    assert code == 0
    assert "first try" in out
    assert "2 questions from questions.csv" in out
    for name in ("recall@1", "recall@5", "recall@10", "hit@1", "MRR@10", "nDCG@10"):
        assert f"\n{name} " in out
    assert "1.000 to 1.000" in out
    assert "2/2" in err


def test_it_reports_to_programs(evaluate, questions):
    code, out, _ = evaluate("--questions", questions, "--mode", "lexical", "--top-k", 5, "--json")
    assert code == 0
    report = json.loads(out)
    stored = EvaluationRun.objects.get()
    assert report["run"] == stored.pk
    assert (report["mode"], report["top_k"], report["questions"]) == ("lexical", 5, 2)
    assert report["fingerprint"] == stored.fingerprint
    assert report["metrics"]["hit@1"].keys() == {"mean", "low", "high"}
    assert "comparison" not in report


def test_without_a_file_it_asks_the_golden_set(evaluate, docs):
    code, _, err = evaluate()
    assert code == 2
    assert "golden set" in err
    zebra = docs.documents.get(external_id="zebra.md")
    Judgment.objects.create(collection=docs, question="Who sleeps?", document=zebra)
    code, out, _ = evaluate()
    assert code == 0
    assert "1 questions from golden set" in out


def test_it_compares_with_an_earlier_run(evaluate, questions):
    evaluate("--questions", questions, "--mode", "dense")
    earlier = EvaluationRun.objects.get()
    code, out, _ = evaluate("--questions", questions, "--compare", earlier.pk)
    assert code == 0
    assert f"Against run {earlier.pk}" in out
    assert "2 unchanged" in out
    assert "may be chance" in out
    _, out, _ = evaluate("--questions", questions, "--compare", earlier.pk, "--json")
    comparison = json.loads(out)["comparison"]
    assert (comparison["with"], comparison["common"]) == (earlier.pk, 2)
    assert comparison["differences"]["MRR@10"]["mean"] == 0


def test_it_lists_questions_that_got_worse(evaluate, docs, tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("question,document\nzebra,giraffe.md\n")
    evaluate("--questions", path)
    earlier = EvaluationRun.objects.get()
    code, out, _ = evaluate("--questions", path, "--top-k", 1, "--compare", earlier.pk)
    assert code == 0
    assert "1 lost" in out
    assert "2 → -   zebra" in out


def test_a_comparison_without_common_questions_still_reports_the_run(evaluate, questions, tmp_path):
    evaluate("--questions", questions)
    earlier = EvaluationRun.objects.get()
    other = tmp_path / "other.csv"
    other.write_text("question,document\nzebra,zebra.md\n")
    code, out, err = evaluate("--questions", other, "--compare", earlier.pk)
    assert code == 2
    assert "hit@1" in out
    assert "no question in common" in err


def test_a_sample_asks_fewer(evaluate, questions):
    code, out, _ = evaluate("--questions", questions, "--sample", 1, "--seed", 3)
    assert code == 0
    assert "1 questions" in out


def test_what_was_left_out_is_said(evaluate, tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("question,document\nzebra,zebra.md\n,zebra.md\nlion,lion.md\n")
    _, out, _ = evaluate("--questions", path)
    assert "1 questions were left out: they ask nothing." in out
    assert "1 documents are not in the collection: lion.md" in out


def test_a_degraded_run_says_so(evaluate, questions, monkeypatch):
    store = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr(search_module, "query_store", lambda: store)
    code, out, _ = evaluate("--questions", questions)
    assert code == 0
    assert "DEGRADED: 2 of 2" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--questions", "/nowhere/q.csv"], "No such file"),
        (["--questions", "FILE", "--top-k", "0"], "--top-k"),
        (["--questions", "FILE", "--top-k", "51"], "--top-k"),
        (["--questions", "FILE", "--sample", "0"], "--sample"),
        (["--questions", "FILE", "--sample", "1", "--seed", "-1"], "--seed"),
        (["--questions", "FILE", "--compare", "999"], "999"),
    ],
)
def test_wrong_use_ends_with_2(evaluate, questions, arguments, said):
    given = [str(questions) if item == "FILE" else item for item in arguments]
    code, _, err = evaluate(*given)
    assert code == 2
    assert said in err
    assert not EvaluationRun.objects.exists()


def test_an_unknown_collection_ends_with_2(evaluate, questions):
    code, _, err = evaluate("--questions", questions, slug="none")
    assert code == 2
    assert "docs" in err
