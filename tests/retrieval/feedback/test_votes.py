"""Votes: one for each voter and answer, whatever happens at the same time."""

import threading

import pytest
from django.db import DatabaseError, close_old_connections, connection

from retrieval.exceptions import CollectionNotFound, InvalidRequest, SearchNotFound
from retrieval.feedback import Vote, record
from retrieval.feedback.votes import MAX_ANSWER, MAX_COMMENT, MAX_CORRECTION, MAX_QUESTION
from retrieval.models import Collection, Feedback, Search

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(shelf: Collection) -> Search:
    return Search.objects.create(
        collection=shelf,
        query="How long is the warranty?",
        channel="plugin",
        top_k=4,
        confidence="low",
        results=[{"rank": 1, "score": 0.3, "chunk_id": 7, "document_id": 5}],
    )


def test_a_vote_can_be_changed_and_stays_one(asked):
    first, is_new = record(Vote(str(asked.pk), rating=1, voter="ann"))
    second, again = record(Vote(str(asked.pk), rating=-1, correction="Two years.", voter="ann"))
    assert (is_new, again) == (True, False)
    assert first.pk == second.pk
    row = Feedback.objects.get()
    assert (row.rating, row.correction, row.is_grouped) == (-1, "Two years.", False)


def test_what_was_answered_is_kept_when_a_later_vote_does_not_repeat_it(asked):
    record(Vote(str(asked.pk), rating=-1, answer="One year.", voter="ann"))
    record(Vote(str(asked.pk), rating=-1, comment="No!", voter="ann"))
    assert Feedback.objects.get().answer == "One year."


def test_the_document_at_fault_must_have_been_answered(asked):
    record(Vote(str(asked.pk), rating=-1, document_id=5))  # it is gone since, which is no fault
    with pytest.raises(InvalidRequest, match="document_id 6"):
        record(Vote(str(asked.pk), rating=-1, document_id=6))


class TestWithoutASearch:
    def test_a_question_and_its_answer_are_enough(self, shelf):
        row, is_new = record(
            Vote(
                question=" How long is\nthe warranty? ",
                answer="One year.",
                correction="Two years.",
                collection="docs",
                voter="ann",
                channel="gateway",
            )
        )
        assert is_new
        assert (row.search, row.collection_id) == (None, shelf.pk)
        assert (row.question, row.answer) == ("How long is the warranty?", "One year.")

    def test_the_same_voter_has_one_vote_however_the_question_is_spelt(self, shelf):
        def vote(question: str, voter: str = "ann") -> bool:
            return record(Vote(question=question, rating=1, collection="docs", voter=voter))[1]

        assert vote("How long is the warranty?")
        assert not vote("how long  is the WARRANTY")
        assert vote("how long is the warranty?", "bob")
        assert vote("How short is the warranty?")
        assert Feedback.objects.count() == 3

    def test_the_collection_must_exist(self, shelf):
        with pytest.raises(CollectionNotFound):
            record(Vote(question="Why?", rating=1, collection="nowhere"))

    @pytest.mark.parametrize("fault", [{"chunk_id": 9}, {"document_id": 9}])
    def test_what_was_at_fault_must_be_of_the_collection(self, shelf, fault):
        with pytest.raises(InvalidRequest, match="9 is no"):
            record(Vote(question="Why?", rating=-1, collection="docs", **fault))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"rating": 0},
        {"rating": 2},
        {"comment": "  "},
        {"rating": 1, "comment": "x" * (MAX_COMMENT + 1)},
        {"rating": 1, "correction": "x" * (MAX_CORRECTION + 1)},
        {"rating": 1, "answer": "x" * (MAX_ANSWER + 1)},
        {"rating": 1, "question": "x" * (MAX_QUESTION + 1)},
        {"rating": 1, "voter": "x" * 201},
        {"rating": 1, "comment": "a\0b"},
    ],
    ids=lambda said: str(said)[:40],
)
def test_what_says_nothing_or_too_much_is_refused(shelf, said):
    with pytest.raises(InvalidRequest):
        record(Vote(**{"question": "Why?", "collection": "docs", **said}))
    assert not Feedback.objects.exists()


@pytest.mark.parametrize("query_id", ["no uuid", "00000000-0000-4000-8000-000000000000"])
def test_an_unknown_search_is_refused(shelf, query_id):
    with pytest.raises(SearchNotFound):
        record(Vote(query_id, rating=1))


@pytest.mark.django_db(transaction=True)
def test_votes_at_the_same_moment_are_one_row(asked):
    failures: list[Exception] = []

    def vote(number: int) -> None:
        try:
            for rating in (1, -1, 1, -1, 1):
                record(Vote(str(asked.pk), rating=rating, comment=str(number), voter="ann"))
        except DatabaseError as error:
            failures.append(error)
        finally:
            close_old_connections()
            connection.close()

    threads = [threading.Thread(target=vote, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Feedback.objects.count() == 1
