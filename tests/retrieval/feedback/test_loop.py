"""The whole loop, with a real Chroma and the real model: a bad answer, a correction, a group, an
acceptance, its proof, and the way back."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from retrieval import aliases, moving, reindex, sync
from retrieval.collections import create_collection
from retrieval.exceptions import (
    InvalidRequest,
    KnowledgeBaseError,
    ReviewConflict,
    VectorStoreUnavailable,
)
from retrieval.factories import vector_store
from retrieval.feedback import Vote, proof, record, staging
from retrieval.feedback.acceptance import Proposal, accept, confirm, propose, roll_back
from retrieval.models import (
    Acceptance,
    Alias,
    AliasPlace,
    Chunk,
    Collection,
    Document,
    Feedback,
    Judgment,
    ReviewItem,
    Revision,
    Search,
)
from retrieval.search import search
from retrieval.types import FIRST_ALIAS_ID, SearchRequest
from tests.conftest import index_everything
from tests.retrieval.feedback.conftest import gather

pytestmark = pytest.mark.django_db

State = Acceptance.State
PAGES = {
    "printer.md": "# Printer\n\nThe printer stands on the second floor. Paper is in the cupboard.",
    "holiday.md": "# Holidays\n\nAsk for holidays two weeks ahead, by mail to your manager.",
    "coffee.md": "# Coffee\n\nThe coffee machine is cleaned every Friday by the kitchen team.",
    "zh/printer.md": "# 打印机\n\n打印机在二楼，纸张放在柜子里。",
    "zh/holiday.md": "# 休假\n\n请提前两周通过邮件向经理申请休假。",
}


@pytest.fixture
def office(collection: Collection, add) -> Collection:
    for name, text in PAGES.items():
        add(name, text, index=name == list(PAGES)[-1])
    return collection


def ask(question: str, **options: Any):
    """As anybody would, but nobody takes note of it."""
    options.setdefault("is_logged", False)
    return search(SearchRequest(question, "docs", **options))


def settle() -> None:
    """What the worker does until nothing is due."""
    busy = True
    while busy:
        index_everything()
        busy = bool(aliases.clean_up()) or proof.step("test")


def words() -> list[Any]:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT rowid, scope, title, headings, body FROM retrieval_lexical")
        else:
            cursor.execute("SELECT chunk_id, scope, terms::text FROM retrieval_lexical")
        return sorted(cursor.fetchall())


def answers(*questions: str) -> list[Any]:
    return [
        [(hit.external_id, hit.text, hit.score) for hit in answer.hits] + [answer.confidence]
        for answer in map(ask, questions)
    ]


@pytest.fixture
def group(office):
    """A group of questions with a vote and a correction on the first one."""

    def make(*questions: str, correction: str = "", chunk_id: int | None = None) -> ReviewItem:
        first = ask(questions[0], is_logged=True)
        record(Vote(first.query_id, rating=-1, correction=correction, chunk_id=chunk_id, voter="a"))
        for question in questions[1:]:
            ask(question, is_logged=True)
        Search.objects.update(created_at=timezone.now() - timedelta(minutes=1))
        gather()
        return ReviewItem.objects.latest("pk")

    return make


LOOPS = [
    pytest.param(
        ("How do I get into the wifi network?", "How can I connect to the wifi network?"),
        ("How do I join the wifi?", "What do I need to get into the wifi network?"),
        "Choose the network *guest* and type the password **sunflower**.",
        id="english",
    ),
    pytest.param(
        ("怎么连接无线网络", "如何连接无线网络？"),
        ("怎样才能连接无线网络", "无线网络要怎么连接"),
        "选择网络“访客”，密码是向日葵。",
        id="chinese",
    ),
]


@pytest.mark.parametrize(("questions", "paraphrases", "answer"), LOOPS)
def test_a_correction_becomes_the_answer_with_proof_and_can_be_taken_back(
    group, in_chroma, office, admin_user: User, questions, paraphrases, answer
):
    everything = (*questions, *paraphrases, "Where is the printer?", "打印机在哪里")
    old, old_words, old_vectors = answers(*everything), words(), in_chroma(office)
    assert ask(questions[0]).confidence != "high"
    item = group(*questions, correction=answer)
    assert set(item.questions.values_list("text", flat=True)) == set(questions)
    searches = Search.objects.count()

    proposal = propose(item.pk, "answer")
    assert proposal.answer == answer
    assert set(proposal.questions) == set(questions)
    accepted = accept(item.pk, proposal, admin_user)
    assert accepted.state == State.PROVING
    assert accepted.reviewer == admin_user
    assert Feedback.objects.get().state == Feedback.State.ACCEPTED
    settle()

    accepted.refresh_from_db()
    assert (accepted.state, accepted.worse) == (State.FINAL, [])
    for question in (*questions, *paraphrases):
        now = ask(question)
        assert now.hits[0].document_id == accepted.document_id, question
        assert now.confidence == "high", (question, now.hits[0].score)
        assert answer in now.hits[0].text
    for line in proof.lines(accepted):
        assert (line.rank_before, line.rank_after) == (None, 1)
        assert line.is_better
        assert (line.confidence_before != "high", line.confidence_after) == (True, "high")
    golden = Judgment.objects.filter(source=Judgment.Source.FEEDBACK)
    assert set(golden.values_list("question", flat=True)) == set(questions)
    assert Search.objects.count() == searches
    item.refresh_from_db()
    assert (item.state, item.closed_by) == ("accepted", admin_user)
    assert item.closed_at is not None

    roll_back(accepted.pk, admin_user)
    assert accepted.document_id not in {hit.document_id for hit in ask(questions[0]).hits}
    settle()
    accepted.refresh_from_db()
    assert accepted.state == State.UNDONE
    assert answers(*everything) == old
    assert (words(), in_chroma(office)) == (old_words, old_vectors)
    assert not AliasPlace.objects.exists()
    assert not Chunk.objects.live().filter(document=accepted.document_id).exists()
    assert not Judgment.objects.exists()
    for line in proof.lines(accepted, accepted.restored):
        assert line.rank_after is None
        assert line.confidence_after == line.confidence_before
    item.refresh_from_db()
    assert (item.is_open, item.state, item.reopened) == (True, "open", 1)
    assert Feedback.objects.get().state == Feedback.State.PENDING


def test_a_second_answer_is_a_new_version_and_the_first_comes_back(group, office, admin_user):
    question = "How do I get into the wifi network?"
    item = group(question)
    first = accept(item.pk, Proposal("answer", answer="Ask Bob for the wifi code."), admin_user)
    settle()
    record(Vote(question=question, rating=-1, collection="docs", voter="b"))
    gather()
    item.refresh_from_db()
    assert item.is_open
    second = accept(item.pk, Proposal("answer", answer="Ask Eve for the wifi code."), admin_user)
    settle()
    assert second.document_id == first.document_id
    assert "Eve" in ask(question).hits[0].text
    with pytest.raises(ReviewConflict, match="changed after"):
        roll_back(first.pk, admin_user)
    roll_back(second.pk, admin_user)
    settle()
    assert "Bob" in ask(question).hits[0].text


class TestAlias:
    question = "Where can I make black hot drinks?"

    @pytest.fixture
    def coffee(self, office) -> Chunk:
        return Chunk.objects.get(document__external_id="coffee.md")

    @pytest.fixture
    def led(self, group, coffee, admin_user) -> Acceptance:
        item = group(self.question)
        accepted = accept(item.pk, Proposal("alias", chunk_id=coffee.pk), admin_user)
        settle()
        accepted.refresh_from_db()
        return accepted

    def test_the_question_finds_the_passage_itself_once(self, office, led, coffee, in_chroma):
        assert led.state == State.FINAL
        answer = ask(self.question, top_k=10, explain=True)
        assert answer.hits[0].chunk_id == coffee.pk
        assert answer.confidence == "high"
        assert [hit.chunk_id for hit in answer.hits].count(coffee.pk) == 1
        assert answer.hits[0].text == coffee.text
        assert answer.hits[0].distance == pytest.approx(0, abs=1e-3)
        place = AliasPlace.objects.get()
        assert str(FIRST_ALIAS_ID + place.pk) in in_chroma(office)
        (line,) = proof.lines(led)
        assert line.is_better
        assert line.rank_after == 1

    def test_it_is_found_below_a_filter_too(self, office, led, coffee, add):
        add("tagged.md", "---\ntags: [x]\n---\n# Tea\n\nTea is in the drawer.")
        answer = ask(self.question, filter={"tags": ["x"]})
        assert {hit.external_id for hit in answer.hits} == {"tagged.md"}
        item = ReviewItem.objects.get()
        tea = Chunk.objects.get(document__external_id="tagged.md")
        aliases.create(tea.document, ["black hot drinks"], tea.text)
        sync.send_aliases(vector_store(), list(Alias.objects.values_list("pk", flat=True)))
        answer = ask("black hot drinks", filter={"tags": ["x"]})
        assert answer.hits[0].chunk_id == tea.pk
        assert answer.hits[0].bm25 is not None
        assert answer.hits[0].distance == pytest.approx(0, abs=1e-3)
        assert item.pk

    def test_of_a_hidden_or_deleted_passage_it_never_answers(self, led, coffee):
        Chunk.objects.filter(pk=coffee.pk).update(enabled=False)
        assert coffee.pk not in {hit.chunk_id for hit in ask(self.question, top_k=10).hits}
        Chunk.objects.filter(pk=coffee.pk).update(enabled=True)
        coffee.document.tombstone()
        assert coffee.pk not in {hit.chunk_id for hit in ask(self.question, top_k=10).hits}

    def test_a_deleted_document_takes_it_out_of_everything(self, led, coffee, office, in_chroma):
        coffee.document.tombstone()
        settle()
        assert not AliasPlace.objects.exists()
        assert not [row for row in words() if row[0] >= FIRST_ALIAS_ID]
        assert not [id_ for id_ in in_chroma(office) if int(id_) >= FIRST_ALIAS_ID]

    def test_taking_it_back_leaves_nothing(self, group, coffee, office, in_chroma, admin_user):
        item = group(self.question)
        old, old_words, old_vectors = answers(self.question), words(), in_chroma(office)
        accepted = accept(item.pk, Proposal("alias", chunk_id=coffee.pk), admin_user)
        settle()
        assert answers(self.question) != old
        roll_back(accepted.pk, admin_user)
        assert ask(self.question).hits[0].score == old[0][0][2]  # at once
        settle()
        assert answers(self.question) == old
        assert (words(), in_chroma(office)) == (old_words, old_vectors)
        assert not AliasPlace.objects.exists()
        office.refresh_from_db()
        assert not office.has_aliases

    def test_a_rebuild_and_a_repair_bring_it_back(self, led, coffee, office, store, in_chroma):
        office.refresh_from_db()
        index = office.live_index
        assert index is not None
        before = in_chroma(office)
        store.drop(index.physical_name)
        vector_store().forget(index.physical_name)
        drift = sync.reconcile(index)
        assert drift.embedded == 0
        assert in_chroma(office) == before
        assert sync.compare(index).is_clean
        store.forget(index.physical_name)
        store.delete(index.physical_name, [id_ for id_ in before if int(id_) >= FIRST_ALIAS_ID])
        assert sync.reconcile(index).missing
        assert in_chroma(office) == before

    def test_a_reindex_carries_it_along(self, led, coffee, office, in_chroma):
        reindex.start(office, chunk_size=64)
        while index := reindex.claim("builder"):
            while reindex.step(index):
                pass
        hit = ask(self.question).hits[0]
        assert hit.external_id == "coffee.md"
        assert hit.chunk_id != coffee.pk
        assert ask(self.question).confidence == "high"
        office.refresh_from_db()
        assert sync.compare(office.live_index).is_clean
        reindex.drop_retired()
        assert AliasPlace.objects.count() == 1
        assert len([row for row in words() if row[0] >= FIRST_ALIAS_ID]) == 1

    def test_an_edit_elsewhere_carries_it_along(self, led, add):
        add("coffee.md", PAGES["coffee.md"] + "\n\n## Tea\n\nTea is in the drawer.\n")
        settle()
        assert ask(self.question).hits[0].external_id == "coffee.md"
        assert ask(self.question).confidence == "high"
        assert not Alias.objects.get().is_stale

    def test_it_is_stale_where_the_text_is_gone_and_fresh_where_it_is_back(self, led, add):
        add("coffee.md", "# Coffee\n\nThere is none any more.")
        settle()
        assert Alias.objects.get().is_stale
        assert Judgment.objects.get().is_stale
        assert ask(self.question).confidence != "high"
        add("coffee.md", PAGES["coffee.md"])
        settle()
        assert not Alias.objects.get().is_stale
        assert not Judgment.objects.get().is_stale
        assert ask(self.question).confidence == "high"

    def test_it_moves_with_its_document(self, led, coffee, office):
        target = create_collection(slug="other", title="Other")
        moving.request_move(Document.objects.filter(pk=coffee.document_id), target)
        while moving.step():
            pass
        answer = search(SearchRequest(self.question, "other"))
        assert answer.hits[0].external_id == "coffee.md"
        assert answer.confidence == "high"
        assert ask(self.question).confidence != "high"

    def test_collections_without_any_ask_nothing_more(self, office, coffee):
        with CaptureQueriesContext(connection) as without:
            ask(self.question)
        assert not any('FROM "retrieval_aliasplace"' in query["sql"] for query in without)
        aliases.create(coffee.document, [self.question], coffee.text)
        with CaptureQueriesContext(connection) as with_one:
            ask(self.question)
        assert len(with_one) == len(without) + 1


class TestHideAndEdit:
    def test_a_hidden_passage_is_out_at_once_and_comes_back(self, group, office, admin_user):
        question = "Who cleans the coffee machine?"
        chunk_id = ask(question).hits[0].chunk_id
        old = answers(question)
        item = group(question, chunk_id=chunk_id)
        proposal = propose(item.pk, "hide")
        assert proposal.chunk_id == chunk_id
        accepted = accept(item.pk, proposal, admin_user)
        settle()
        assert chunk_id not in {hit.chunk_id for hit in ask(question, top_k=10).hits}
        accepted.refresh_from_db()
        (line,) = proof.lines(accepted)
        assert (line.rank_before, line.rank_after) == (1, None)
        assert not Judgment.objects.exists()
        roll_back(accepted.pk, admin_user)
        settle()
        assert answers(question) == old

    def test_a_passage_is_edited_in_its_source(self, group, office, admin_user):
        question = "Which day is the coffee machine cleaned?"
        old = answers(question)
        item = group(question, correction="It is Monday.")
        proposal = propose(item.pk, "edit")
        assert "Friday" in proposal.text
        assert "It is Monday." in proposal.text
        text = proposal.text.replace("Friday", "Monday").replace("It is Monday.", "")
        accepted = accept(
            item.pk, Proposal("edit", chunk_id=proposal.chunk_id, text=text), admin_user
        )
        settle()
        accepted.refresh_from_db()
        assert accepted.state == State.FINAL
        assert "every Monday" in ask(question).hits[0].text
        assert Judgment.objects.get().document.external_id == "coffee.md"
        roll_back(accepted.pk, admin_user)
        settle()
        assert answers(question) == old
        assert Revision.objects.filter(document__external_id="coffee.md").count() == 3


class TestWorse:
    @pytest.fixture
    def harmful(self, group, office, admin_user) -> Acceptance:
        """An answer that says what another golden question's document says, only more so."""
        Judgment.objects.create(
            collection=office,
            question="Where does the printer stand?",
            document=Document.objects.get(external_id="printer.md"),
        )
        item = group("Where is the printer paper?")
        proposal = Proposal(
            "answer",
            questions=["Where does the printer stand now?", "printer stand where"],
            answer="The printer stands here. Where does the printer stand? Here.",
        )
        accepted = accept(item.pk, proposal, admin_user)
        settle()
        accepted.refresh_from_db()
        return accepted

    def test_what_makes_others_worse_waits_and_says_so(self, harmful):
        assert harmful.state == State.WAITING
        (row,) = harmful.worse
        assert row["question"] == "Where does the printer stand?"
        assert (row["before"], row["after"]) == (1, 2)
        assert harmful.final_at is None
        assert ask("Where does the printer stand?").hits[0].external_id == "printer.md"
        assert Judgment.objects.count() == 1  # not yet a golden answer

    def test_it_can_be_confirmed_once(self, harmful, admin_user):
        confirm(harmful.pk, admin_user)
        settle()
        harmful.refresh_from_db()
        assert harmful.state == State.FINAL
        assert ask("Where does the printer stand?").hits[0].document_id == harmful.document_id
        assert Judgment.objects.count() == 3
        with pytest.raises(ReviewConflict):
            confirm(harmful.pk, admin_user)

    def test_it_can_be_taken_back_instead(self, harmful, admin_user):
        roll_back(harmful.pk, admin_user)
        settle()
        assert ask("Where does the printer stand?").hits[0].external_id == "printer.md"
        with pytest.raises(ReviewConflict):
            roll_back(harmful.pk, admin_user)


