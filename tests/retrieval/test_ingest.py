"""Accepting documents: what one file and a folder of files do to the rows."""

import os
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError

from retrieval.exceptions import FileTooLarge, SourceError
from retrieval.folders import accept_folders
from retrieval.ingest import Outcome, SourceFile, accept, accept_batch, store_original
from retrieval.models import Chunk, Document, Embedding, Revision
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.conftest import index_everything
from tests.retrieval.conftest import live_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def take(collection):
    def take(text, external_id="a.md", **options):
        options.setdefault("origin", Document.Origin.UPLOAD)
        data = text.encode() if isinstance(text, str) else text
        return accept(
            collection, external_id=external_id, filename=external_id, data=data, **options
        )

    return take


@pytest.fixture
def folder(tmp_path):
    """Write files: folder(name=text) below one folder that stays the same."""
    root = tmp_path / "notes"
    root.mkdir()

    def write(files):
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return root

    return write


def rows_of_everything():
    return (
        list(Document.objects.order_by("pk").values()),
        list(Revision.objects.order_by("pk").values()),
        list(Chunk.objects.order_by("pk").values()),
        list(Embedding.objects.order_by("pk").values("pk", "text_hash")),
    )


def found(question):
    answer = search(SearchRequest(query=question, collection="docs", top_k=10))
    return [hit.external_id for hit in answer.hits]


# --- One document ------------------------------------------------------------------------


def test_a_new_document_waits_with_its_bytes(take):
    accepted = take("# One\n\nText.")
    assert accepted.outcome == Outcome.ADDED
    revision = Revision.objects.get()
    assert (revision.state, revision.number) == (Revision.State.QUEUED, 1)
    assert revision.original.read() == b"# One\n\nText."
    assert accepted.document.latest_revision == revision
    assert accepted.document.live_revision is None


def test_the_same_bytes_twice_are_one_document(take):
    take("# One\n\nText.")
    index_everything()
    before = rows_of_everything()
    again = take("# One\n\nText.")
    index_everything()
    assert again.outcome == Outcome.UNCHANGED
    assert rows_of_everything() == before


def test_the_same_bytes_while_they_still_wait_change_nothing(take):
    take("# One\n\nText.")
    assert take("# One\n\nText.").outcome == Outcome.UNCHANGED
    assert Revision.objects.count() == 1


def test_other_bytes_are_a_new_version_and_the_old_one_serves_until_it_is_indexed(take):
    take("# One\n\nThe zebra sleeps.")
    index_everything()
    accepted = take("# One\n\nThe giraffe eats.")
    assert accepted.outcome == Outcome.UPDATED
    assert found("zebra") == ["a.md"]
    assert "zebra" in search(SearchRequest(query="zebra", collection="docs")).hits[0].text
    index_everything()
    texts = [hit.text for hit in search(SearchRequest(query="zebra", collection="docs")).hits]
    assert not [text for text in texts if "zebra" in text]
    assert [r.number for r in Revision.objects.order_by("number")] == [1, 2]


def test_a_version_that_was_never_indexed_is_superseded(take):
    take("# One\n\nFirst.")
    take("# One\n\nSecond.")
    index_everything()
    states = list(Revision.objects.order_by("number").values_list("state", flat=True))
    assert states == [Revision.State.SUPERSEDED, Revision.State.INDEXED]
    assert [chunk.text for chunk in Chunk.objects.all()] == ["# One\n\nSecond."]


def test_failed_bytes_given_again_are_tried_again(take):
    take("---\ntitle: [\n---\ntext")
    index_everything()
    assert Revision.objects.get().state == Revision.State.FAILED
    assert take("---\ntitle: [\n---\ntext").outcome == Outcome.RETRIED
    revision = Revision.objects.get()
    assert (revision.state, revision.failure_code) == (Revision.State.QUEUED, "")


def test_a_deleted_document_given_again_is_back(take, collection, in_chroma, embedded):
    take("# One\n\nThe zebra sleeps.")
    index_everything()
    Document.objects.get().tombstone()
    index_everything()
    embedded.clear()
    assert take("# One\n\nThe zebra sleeps.").outcome == Outcome.ADDED
    assert found("zebra") == []
    index_everything()
    assert found("zebra") == ["a.md"]
    assert in_chroma(collection) == live_rows(collection)
    assert embedded == []


def test_a_file_that_is_too_large_is_refused_and_leaves_nothing(take, settings):
    settings.MAX_FILE_SIZE = 1024
    with pytest.raises(FileTooLarge, match="KBADMIN_MAX_FILE_SIZE"):
        take("x" * 1025)
    assert not Document.objects.exists()
    assert take("x" * 1024).outcome == Outcome.ADDED


