"""Revisions on their way to being live: states, leases, failures, repetition."""

from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone

from retrieval import factories, indexing
from retrieval.embeddings import embeddings_of, stored_embeddings
from retrieval.ingest import accept
from retrieval.models import Attribute, Chunk, Document, Embedding, Revision
from retrieval.search import search
from retrieval.types import SearchRequest
from retrieval.vector_store import VectorStore
from tests.conftest import index_everything
from tests.isolation import free_port
from tests.retrieval.conftest import live_rows, make_due, work

pytestmark = pytest.mark.django_db

State = Revision.State


@pytest.fixture
def chroma_away(monkeypatch):
    """Nobody listens where Chroma should be, until the returned function is called."""
    away = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    really = factories.vector_store
    for module in ("indexing", "sync"):
        monkeypatch.setattr(f"retrieval.{module}.vector_store", lambda: away)

    def come_back():
        for module in ("indexing", "sync"):
            monkeypatch.setattr(f"retrieval.{module}.vector_store", really)

    return come_back


def found(question):
    answer = search(SearchRequest(query=question, collection="docs", top_k=20))
    return [hit.external_id for hit in answer.hits]


def latest(document):
    document.refresh_from_db()
    return document.latest_revision


def lexical_ids():
    column = "rowid" if connection.vendor == "sqlite" else "chunk_id"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM retrieval_lexical")
        return {row[0] for row in cursor.fetchall()}


def chunk_ids():
    return set(Chunk.objects.values_list("pk", flat=True))


# --- The way to live ---------------------------------------------------------------------


def test_an_indexed_document_is_complete_everywhere(add, collection, in_chroma):
    document = add("a.md", "---\ntags: [x, y]\n---\n# One\n\nThe zebra sleeps.\n")
    revision = latest(document)
    assert revision.state == State.INDEXED
    assert document.live_revision == revision
    assert document.title == "One"
    assert (revision.lease_owner, revision.lease_until) == ("", None)
    assert (revision.failure_code, revision.failure_message) == ("", "")
    assert revision.indexed_at is not None
    assert in_chroma(collection) == live_rows(collection)
    assert lexical_ids() == chunk_ids()
    hashes = set(Chunk.objects.values_list("text_hash", flat=True))
    assert set(Embedding.objects.values_list("text_hash", flat=True)) == hashes
    assert sorted(Attribute.objects.values_list("key", "string")) == [("tags", "x"), ("tags", "y")]


def test_chunks_are_slices_of_the_stored_text(add):
    text = "\n\n".join(f"## Part {n}\n\n{'Some words of prose. ' * 40}" for n in range(8))
    document = add("long.md", f"# Long\n\n{text}")
    chunks = list(Chunk.objects.filter(document=document).order_by("order"))
    assert len(chunks) > 5
    stored = latest(document).text
    for chunk in chunks:
        assert chunk.text == stored[chunk.start : chunk.end]
        assert chunk.token_count <= document.collection.chunk_size


def test_no_text_is_embedded_twice(add, embedded):
    body = "# tar\n\nExtract an archive into a directory.\n"
    add("a.md", f"---\nlang: en\n---\n{body}")
    assert len(embedded) == 1
    add("b.md", f"---\nlang: de\n---\n{body}")  # other bytes, the same text
    add("a.md", f"---\nlang: fr\n---\n{body}")
    assert len(embedded) == 1
    assert Embedding.objects.count() == 1


def test_the_same_text_in_one_batch_is_embedded_once(add, embedded):
    body = "# tar\n\nExtract an archive into a directory.\n"
    for number in range(5):
        add(f"{number}.md", f"---\nn: {number}\n---\n{body}", index=number == 4)
    assert len(embedded) == 1
    assert Chunk.objects.count() == 5


