"""manage.py ingest: exit codes, report, and who does the work."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from retrieval.models import Document, Revision
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.conftest import index_everything
from tests.retrieval.conftest import live_rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "zebra.md").write_text("# Zebra\n\nThe zebra sleeps.")
    (folder / "giraffe.md").write_text("# Giraffe\n\nThe giraffe eats.")
    return folder


@pytest.fixture
def ingest(collection):
    """Run the command: ingest(path, "--wait") returns exit code, standard output and errors."""

    def run(*arguments, slug="docs"):
        out, err = io.StringIO(), io.StringIO()
        code: str | int | None = 0
        try:
            call_command(
                "ingest", *map(str, arguments), "--collection", slug, stdout=out, stderr=err
            )
        except SystemExit as error:
            code = error.code
        except CommandError as error:
            code = error.returncode
            err.write(str(error))
        return code, out.getvalue(), err.getvalue()

    return run


def found(question):
    return [hit.external_id for hit in search(SearchRequest(question, "docs")).hits]


def test_it_accepts_and_leaves_the_work_to_the_worker(ingest, notes):
    code, out, _ = ingest(notes)
    assert code == 0
    assert "2 added" in out
    assert "worker" in out
    assert set(Revision.objects.values_list("state", flat=True)) == {"queued"}
    assert found("zebra") == []


def test_waiting_does_the_work_where_no_worker_lives(ingest, notes, collection, in_chroma):
    code, out, _ = ingest(notes, "--wait")
    assert code == 0
    assert "2 added" in out
    assert "0 failed" in out
    assert found("zebra")[0] == "zebra.md"
    assert in_chroma(collection) == live_rows(collection)


def test_a_second_run_is_all_unchanged(ingest, notes, embedded):
    ingest(notes, "--wait")
    before = list(Revision.objects.order_by("pk").values())
    embedded.clear()
    code, out, _ = ingest(notes, "--wait", "--prune", "--json")
    report = json.loads(out)
    assert (code, report["unchanged"]) == (0, 2)
    assert {report[name] for name in ("added", "updated", "removed", "failed")} == {0}
    assert list(Revision.objects.order_by("pk").values()) == before
    assert embedded == []


def test_the_report_for_programs_is_json_and_nothing_else(ingest, notes):
    (notes / "empty.md").write_text("")
    code, out, _err = ingest(notes, "--wait", "--json")
    report = json.loads(out)
    assert code == 1
    assert report["collection"] == "docs"
    assert (report["added"], report["failed"]) == (3, 1)
    assert report["documents"]["added"] == ["empty.md", "giraffe.md", "zebra.md"]
    (failure,) = report["documents"]["failed"]
    assert (failure["external_id"], failure["code"]) == ("empty.md", "no_text")
    assert failure["message"]
    assert report["seconds"] >= 0


def test_a_document_that_fails_is_named_and_the_others_are_indexed(ingest, notes):
    (notes / "broken.md").write_text("---\ntitle: [\n---\ntext")
    code, out, err = ingest(notes, "--wait")
    assert code == 1
    assert "1 failed" in out
    assert "broken.md" in err
    assert "line" in err
    assert found("zebra")[0] == "zebra.md"


def test_a_failed_document_is_tried_again_by_the_next_run(ingest, notes):
    (notes / "empty.md").write_text("")
    ingest(notes, "--wait")
    code, out, _ = ingest(notes, "--wait", "--json")
    report = json.loads(out)
    assert (code, report["retried"], report["unchanged"], report["failed"]) == (1, 1, 2, 1)


def test_prune_reports_what_it_removed(ingest, notes):
    ingest(notes, "--wait")
    (notes / "zebra.md").unlink()
    (notes / "giraffe.md").write_text("# Giraffe\n\nThe giraffe drinks.")
    (notes / "lion.md").write_text("# Lion\n\nThe lion hunts.")
    code, out, _ = ingest(notes, "--wait", "--prune", "--json")
    assert code == 0
    documents = json.loads(out)["documents"]
    assert documents["removed"] == ["zebra.md"]
    assert documents["updated"] == ["giraffe.md"]
    assert documents["added"] == ["lion.md"]
    assert "zebra.md" not in found("zebra")
    assert found("lion")[0] == "lion.md"


def test_prune_leaves_other_folders_alone(ingest, notes, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "lion.md").write_text("# Lion\n\nThe lion hunts.")
    ingest(notes)
    ingest(other, "--prune")
    (notes / "zebra.md").unlink()
    _code, out, _ = ingest(notes, "--prune", "--json")
    assert json.loads(out)["documents"]["removed"] == ["zebra.md"]
    assert set(Document.objects.alive().values_list("external_id", flat=True)) == {
        "giraffe.md",
        "lion.md",
    }


def test_two_files_with_one_id_are_wrong_use_and_change_nothing(ingest, notes, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "zebra.md").write_text("another zebra")
    code, out, err = ingest(notes, other)
    assert (code, out) == (2, "")
    assert "zebra.md" in err
    assert not Document.objects.exists()


def test_a_missing_collection_is_wrong_use_and_those_that_exist_are_named(ingest, notes):
    code, _, err = ingest(notes, slug="elsewhere")
    assert code == 2
    assert "elsewhere" in err
    assert "docs" in err
    assert not Document.objects.exists()


def test_a_missing_path_is_wrong_use(ingest, tmp_path):
    code, _, err = ingest(tmp_path / "nothing")
    assert code == 2
    assert "does not exist" in err


def test_waiting_for_nothing_returns_at_once(ingest, notes):
    ingest(notes)
    index_everything()
    code, out, _ = ingest(notes, "--wait", "--json")
    assert (code, json.loads(out)["unchanged"]) == (0, 2)


def test_a_failure_outside_the_given_paths_is_not_its_business(ingest, notes, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "empty.md").write_text("")
    assert ingest(other, "--wait")[0] == 1
    assert ingest(notes, "--wait")[0] == 0