def test_an_external_id_without_what_no_database_takes(take):
    assert take("text", external_id="a\0b.md").document.external_id == "ab.md"
    assert len(take("more text", external_id="x" * 600 + ".md").document.external_id) == 500


def test_an_original_that_was_written_half_is_written_again(take):
    accepted = take("# One\n\nText.")
    name = accepted.revision.original.name
    Path(default_storage.path(name)).write_bytes(b"# On")
    assert store_original(accepted.revision, b"# One\n\nText.") == name
    with default_storage.open(name) as file:
        assert file.read() == b"# One\n\nText."


# --- A folder ----------------------------------------------------------------------------


def test_a_folder_becomes_documents_named_by_their_paths(collection, folder):
    root = folder(
        {"a.md": "# A\n\ntext a", "sub/deep/b.md": "# B\n\ntext b", "中文.md": "# 中\n\n文"}
    )
    report = accept_folders(collection, [root], prune=False)
    assert report.added == ["a.md", "sub/deep/b.md", "中文.md"]
    assert (report.unchanged, report.failed, report.removed) == ([], [], [])
    document = Document.objects.get(external_id="sub/deep/b.md")
    assert (document.origin, document.source) == (Document.Origin.PATH, str(root.resolve()))


def test_hidden_files_and_other_kinds_are_left_out(collection, folder):
    root = folder({"a.md": "text", ".hidden.md": "x", ".git/b.md": "x", "tool.exe": "x"})
    assert accept_folders(collection, [root], prune=False).added == ["a.md"]


def test_a_rerun_changes_nothing(collection, folder):
    root = folder({f"{n}.md": f"# N\n\ntext {n}" for n in range(5)})
    accept_folders(collection, [root], prune=True)
    index_everything()
    before = rows_of_everything()
    report = accept_folders(collection, [root], prune=True)
    index_everything()
    assert len(report.unchanged) == 5
    assert rows_of_everything() == before


def test_changes_are_told_apart(collection, folder):
    root = folder({"same.md": "one", "changed.md": "two", "gone.md": "three"})
    accept_folders(collection, [root], prune=False)
    index_everything()
    (root / "gone.md").unlink()
    folder({"changed.md": "two, changed", "new.md": "four"})
    report = accept_folders(collection, [root], prune=True)
    assert report.added == ["new.md"]
    assert report.updated == ["changed.md"]
    assert report.unchanged == ["same.md"]
    assert report.removed == ["gone.md"]
    assert found("three") != ["gone.md"]


def test_without_prune_nothing_is_removed(collection, folder):
    root = folder({"a.md": "one", "b.md": "two"})
    accept_folders(collection, [root], prune=False)
    (root / "b.md").unlink()
    assert accept_folders(collection, [root], prune=False).removed == []
    assert Document.objects.alive().count() == 2


def test_prune_removes_only_what_came_from_its_own_folder(collection, folder, take, tmp_path):
    take("uploaded", external_id="upload.md")
    other = tmp_path / "other"
    other.mkdir()
    (other / "o.md").write_text("other text")
    accept_folders(collection, [other], prune=False)
    root = folder({"a.md": "one", "b.md": "two"})
    accept_folders(collection, [root], prune=False)
    (root / "b.md").unlink()
    assert accept_folders(collection, [root], prune=True).removed == ["b.md"]
    alive = set(Document.objects.alive().values_list("external_id", flat=True))
    assert alive == {"upload.md", "o.md", "a.md"}


def test_an_emptied_folder_prunes_all_of_its_own(collection, folder):
    root = folder({"a.md": "one"})
    accept_folders(collection, [root], prune=True)
    (root / "a.md").unlink()
    assert accept_folders(collection, [root], prune=True).removed == ["a.md"]