def test_stored_vectors_come_back_as_they_were(model, chroma):
    first = embeddings_of(model, {"h1": "one text", "h2": "another text"})
    again = stored_embeddings(model.pk, ["h1", "h2", "h3"])
    assert again.keys() == {"h1", "h2"}
    for digest, vector in again.items():
        assert vector.dtype == np.float32
        assert np.array_equal(vector, first[digest])


def test_many_stored_vectors_are_found_at_once(model):
    vector = Embedding.pack(np.ones(3, dtype=np.float32))
    Embedding.objects.bulk_create(
        Embedding(embedding_model=model, text_hash=f"h{n}", vector=vector) for n in range(2000)
    )
    assert len(stored_embeddings(model.pk, [f"h{n}" for n in range(2500)])) == 2000


# --- Failures ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("broken.md", b"---\ntitle: [\n---\ntext", "invalid_front_matter"),
        ("empty.md", b"", "no_text"),
        ("blank.md", b"\n \n---\n", "no_text"),
        ("latin.md", "naïve café".encode("latin-1"), "undecodable_text"),
        ("binary.txt", b"\x00\x01\x02" * 50, None),
    ],
)
def test_an_unreadable_document_fails_with_a_code_and_a_sentence(add, name, data, code):
    revision = latest(add(name, data))
    assert revision.state == State.FAILED
    assert revision.failure_code == code or (code is None and revision.failure_code)
    assert len(revision.failure_message) > 20
    assert (revision.lease_owner, revision.lease_until) == ("", None)
    assert not Chunk.objects.exists()


def test_one_bad_file_does_not_stop_the_others(add):
    add("good1.md", "# One\n\nThe zebra sleeps.", index=False)
    bad = add("bad.md", b"\xff\x00\xfe", index=False)
    nothing = add("nothing.md", b"", index=False)
    add("good2.md", "# Two\n\nThe giraffe eats.")
    assert latest(bad).state == latest(nothing).state == State.FAILED
    assert found("zebra")[0] == "good1.md"
    assert found("giraffe")[0] == "good2.md"


@pytest.mark.parametrize(
    "header",
    ["n: .nan", "n: [.inf]", "n: " + "9" * 400, 'a: "x\\0y"', '"k\\0": 1', 'title: "\\0"',
     "k: " + "v" * 5000, "k" * 500 + ": 1", "tags: [" + "x, " * 900 + "x]"],
    ids=lambda header: header[:12],
)  # fmt: skip
def test_odd_front_matter_harms_neither_the_document_nor_the_batch(add, header):
    add("odd.md", f"---\n{header}\n---\nThe zebra sleeps.\n", index=False)
    add("good.md", "# Good\n\nThe giraffe eats.")
    assert found("giraffe")[0] == "good.md"
    assert found("zebra")[0] == "odd.md"


def test_a_missing_original_fails_with_what_to_do(add):
    document = add("a.md", "# One\n\nText.", index=False)
    revision = latest(document)
    revision.original.storage.delete(revision.original.name)
    index_everything()
    assert latest(document).state == State.FAILED
    assert "upload" in latest(document).failure_message.lower()


def test_a_parser_that_breaks_fails_its_own_document_only(add, monkeypatch):
    from retrieval.parsers import markdown

    really = markdown.split_front_matter

    def split(text, *args, **kwargs):
        if "BREAK" in text:
            raise ZeroDivisionError
        return really(text, *args, **kwargs)

    monkeypatch.setattr(markdown, "split_front_matter", split)
    bad = add("bad.md", "BREAK this", index=False)
    add("good.md", "# Good\n\nThe giraffe eats.")
    assert latest(bad).state == State.FAILED
    assert latest(bad).failure_message
    assert found("giraffe")[0] == "good.md"


def test_a_failing_new_version_keeps_the_old_one_live(add, collection, in_chroma):
    document = add("a.md", "# One\n\nThe zebra sleeps.")
    old = latest(document)
    add("a.md", "---\ntitle: [\n---\nThe giraffe eats.")
    document.refresh_from_db()
    assert document.latest_revision.state == State.FAILED
    assert document.live_revision == old
    assert found("zebra")[0] == "a.md"
    assert in_chroma(collection) == live_rows(collection)