class TestWhatGoesWrong:
    def test_what_is_not_usable_changes_nothing(self, group, office, admin_user):
        item = group("How do I get into the wifi network?")
        documents = Document.objects.count()
        for proposal in (
            Proposal("answer", answer="  "),
            Proposal("answer", answer="x" * 20_001),
            Proposal("answer", questions=["q" * 4001], answer="ok"),
            Proposal("answer", questions=[f"q{n}" for n in range(21)], answer="ok"),
            Proposal("burn", answer="ok"),
            Proposal("edit", chunk_id=Chunk.objects.all()[0].pk, text=" "),
        ):
            with pytest.raises(InvalidRequest):
                accept(item.pk, proposal, admin_user)
        for kind in ("alias", "hide", "edit"):
            with pytest.raises(ReviewConflict):
                accept(item.pk, Proposal(kind, chunk_id=10**9, text="x"), admin_user)
        item.refresh_from_db()
        assert item.is_open
        assert Document.objects.count() == documents
        assert not Acceptance.objects.exists()

    def test_a_passage_of_another_collection_is_none(self, group, office, admin_user, add):
        item = group("How do I get into the wifi network?")
        other = create_collection(slug="other", title="Other")
        Document.objects.filter(external_id="coffee.md").update(collection=other)
        chunk = Chunk.objects.get(document__external_id="coffee.md")
        with pytest.raises(ReviewConflict):
            accept(item.pk, Proposal("hide", chunk_id=chunk.pk), admin_user)

    def test_an_answer_that_cannot_be_indexed_opens_the_group_again(
        self, group, office, admin_user
    ):
        item = group("How do I get into the wifi network?")
        accepted = accept(item.pk, Proposal("answer", answer="Like this."), admin_user)
        assert accepted.revision is not None
        Revision.objects.filter(pk=accepted.revision.pk).update(
            state="failed", failure_message="The front matter is wrong."
        )
        settle()
        accepted.refresh_from_db()
        item.refresh_from_db()
        assert accepted.state == State.FAILED
        assert accepted.failure_message == "The front matter is wrong."
        assert item.is_open

    def test_while_chroma_is_away_the_proof_waits(self, group, office, admin_user, monkeypatch):
        item = group("Where can I make black hot drinks?")
        coffee = Chunk.objects.get(document__external_id="coffee.md")
        accepted = accept(item.pk, Proposal("alias", chunk_id=coffee.pk), admin_user)

        def away():
            raise VectorStoreUnavailable("away")

        with monkeypatch.context() as patch:
            patch.setattr(staging, "vector_store", away)
            with pytest.raises(VectorStoreUnavailable):
                proof.step("test")
        accepted.refresh_from_db()
        assert (accepted.state, accepted.lease_owner) == (State.PROVING, "")
        settle()
        accepted.refresh_from_db()
        assert accepted.state == State.FINAL

    @pytest.mark.django_db(transaction=True)
    def test_of_two_reviewers_one_wins(self, group, office, admin_user):
        item = group("How do I get into the wifi network?")
        results: list[str] = []

        def decide(number: int) -> None:
            try:
                accept(item.pk, Proposal("answer", answer=f"Like {number}."), admin_user)
                results.append("accepted")
            except KnowledgeBaseError as error:
                results.append(error.code)
            finally:
                connection.close()

        threads = [threading.Thread(target=decide, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["accepted", "review_conflict", "review_conflict"]
        assert Acceptance.objects.count() == 1
        assert Document.objects.filter(origin="feedback").count() == 1
