"""Nothing that is accepted answers anybody before it is proven, or confirmed; what is discarded
leaves nothing behind. With a real Chroma and the real model."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from retrieval import editing, indexing, reindex
from retrieval.exceptions import InvalidRequest, ReviewConflict
from retrieval.feedback import acceptance as acceptances
from retrieval.feedback import measuring, proof, staging
from retrieval.feedback.acceptance import Proposal, accept, confirm, roll_back
from retrieval.models import (
    Acceptance,
    Alias,
    AliasPlace,
    Chunk,
    Collection,
    Document,
    Judgment,
    ReviewItem,
    Revision,
)
from tests.conftest import index_everything
from tests.retrieval.feedback.test_loop import answers, ask, group, office, settle, words

__all__ = ["group", "office"]

pytestmark = pytest.mark.django_db

State = Acceptance.State
QUESTION = "Where can I make black hot drinks?"
#: A golden question, and what pushes its document down.
GOLDEN = "Where does the printer stand?"
LOUDER = "The printer stands here. Where does the printer stand? Here."
EVERYTHING = (QUESTION, GOLDEN, "Who cleans the coffee machine?", "打印机在哪里")


def coffee() -> Chunk:
    return Chunk.objects.live().get(document__external_id="coffee.md")


def proposal(kind: str) -> Proposal:
    text = coffee().text + "\n\nIt makes black hot drinks."
    return Proposal(kind, answer="In the kitchen.", chunk_id=coffee().pk, text=text)


@pytest.fixture
def golden(office: Collection) -> None:
    printer = Document.objects.get(external_id="printer.md")
    Judgment.objects.create(collection=office, question=GOLDEN, document=printer)


def harmful(kind: str) -> Proposal:
    """One of each kind after which the golden question finds its document later."""
    if kind == "hide":
        return Proposal(kind, chunk_id=Chunk.objects.get(document__external_id="printer.md").pk)
    questions = ["Where does the printer stand now?", "printer stand where"]
    text = f"{coffee().text}\n\n{LOUDER}"
    return Proposal(kind, questions=questions, answer=LOUDER, chunk_id=coffee().pk, text=text)


KINDS = ["answer", "edit", "alias", "hide"]


@pytest.mark.parametrize("kind", KINDS)
def test_until_it_is_proven_nobody_is_answered_otherwise(group, office, admin_user, kind):
    item = group(QUESTION)
    old, old_words = answers(*EVERYTHING), words()
    accepted = accept(item.pk, proposal(kind), admin_user)
    assert answers(*EVERYTHING) == old
    index_everything()  # prepared
    assert (answers(*EVERYTHING), words()) == (old, old_words)
    assert proof.step("test")
    index_everything()
    assert answers(*EVERYTHING) != old
    settle()
    accepted.refresh_from_db()
    assert accepted.state == State.FINAL
    # What was tried out is what people are answered with, to the last digit.
    now = ask(QUESTION, top_k=measuring.DEPTH)
    (tried,) = accepted.after["questions"]
    assert [hit["score"] for hit in tried["hits"]] == [hit.score for hit in now.hits]
    assert tried["confidence"] == now.confidence


@pytest.mark.parametrize("kind", KINDS)
def test_what_makes_others_worse_is_live_only_once_it_is_confirmed(
    group, office, golden, in_chroma, admin_user, kind
):
    item = group(QUESTION)
    old, old_words, old_vectors = answers(*EVERYTHING), words(), in_chroma(office)
    accepted = accept(item.pk, harmful(kind), admin_user)
    settle()
    accepted.refresh_from_db()
    assert (accepted.state, accepted.final_at) == (State.WAITING, None)
    (moved,) = accepted.worse
    assert (moved["question"], moved["before"]) == (GOLDEN, 1)
    assert (answers(*EVERYTHING), words()) == (old, old_words)

    roll_back(accepted.pk, admin_user)
    assert answers(*EVERYTHING) == old
    settle()
    accepted.refresh_from_db()
    assert accepted.state == State.UNDONE
    assert (answers(*EVERYTHING), words(), in_chroma(office)) == (old, old_words, old_vectors)
    assert not AliasPlace.objects.exists()
    item.refresh_from_db()
    assert item.is_open

    # The same again, and this time it is wanted.
    again = accept(item.pk, harmful(kind), admin_user)
    settle()
    confirm(again.pk, admin_user)
    settle()
    again.refresh_from_db()
    assert again.state == State.FINAL
    found = [hit.external_id for hit in ask(GOLDEN, top_k=measuring.DEPTH).hits]
    rank = found.index("printer.md") + 1 if "printer.md" in found else None
    assert rank == again.worse[0]["after"] != 1

    roll_back(again.pk, admin_user)
    settle()
    assert answers(*EVERYTHING) == old
    # An edited document is back as a version of its own.
    assert sorted(row[1:] for row in words()) == sorted(row[1:] for row in old_words)


class Killed(BaseException):
    """Like `kill -9`: nothing catches it."""


def die(*_args: Any, **_options: Any) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("kind", "room", "name"),
    [
        ("edit", indexing, "_stage"),
        ("edit", staging, "_make_known"),
        ("edit", proof, "_moved"),
        ("edit", acceptances, "go_live"),
        ("edit", acceptances, "finish"),
        ("answer", staging, "notify"),
        ("alias", staging, "_make_known"),
        ("alias", acceptances, "finish"),
        ("hide", staging, "publish"),
    ],
)
def test_a_kill_at_any_moment_is_made_good(
    group, office, admin_user, monkeypatch, kind, room, name
):
    item = group(QUESTION)
    old = answers(*EVERYTHING)
    accepted = accept(item.pk, proposal(kind), admin_user)
    with monkeypatch.context() as patch:
        patch.setattr(room, name, die)
        with pytest.raises(Killed):
            settle()
    accepted.refresh_from_db()
    if accepted.state == State.PROVING:
        assert answers(*EVERYTHING) == old
    Revision.objects.in_work().abandon()  # its lease has run out
    settle()
    accepted.refresh_from_db()
    assert accepted.state == State.FINAL
    assert Judgment.objects.count() == (0 if kind == "hide" else 1)


def test_it_does_not_wait_behind_a_folder_of_documents(group, office, add, admin_user):
    for number in range(3):
        add(f"{number}.md", f"# Page {number}\n\nText {number}.", index=False)
    accepted = accept(group(QUESTION).pk, proposal("answer"), admin_user)
    assert accepted.revision is not None
    assert [revision.pk for revision in indexing.claim("test")] == [accepted.revision.pk]
    assert len(indexing.claim("test")) == 3


class TestMeanwhile:
    """What others do to the document while a change of it is on trial."""

    @pytest.fixture
    def waiting(self, group, office, golden, admin_user) -> Acceptance:
        item = group(QUESTION)
        accepted = accept(item.pk, harmful("edit"), admin_user)
        settle()
        accepted.refresh_from_db()
        assert accepted.state == State.WAITING
        return accepted

    def test_a_newer_version_wins_and_the_trial_can_only_be_discarded(
        self, waiting, add, office, in_chroma, admin_user
    ):
        add("coffee.md", "# Coffee\n\nThe kitchen makes black hot drinks on Mondays.")
        settle()
        with pytest.raises(ReviewConflict, match="changed after"):
            confirm(waiting.pk, admin_user)
        roll_back(waiting.pk, admin_user)
        settle()
        assert "Mondays" in ask(QUESTION).hits[0].text
        assert set(in_chroma(office)) == {str(chunk.pk) for chunk in Chunk.objects.live()}
        assert {row[0] for row in words()} == {chunk.pk for chunk in Chunk.objects.live()}

    def test_no_other_edit_comes_between(self, waiting, admin_user):
        with pytest.raises(InvalidRequest, match="waits for a decision"):
            editing.edit_chunk(coffee().pk, "Something else.")
        roll_back(waiting.pk, admin_user)
        revision = editing.edit_chunk(coffee().pk, "Something else.")
        settle()
        assert coffee().revision_id == revision.pk

    def test_a_deleted_document_takes_it_along(self, waiting, office, in_chroma, admin_user):
        Document.objects.get(external_id="coffee.md").tombstone()
        settle()
        assert set(in_chroma(office)) == {str(chunk.pk) for chunk in Chunk.objects.live()}
        with pytest.raises(ReviewConflict, match="deleted"):
            confirm(waiting.pk, admin_user)
        roll_back(waiting.pk, admin_user)
        settle()
        waiting.refresh_from_db()
        assert waiting.state == State.UNDONE

    def test_a_new_index_holds_it_once_it_is_confirmed(self, waiting, office, admin_user):
        reindex.start(office, chunk_size=64)
        while index := reindex.claim("builder"):
            while reindex.step(index):
                pass
        assert ask(GOLDEN).hits[0].external_id == "printer.md"
        confirm(waiting.pk, admin_user)
        settle()
        waiting.refresh_from_db()
        assert waiting.state == State.FINAL
        assert ask(GOLDEN).hits[0].external_id == "coffee.md"

    def test_an_index_that_is_begun_while_it_is_prepared_gets_it_too(
        self, group, office, admin_user
    ):
        item = group(QUESTION)
        accepted = accept(item.pk, proposal("edit"), admin_user)
        index_everything()
        reindex.start(office, chunk_size=64)
        while index := reindex.claim("builder"):
            while reindex.step(index):
                pass
        settle()  # into that one, too
        settle()
        accepted.refresh_from_db()
        assert accepted.state == State.FINAL
        assert ask(QUESTION).hits[0].document_id == accepted.document_id
        (line,) = proof.lines(accepted)
        assert line.rank_after == 1

    def test_a_passage_that_is_gone_opens_the_group_again(self, group, office, admin_user, add):
        item = group(QUESTION)
        accepted = accept(item.pk, proposal("hide"), admin_user)
        add("coffee.md", "# Coffee\n\nThere is none any more.")
        settle()
        accepted.refresh_from_db()
        item.refresh_from_db()
        assert (accepted.state, item.is_open) == (State.FAILED, True)
        assert "gone" in accepted.failure_message

    def test_it_is_discarded_while_it_is_prepared(self, group, office, in_chroma, admin_user):
        item = group(QUESTION)
        old, old_words, old_vectors = answers(*EVERYTHING), words(), in_chroma(office)
        accepted = accept(item.pk, proposal("answer"), admin_user)
        index_everything()
        roll_back(accepted.pk, admin_user)
        with pytest.raises(ReviewConflict, match="being taken back"):
            accept(item.pk, proposal("answer"), admin_user)
        settle()
        assert (answers(*EVERYTHING), words(), in_chroma(office)) == (old, old_words, old_vectors)
        assert not Document.objects.alive().filter(origin="feedback").exists()
        accepted = accept(item.pk, proposal("answer"), admin_user)
        settle()
        accepted.refresh_from_db()
        assert accepted.state == State.FINAL
        assert ask(QUESTION).hits[0].document_id == accepted.document_id


def test_a_second_answer_on_trial_leaves_the_first_one_answering(
    group, office, golden, admin_user: User
):
    item = group(QUESTION)
    accept(item.pk, Proposal("answer", answer="In Bob's office."), admin_user)
    settle()
    ReviewItem.objects.filter(pk=item.pk).update(is_open=True, state="open")
    second = accept(item.pk, harmful("answer"), admin_user)
    settle()
    second.refresh_from_db()
    assert second.state == State.WAITING
    assert "Bob" in ask(QUESTION).hits[0].text
    roll_back(second.pk, admin_user)
    settle()
    assert "Bob" in ask(QUESTION).hits[0].text
    document = Document.objects.get(external_id=f"answers/{item.pk}.md")
    assert document.latest_revision_id == document.live_revision_id
    assert not Alias.objects.all().active().filter(is_staged=True).exists()