def test_a_failed_document_can_be_tried_again(add):
    document = add("a.md", "---\ntitle: [\n---\ntext")
    Revision.objects.filter(pk=latest(document).pk).retry()
    assert latest(document).state == State.QUEUED
    index_everything()
    assert latest(document).state == State.FAILED


# --- Drafts ------------------------------------------------------------------------------


def test_a_draft_is_kept_out_of_search_and_says_so(add):
    document = add("a.md", "---\ndraft: true\n---\nThe zebra sleeps.")
    revision = latest(document)
    assert (revision.state, revision.failure_code) == (State.SKIPPED, "draft")
    assert document.live_revision is None
    assert not Chunk.objects.exists()
    assert found("zebra") == []


def test_a_draft_unpublishes_what_it_replaces(add, collection, in_chroma):
    document = add("a.md", "The zebra sleeps.")
    assert found("zebra") == ["a.md"]
    add("a.md", "---\npublished: false\n---\nThe zebra sleeps.", index=False)
    work()  # without any cleaning up
    assert found("zebra") == []
    index_everything()
    assert in_chroma(collection) == {}
    assert lexical_ids() == set()
    add("a.md", "---\npublished: true\n---\nThe zebra sleeps.")
    document.refresh_from_db()
    assert found("zebra") == ["a.md"]


# --- Leases ------------------------------------------------------------------------------


def expire():
    Revision.objects.exclude(lease_owner="").update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )


def test_what_one_worker_holds_no_other_gets(add):
    add("a.md", "text one", index=False)
    assert len(indexing.claim("first")) == 1
    assert indexing.claim("second") == []
    revision = Revision.objects.get()
    assert (revision.state, revision.lease_owner) == (State.PARSING, "first")
    assert revision.lease_until is not None
    assert revision.lease_until > timezone.now()


def test_abandoned_work_is_claimed_after_its_lease(add):
    add("a.md", "The zebra sleeps.", index=False)
    indexing.claim("dead")
    expire()
    (revision,) = indexing.claim("second")
    indexing.process("second", [revision])
    assert found("zebra") == ["a.md"]


def test_a_lease_that_is_extended_is_not_lost(add):
    add("a.md", "text", index=False)
    indexing.claim("first")
    expire()
    assert Revision.objects.all().extend_lease("first", 60) == 1
    assert indexing.claim("second") == []


@pytest.mark.parametrize("stage", ["_parse", "_chunk", "_embed", "_write", "_send", "_go_live"])
def test_a_worker_that_lost_its_lease_cannot_go_live(
    add, collection, in_chroma, monkeypatch, stage
):
    """Another worker takes over and finishes in the middle of the first one's work."""
    add("a.md", "The zebra sleeps.", index=False)
    revisions = indexing.claim("slow")
    really = getattr(indexing, stage)
    taken_over: list[bool] = []

    def interrupted(*args, **kwargs):
        if not taken_over:
            taken_over.append(True)
            expire()
            indexing.process("quick", indexing.claim("quick"))
            assert Revision.objects.get().state == State.INDEXED
            Revision.objects.update(title="by quick")
        return really(*args, **kwargs)

    monkeypatch.setattr(indexing, stage, interrupted)
    indexing.process("slow", revisions)
    revision = Revision.objects.get()
    assert (revision.state, revision.title) == (State.INDEXED, "by quick")
    assert revision.lease_owner == ""
    assert found("zebra") == ["a.md"]
    assert in_chroma(collection) == live_rows(collection)
    assert lexical_ids() == chunk_ids()


def test_a_worker_that_lost_its_lease_cannot_fail_a_document(add):
    document = add("a.md", "---\ntitle: [\n---\ntext", index=False)
    revisions = indexing.claim("slow")
    expire()
    indexing.claim("quick")
    indexing.process("slow", revisions)
    assert latest(document).state == State.PARSING
    assert latest(document).lease_owner == "quick"