def test_two_paths_with_the_same_id_are_refused_before_anything_changes(collection, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(f"text of {name}")
    with pytest.raises(SourceError, match=r"a\.md"):
        accept_folders(collection, [tmp_path / "one", tmp_path / "two"], prune=True)
    assert not Document.objects.exists()


def test_the_same_path_twice_is_no_conflict(collection, folder):
    root = folder({"a.md": "one"})
    assert accept_folders(collection, [root, root], prune=False).added == ["a.md"]


def test_a_missing_path_is_refused(collection, tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        accept_folders(collection, [tmp_path / "nothing"], prune=True)


def test_a_single_file_is_taken_by_its_name(collection, folder):
    root = folder({"sub/a.md": "one"})
    assert accept_folders(collection, [root / "sub" / "a.md"], prune=True).added == ["a.md"]


def test_a_file_that_is_too_large_is_reported_and_the_others_are_taken(
    collection, folder, settings
):
    settings.MAX_FILE_SIZE = 1024
    root = folder({"a.md": "one", "big.md": "x" * 2000, "c.md": "three"})
    report = accept_folders(collection, [root], prune=True)
    assert report.added == ["a.md", "c.md"]
    assert [(failure.external_id, failure.code) for failure in report.failed] == [
        ("big.md", "file_too_large")
    ]


def test_a_file_that_may_not_be_read_is_reported_and_not_pruned(collection, folder, monkeypatch):
    """Provoked, because root may read everything."""
    root = folder({"a.md": "one", "secret.md": "two"})
    accept_folders(collection, [root], prune=True)
    really = Path.read_bytes

    def read_bytes(path):
        if path.name == "secret.md":
            raise PermissionError(13, "Permission denied")
        return really(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    report = accept_folders(collection, [root], prune=True)
    assert (report.unchanged, report.removed) == (["a.md"], [])
    (failure,) = report.failed
    assert (failure.external_id, failure.code) == ("secret.md", "unreadable_file")
    assert "Permission denied" in failure.message


def test_a_file_name_that_is_no_unicode_is_taken_and_stays_the_same(collection, folder):
    root = folder({"a.md": "one"})
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.md")).write_text("two")
    report = accept_folders(collection, [root], prune=True)
    assert report.added == ["a.md", "caf?.md"]
    report = accept_folders(collection, [root], prune=True)
    assert (report.unchanged, report.removed) == (["a.md", "caf?.md"], [])
    index_everything()
    assert set(Revision.objects.values_list("state", flat=True)) == {"indexed"}


def test_the_number_of_queries_for_unchanged_files_does_not_grow(
    collection, folder, django_assert_max_num_queries
):
    root = folder({f"{n}.md": f"text {n}" for n in range(60)})
    accept_folders(collection, [root], prune=True)
    with django_assert_max_num_queries(6):
        accept_folders(collection, [root], prune=True)


# --- Many at once ---------------------------------------------------------------------------


def batch(collection, *files, doomed=frozenset(), **options):
    return accept_batch(
        collection,
        [SourceFile(name, name, text.encode()) for name, text in files],
        origin=Document.Origin.PATH,
        options=options,
        doomed=set(doomed),
    )


def test_a_batch_tells_what_became_of_each(collection, take):
    take("Old text.", "old.md")
    take("Same text.", "same.md")
    outcomes = batch(
        collection,
        ("new.md", "New text."),
        ("old.md", "Newer text."),
        ("twin.md", "New text."),
        ("same.md", "Same text."),
        ("copy.md", "Same text."),
    )
    assert outcomes == ["added", "updated", "duplicate", "unchanged", "duplicate"]
    twins = Revision.objects.filter(failure_code="duplicate").order_by("pk")
    originals = list(twins.values_list("duplicate_of__external_id", flat=True))
    assert originals == ["new.md", "same.md"]
    for document in Document.objects.all():
        latest = document.latest_revision
        assert latest and latest.document_id == document.pk
        assert latest.original.read()


def test_a_batch_is_what_accepting_one_by_one_is(collection, take):
    texts = {"a.md": "One.", "b.md": "Two.", "c.md": "One."}
    batch(collection, *texts.items())
    together = list(Document.objects.order_by("external_id").values("title", "origin", "source"))
    states = list(Revision.objects.order_by("pk").values("number", "filename", "size", "state"))
    Document.objects.all().delete()
    for name, text in texts.items():
        take(text, name, origin=Document.Origin.PATH)
    alone = list(Document.objects.order_by("external_id").values("title", "origin", "source"))
    assert together == alone
    assert states == list(
        Revision.objects.order_by("pk").values("number", "filename", "size", "state")
    )


def test_a_batch_that_keeps_duplicates_has_none(collection):
    outcomes = batch(collection, ("a.md", "One."), ("b.md", "One."), keep_duplicate=True)
    assert outcomes == ["added", "added"]


def test_one_file_too_large_does_not_stop_its_batch(collection, settings):
    settings.MAX_FILE_SIZE = 8
    good, refused = batch(collection, ("a.md", "One."), ("b.md", "Far too long."))
    assert good == "added"
    assert isinstance(refused, FileTooLarge)
    assert Document.objects.count() == 1


def test_a_document_that_somebody_adds_meanwhile_is_taken_as_it_is(collection, monkeypatch):
    def add_between(*arguments):
        monkeypatch.undo()
        raise IntegrityError

    monkeypatch.setattr("retrieval.ingest._accept_batch", add_between)
    assert batch(collection, ("a.md", "One."), ("a.md", "One.")) == ["added", "unchanged"]


def test_new_files_cost_the_same_queries_however_many(collection, django_assert_max_num_queries):
    for count in (2, 40):
        files = [(f"{count}-{number}.md", f"Text {count} {number}.") for number in range(count)]
        with django_assert_max_num_queries(12):
            batch(collection, *files)
