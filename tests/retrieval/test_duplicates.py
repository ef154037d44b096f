"""The same bytes under another name: reported, kept out of search, with a choice."""

import pytest

from retrieval.folders import accept_folders
from retrieval.ingest import Outcome, accept
from retrieval.models import Document, Revision
from retrieval.search import search
from retrieval.types import RetrievalSettings, SearchRequest
from tests.conftest import index_everything

pytestmark = pytest.mark.django_db
TEXT = "# Note\n\nThe walrus is here."


#: An answer says the same text once; here every document counts.
EACH = RetrievalSettings(duplicate_share=2)


def found() -> list[str]:
    hits = search(SearchRequest("walrus", "docs", settings=EACH)).hits
    return [hit.external_id for hit in hits]


def take(collection, name, text=TEXT, **options):
    accepted = accept(
        collection,
        external_id=name,
        filename=name,
        data=text.encode(),
        origin=Document.Origin.UPLOAD,
        options=options,
    )
    index_everything()
    return accepted


def test_a_duplicate_names_its_twin_and_is_not_searched(collection):
    take(collection, "a.md")
    accepted = take(collection, "b.md")
    assert accepted.outcome == Outcome.DUPLICATE
    assert accepted.revision.state == Revision.State.SKIPPED
    assert "a.md" in accepted.revision.failure_message
    assert found() == ["a.md"]
    assert take(collection, "b.md").outcome == Outcome.UNCHANGED


def test_both_are_kept_where_that_is_asked_for(collection):
    take(collection, "a.md")
    take(collection, "b.md", keep_duplicate=True)
    assert sorted(found()) == ["a.md", "b.md"]


def test_a_duplicate_takes_over_when_its_twin_is_deleted(collection):
    twin = take(collection, "a.md").document
    take(collection, "b.md")
    take(collection, "c.md")
    twin.tombstone()
    index_everything()
    assert found() == ["b.md"]
    waiting = Revision.objects.get(document__external_id="c.md")
    assert waiting.duplicate_of is not None
    assert waiting.duplicate_of.external_id == "b.md"


def test_a_duplicate_that_is_deleted_along_does_not_take_over(collection):
    take(collection, "a.md")
    take(collection, "b.md")
    take(collection, "c.md")
    Document.objects.filter(external_id__in=["a.md", "b.md"]).tombstone()
    index_everything()
    assert found() == ["c.md"]


def test_a_duplicate_takes_over_when_its_twin_says_something_else(collection):
    take(collection, "a.md")
    take(collection, "b.md")
    take(collection, "a.md", "# Note\n\nThe pelican is here.")
    assert "b.md" in found()


def test_a_renamed_file_is_no_duplicate_of_its_old_name(collection, tmp_path):
    (tmp_path / "old.md").write_text(TEXT)
    accept_folders(collection, [tmp_path], prune=True)
    index_everything()
    (tmp_path / "old.md").rename(tmp_path / "new.md")
    report = accept_folders(collection, [tmp_path], prune=True)
    index_everything()
    assert (report.added, report.removed, report.duplicate) == (["new.md"], ["old.md"], [])
    assert found() == ["new.md"]


def test_an_update_that_equals_another_document_keeps_its_place(collection):
    take(collection, "a.md")
    take(collection, "b.md", "# Note\n\nThe walrus and the pelican.")
    assert take(collection, "b.md").outcome == Outcome.UPDATED
    assert sorted(found()) == ["a.md", "b.md"]


def test_a_document_that_was_kept_beside_its_twin_stays_when_it_is_read_again(collection, tmp_path):
    (tmp_path / "a.md").write_text(TEXT)
    (tmp_path / "b.md").write_text(TEXT)
    accept_folders(collection, [tmp_path], prune=False, keep_duplicates=True)
    index_everything()
    report = accept_folders(collection, [tmp_path], prune=True)
    assert report.unchanged == ["a.md", "b.md"]
    assert sorted(found()) == ["a.md", "b.md"]


def test_keeping_duplicates_can_be_asked_for_later(collection, tmp_path):
    (tmp_path / "a.md").write_text(TEXT)
    (tmp_path / "b.md").write_text(TEXT)
    assert accept_folders(collection, [tmp_path], prune=False).duplicate == ["b.md"]
    index_everything()
    accept_folders(collection, [tmp_path], prune=False, keep_duplicates=True)
    index_everything()
    assert sorted(found()) == ["a.md", "b.md"]