def test_a_version_superseded_in_the_middle_does_not_go_live(add, collection, monkeypatch):
    add("a.md", "The zebra sleeps.", index=False)
    revisions = indexing.claim("first")
    really = indexing._send

    def send(*args):
        really(*args)
        accept(
            collection, external_id="a.md", filename="a.md", data=b"The giraffe eats.",
            origin=Document.Origin.UPLOAD,
        )  # fmt: skip

    monkeypatch.setattr(indexing, "_send", send)
    indexing.process("first", revisions)
    assert found("zebra") == []
    monkeypatch.setattr(indexing, "_send", really)
    index_everything()
    assert found("giraffe") == ["a.md"]
    assert "giraffe" in Chunk.objects.get().text


def test_a_document_deleted_in_the_middle_does_not_come_back(
    add, collection, in_chroma, monkeypatch
):
    document = add("a.md", "The zebra sleeps.", index=False)
    revisions = indexing.claim("first")
    really = indexing._go_live

    def go_live(*args):
        Document.objects.get(pk=document.pk).tombstone()
        really(*args)

    monkeypatch.setattr(indexing, "_go_live", go_live)
    indexing.process("first", revisions)
    assert found("zebra") == []
    index_everything()
    document.refresh_from_db()
    assert document.live_revision is None
    assert chunk_ids() == lexical_ids() == set()
    assert in_chroma(collection) == {}


def test_a_document_that_went_live_after_its_row_was_read_is_cleaned_up(add, collection, in_chroma):
    document = add("a.md", "The zebra sleeps.", index=False)
    index_everything()
    assert document.live_revision is None  # so this row still says
    document.tombstone()
    assert document.deleted_at is not None
    index_everything()
    assert chunk_ids() == lexical_ids() == set()
    assert in_chroma(collection) == {}


def test_a_large_queue_is_taken_in_batches(add, settings):
    for number in range(indexing.BATCH_DOCUMENTS + 3):
        add(f"{number}.md", f"text {number}", index=False)
    assert len(indexing.claim("one")) == indexing.BATCH_DOCUMENTS
    assert len(indexing.claim("two")) == 3


def test_a_batch_is_full_after_some_bytes(add, monkeypatch):
    monkeypatch.setattr(indexing, "BATCH_BYTES", 100)
    for number in range(4):
        add(f"{number}.md", f"{number} " + "x" * 58, index=False)
    assert len(indexing.claim("one")) == 1


# --- Repetition after a kill -------------------------------------------------------------


@pytest.mark.parametrize("stage", ["_chunk", "_embed", "_write", "_send", "_go_live"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_work_cut_short_anywhere_is_finished_by_the_next(
    add, collection, in_chroma, embedded, monkeypatch, stage, when
):
    class Killed(BaseException):
        pass

    for number in range(3):
        add(f"{number}.md", f"# Page {number}\n\nThe zebra sleeps {number} times.", index=False)
    really = getattr(indexing, stage)

    def killed(*args, **kwargs):
        if when == "after":
            really(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(indexing, stage, killed)
    with pytest.raises(Killed):
        indexing.process("dead", indexing.claim("dead"))
    assert found("zebra") == [] or (stage, when) == ("_go_live", "after")
    monkeypatch.setattr(indexing, stage, really)
    expire()
    index_everything()
    assert set(Revision.objects.values_list("state", flat=True)) == {State.INDEXED}
    assert sorted(found("zebra")) == ["0.md", "1.md", "2.md"]
    assert in_chroma(collection) == live_rows(collection)
    assert lexical_ids() == chunk_ids()
    assert len(embedded) == 3


# --- Chroma away -------------------------------------------------------------------------


def test_without_chroma_work_is_postponed_with_its_reason(add, chroma_away, embedded):
    document = add("a.md", "The zebra sleeps.", index=False)
    indexing.process("test", indexing.claim("test"))
    revision = latest(document)
    assert (revision.state, revision.failure_code) == (State.QUEUED, "vector_store_unavailable")
    assert revision.failure_message
    assert revision.attempts == 1
    assert revision.not_before > timezone.now()
    assert indexing.claim("test") == []
    assert len(embedded) == 1


def test_when_chroma_is_back_nothing_is_embedded_again(
    add, collection, in_chroma, chroma_away, embedded
):
    for number in range(4):
        add(f"{number}.md", f"The zebra sleeps {number} times.", index=False)
    work()
    make_due()
    work()
    assert len(embedded) == 4
    chroma_away()
    make_due()
    index_everything()
    assert len(embedded) == 4
    assert len(found("zebra")) == 4
    revision = Revision.objects.earliest("pk")
    assert (revision.failure_code, revision.failure_message) == ("", "")
    assert in_chroma(collection) == live_rows(collection)


def test_the_wait_grows_and_has_an_end(add, chroma_away):
    document = add("a.md", "text", index=False)
    waits = []
    for _ in range(9):
        indexing.process("test", indexing.claim("test"))
        waits.append((latest(document).not_before - timezone.now()).total_seconds())
        make_due()
    assert waits == sorted(waits) or max(waits) <= indexing.LONGEST_DELAY
    assert waits[0] < 3
    assert waits[-1] == pytest.approx(indexing.LONGEST_DELAY, abs=2)


def test_unreadable_documents_fail_although_chroma_is_away(add, chroma_away):
    bad = add("bad.md", b"", index=False)
    good = add("good.md", "text", index=False)
    indexing.process("test", indexing.claim("test"))
    assert latest(bad).state == State.FAILED
    assert latest(good).state == State.QUEUED


def test_a_model_that_is_not_prepared_postpones(add, settings, tmp_path):
    document = add("a.md", "text", index=False)
    factories.reset()
    settings.MODEL_DIR = tmp_path
    indexing.process("test", indexing.claim("test"))
    assert latest(document).state == State.QUEUED
    assert latest(document).failure_code == "model_not_ready"


# --- Cleaning up -------------------------------------------------------------------------


def test_a_deleted_document_is_gone_at_commit_and_then_cleaned_up(add, collection, in_chroma):
    document = add("a.md", "The zebra sleeps.")
    held = live_rows(collection)
    document.tombstone()
    assert found("zebra") == []
    assert in_chroma(collection) == held
    assert indexing.clean_up() == 1
    assert in_chroma(collection) == {}
    assert chunk_ids() == lexical_ids() == set()
    assert indexing.clean_up() == 0


def test_a_replaced_version_is_cleaned_up_and_the_new_one_stays(add, collection, in_chroma):
    add("a.md", "# One\n\nThe zebra sleeps.")
    add("a.md", "# One\n\nThe giraffe eats.")
    assert [chunk.text for chunk in Chunk.objects.all()] == ["# One\n\nThe giraffe eats."]
    assert in_chroma(collection) == live_rows(collection)
    assert lexical_ids() == chunk_ids()


def test_a_shorter_version_leaves_no_tail_behind(add, collection, in_chroma):
    add(
        "a.md", "# One\n\n" + "\n\n".join(f"## P{n}\n\n" + "words of prose " * 60 for n in range(9))
    )
    assert len(in_chroma(collection)) > 5
    add("a.md", "# One\n\nShort.")
    assert len(in_chroma(collection)) == 1


def test_cleaning_up_waits_for_chroma(add, collection, in_chroma, chroma_away):
    from retrieval.exceptions import VectorStoreUnavailable

    chroma_away()
    document = add("a.md", "The zebra sleeps.")
    document.tombstone()
    away = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "vector_store", lambda: away)
        with pytest.raises(VectorStoreUnavailable):
            indexing.clean_up()
    assert Chunk.objects.exists()
    assert indexing.clean_up() == 1
    assert in_chroma(collection) == {}
