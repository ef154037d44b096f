"""Votes and badly answered searches become groups of questions that ask the same."""

import threading
import time
import uuid
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from retrieval.embedding.onnx_runtime import OnnxEmbedder
from retrieval.feedback import (
    Vote,
    batch,
    candidates,
    grouping,
    places,
    queue,
    record,
    regrouping,
)
from retrieval.likeness import question_key, shared, terms
from retrieval.models import (
    Embedding,
    Feedback,
    ReviewCursor,
    ReviewItem,
    ReviewQuestion,
    Search,
)
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.retrieval.feedback.conftest import gather

pytestmark = pytest.mark.django_db


def groups() -> list[set[str]]:
    return [
        set(item.questions.values_list("text", flat=True))
        for item in ReviewItem.objects.order_by("pk")
    ]


class TestByMeaning:
    """With the real model, which understands English."""

    def test_what_asks_the_same_is_one_group(self, collection, asked):
        same = ["How do I reset my password?", "I forgot my password, how can I reset it?"]
        other = ["How do I change my email?"]
        for question in same + other:
            asked(collection, question)
        gather()
        assert groups() == [set(same), set(other)]

    def test_the_opposite_is_another_question(self, collection, asked):
        asked(collection, "How do I install Docker?")
        asked(collection, "How do I uninstall Docker?")
        gather()
        assert len(groups()) == 2

    def test_numbers_tell_questions_apart(self, collection, asked):
        asked(collection, "What does error 404 mean?")
        asked(collection, "What does error 500 mean?")
        gather()
        assert len(groups()) == 2

    def test_what_the_model_does_not_understand_is_compared_by_its_words(self, collection, asked):
        same = ["怎么重置密码", "密码忘了怎么重置", "请问如何重置密码？"]
        for question in [*same, "如何修改邮箱"]:
            asked(collection, question)
        gather()
        assert groups() == [set(same), {"如何修改邮箱"}]

    def test_a_later_batch_finds_the_groups_of_an_earlier_one(self, collection, asked):
        asked(collection, "How do I reset my password?", minutes=9)
        gather()
        asked(collection, "I forgot my password, how can I reset it?", minutes=5)
        gather()
        assert len(groups()) == 1

    def test_a_question_that_was_searched_is_not_embedded_again(self, collection, monkeypatch):
        same = ["How do I reset my password?", "I forgot my password, how can I reset it?"]
        for question in same:
            search(SearchRequest(query=question, collection="docs"))
        Search.objects.update(created_at=timezone.now() - timedelta(minutes=1))
        assert not Search.objects.filter(vector=None).exists()
        with monkeypatch.context() as patch:
            patch.setattr(OnnxEmbedder, "embed_query", lambda *given: 1 / 0)
            gather()
        assert groups() == [set(same)]
        assert list(Search.objects.values_list("vector", "vector_model")) == [(None, None)] * 2

    def test_the_vector_of_another_model_is_not_taken(self, collection, asked):
        same = ["How do I reset my password?", "I forgot my password, how can I reset it?"]
        for number, question in enumerate(same):
            asked(
                collection,
                question,
                vector=Embedding.pack(np.eye(384, dtype=np.float32)[number]),
                vector_model=collection.live_index.embedding_model_id + 1,
            )
        gather()
        assert groups() == [set(same)]

    @pytest.mark.parametrize(
        ("confidence", "count", "degraded", "weak"),
        [
            ("high", 3, "", False),
            ("low", 3, "", True),
            ("none", 0, "", True),
            ("high", 0, "", True),
            ("none", 0, "vector_store_unavailable", False),
        ],
    )
    def test_which_answers_are_weak(self, confidence, count, degraded, weak):
        assert Search.is_weak(confidence, count, degraded) is weak

    def test_without_the_model_words_will_do_and_are_made_good_later(
        self, collection, asked, monkeypatch
    ):
        from retrieval.exceptions import ModelNotReady

        def missing(model):
            raise ModelNotReady("not here")

        with monkeypatch.context() as patch:
            patch.setattr(batch, "embedder_for", missing)
            asked(collection, "How do I reset my password?", minutes=9)
            asked(collection, "how to reset the password", minutes=8)
            gather()
        assert len(groups()) == 1
        ReviewItem.objects.update(vector_model=None)
        gather()
        assert ReviewItem.objects.get().vector is not None

    def test_another_model_has_the_questions_embedded_again(self, collection, asked):
        asked(collection, "How do I reset my password?")
        gather()
        ReviewItem.objects.update(vector_model=10**6, vector=b"\0" * 4)
        gather()
        item = ReviewItem.objects.get()
        assert item.vector_model == collection.live_index.embedding_model_id
        assert item.vector is not None
        assert len(bytes(item.vector)) == 2 * 384


class TestWhatIsCounted:
    def test_people_and_times_and_bad_answers(self, shelf, asked):
        for asker in ("ann", "bob", "ann"):
            asked(shelf, "Where is the key?", asker=asker)
        asked(shelf, "where is the KEY", confidence="none", asker="eve")
        gather()
        item = ReviewItem.objects.get()
        assert (item.asked, item.askers) == (4, 3)
        assert (item.low_count, item.none_count) == (3, 1)
        (row,) = queue.read_page(queue.Wanted()).rows
        assert (row.week_asked, row.week_askers) == (4, 3)

    def test_last_month_is_not_this_week(self, shelf, asked):
        asked(shelf, "Where is the key?", minutes=60 * 24 * 20)
        asked(shelf, "Where is the key?")
        gather()
        (row,) = queue.read_page(queue.Wanted()).rows
        assert (row.item.asked, row.week_asked) == (2, 1)

    @pytest.mark.parametrize(
        "fields",
        [
            {"confidence": "high"},
            {"channel": "playground"},
            {"channel": "review"},
            {"degraded": "vector_store_unavailable"},
        ],
        ids=str,
    )
    def test_what_is_no_bad_answer_to_somebody_begins_no_group(self, shelf, asked, fields):
        asked(shelf, "Where is the key?", **fields)
        gather()
        assert not ReviewItem.objects.exists()

    def test_no_passage_is_a_bad_answer_whatever_its_confidence(self, shelf, asked):
        asked(shelf, "Where is the key?", confidence="high", result_count=0)
        gather()
        assert ReviewItem.objects.get().none_count == 1

    def test_a_good_answer_counts_where_the_question_is_under_review(self, shelf, asked):
        asked(shelf, "Where is the key?", minutes=5)
        gather()
        asked(shelf, "Where is the key?", confidence="high", minutes=4)
        gather()
        item = ReviewItem.objects.get()
        assert (item.asked, item.low_count) == (2, 1)

    def test_a_vote_on_a_counted_search_is_no_second_question(self, shelf, asked):
        search = asked(shelf, "Where is the key?", asker="ann")
        record(Vote(str(search.pk), rating=-1, correction="Below the mat.", voter="x"))
        gather()
        item = ReviewItem.objects.get()
        assert (item.asked, item.askers) == (1, 1)
        assert (item.down_count, item.correction_count) == (1, 1)

    def test_a_vote_on_a_good_answer_is_a_question(self, shelf, asked):
        search = asked(shelf, "Where is the key?", confidence="high")
        gather()
        record(Vote(str(search.pk), rating=-1, voter="x"))
        gather()
        assert ReviewItem.objects.get().asked == 1

    def test_a_changed_vote_is_counted_as_it_is_now(self, shelf, asked):
        search = asked(shelf, "Where is the key?")
        record(Vote(str(search.pk), rating=-1, voter="x"))
        gather()
        worst = ReviewItem.objects.get().harm
        record(Vote(str(search.pk), rating=1, voter="x"))
        gather()
        item = ReviewItem.objects.get()
        assert (item.up_count, item.down_count, item.asked) == (1, 0, 1)
        assert item.harm < worst

    def test_praise_alone_needs_no_review(self, shelf, asked):
        search = asked(shelf, "Where is the key?", confidence="high")
        record(Vote(str(search.pk), rating=1, voter="x"))
        gather()
        assert not ReviewItem.objects.exists()
        assert Feedback.objects.get().is_grouped

    def test_a_vote_without_a_search_is_a_question(self, shelf):
        record(Vote(question="Where is the key?", rating=-1, collection="docs", voter="ann"))
        gather()
        item = ReviewItem.objects.get()
        assert (item.asked, item.askers, item.down_count) == (1, 1, 1)

    def test_a_correction_does_more_harm_than_a_doubtful_answer(self, shelf, asked):
        for _ in range(3):
            asked(shelf, "What is the name of the cat?")
        search = asked(shelf, "Where is the key?")
        record(Vote(str(search.pk), rating=-1, correction="Below the mat.", voter="x"))
        gather()
        rows = queue.read_page(queue.Wanted()).rows
        assert rows[0].item.question == "Where is the key?"
        assert rows[0].item.harm == 4 + 3 + 0.5


class TestOnce:
    def test_a_second_look_changes_nothing(self, shelf, asked):
        search = asked(shelf, "Where is the key?")
        record(Vote(str(search.pk), rating=-1, voter="x"))
        gather()
        before = list(ReviewItem.objects.values())
        gather()
        assert list(ReviewItem.objects.values()) == before

    def test_a_kill_before_the_commit_counts_nothing(self, shelf, asked, monkeypatch):
        asked(shelf, "Where is the key?")

        class Killed(BaseException):
            pass

        def die(*_args):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(grouping, "_update_items", die)
            with pytest.raises(Killed):
                gather()
        assert not ReviewItem.objects.exists()
        gather()
        assert ReviewItem.objects.get().asked == 1

    def test_rows_of_the_same_moment_are_all_read(self, shelf, asked, monkeypatch):
        monkeypatch.setattr(batch, "BATCH", 2)
        at = timezone.now() - timedelta(minutes=3)
        for _ in range(5):
            asked(shelf, "Where is the key?", at=at)
        assert gather() >= 3
        assert ReviewItem.objects.get().asked == 5

    def test_what_was_written_a_moment_ago_waits(self, shelf, asked):
        asked(shelf, "Where is the key?", minutes=0)
        gather()
        assert not ReviewItem.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_two_workers_count_once(self, shelf, asked):
        for number in range(40):
            search = asked(shelf, f"Question {number % 7}?", minutes=60 - number)
            record(Vote(str(search.pk), rating=-1, voter=str(number)))
        ReviewCursor.objects.create(
            asked_at=timezone.now() - timedelta(days=1), search=uuid.UUID(int=0)
        )

        def look() -> None:
            try:
                gather()
            finally:
                connection.close()

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gather()
        assert sum(ReviewItem.objects.values_list("asked", flat=True)) == 40
        assert sum(ReviewItem.objects.values_list("down_count", flat=True)) == 40
        assert ReviewQuestion.objects.count() == 7


class TestReopening:
    @pytest.fixture
    def closed(self, shelf, asked, admin_user: User) -> ReviewItem:
        search = asked(shelf, "Where is the key?", minutes=30)
        record(Vote(str(search.pk), rating=-1, voter="ann"))
        gather()
        return queue.reject(ReviewItem.objects.get().pk, admin_user, reason="not_ours")

    def test_a_rejected_group_stays_closed_when_it_is_asked_again(self, closed, shelf, asked):
        asked(shelf, "Where is the key?", at=timezone.now() - timedelta(seconds=6))
        Search.objects.update(created_at=timezone.now() - timedelta(seconds=6))
        gather()
        closed.refresh_from_db()
        assert closed.state == ReviewItem.State.REJECTED

    def test_a_new_vote_down_reopens_it(self, closed, shelf):
        record(Vote(question="Where is the key?", rating=-1, collection="docs", voter="bob"))
        gather()
        closed.refresh_from_db()
        assert (closed.state, closed.is_open, closed.reopened) == ("open", True, 1)
        assert closed.reason == "not_ours"  # what was thought of it is kept

    def test_praise_does_not(self, closed):
        record(Vote(question="Where is the key?", rating=1, collection="docs", voter="bob"))
        gather()
        closed.refresh_from_db()
        assert not closed.is_open

    def test_an_accepted_one_is_reopened_by_another_bad_answer(self, closed, shelf, asked):
        closed.state = ReviewItem.State.ACCEPTED
        closed.closed_at = timezone.now() - timedelta(minutes=3)
        closed.save()
        asked(shelf, "Where is the key?", minutes=1)
        gather()
        closed.refresh_from_db()
        assert closed.is_open


class TestForgetting:
    def test_what_was_only_asked_long_ago_goes(self, shelf, asked):
        asked(shelf, "Where is the key?", minutes=5)
        search = asked(shelf, "Who is the boss?", minutes=5)
        record(Vote(str(search.pk), rating=-1, voter="x"))
        asked(shelf, "When is lunch?", minutes=5)
        gather()
        assert grouping.forget_old() == 0
        kept = ReviewItem.objects.get(question="When is lunch?")
        queue.note(kept.pk, notes="Ask the cook.")
        ReviewItem.objects.update(last_asked_at=timezone.now() - timedelta(days=100))
        assert grouping.forget_old() == 1
        left = set(ReviewItem.objects.values_list("question", flat=True))
        assert left == {"Who is the boss?", "When is lunch?"}
        asked(shelf, "Where is the key?", minutes=1)
        gather()
        assert ReviewItem.objects.filter(question="Where is the key?").exists()


class TestCost:
    """What a question costs does not grow with the queue."""

    @pytest.fixture
    def many(self, shelf) -> None:
        words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven"]
        ReviewItem.objects.bulk_create(
            ReviewItem(
                collection=shelf,
                question=f"{words[n % 8]} item{n}",
                terms=sorted(terms(f"{words[n % 8]} item{n}")),
                harm=n % 97,
                last_asked_at=timezone.now() - timedelta(minutes=n),
            )
            for n in range(10_000)
        )

    def _queries_of_a_batch(self, shelf, asked) -> int:
        for number in range(30):
            asked(shelf, f"something about zebra{number} and lion{number}", minutes=1)
        with CaptureQueriesContext(connection) as queries:
            gather()
        made = 'INSERT INTO "retrieval_reviewitem"'
        return len([query for query in queries if made not in query["sql"]])

    def test_ten_thousand_groups_cost_as_many_queries_as_none(self, shelf, asked, request):
        few = self._queries_of_a_batch(shelf, asked)
        request.getfixturevalue("many")
        Search.objects.all().delete()
        ReviewQuestion.objects.all().delete()
        assert self._queries_of_a_batch(shelf, asked) <= few

    def test_groups_are_read_again_only_when_somebody_else_changed_them(
        self, shelf, asked, monkeypatch
    ):
        read: list[int] = []

        class Counted(candidates.Candidates):
            def __init__(self, *given: int) -> None:
                read.append(1)
                super().__init__(*given)

        monkeypatch.setattr(places, "Candidates", Counted)

        def times_read(question: str) -> int:
            read.clear()
            asked(shelf, question)
            gather()
            return len(read)

        assert times_read("zebra alpha") == 1
        assert times_read("lion bravo") == 0
        assert times_read("lion bravo charlie") == 0
        assert ReviewItem.objects.count() == 2  # found in what is remembered

        first, second = ReviewItem.objects.order_by("pk")
        regrouping.merge([second.pk, first.pk])
        assert times_read("zebra alpha kilo") == 1
        assert ReviewItem.objects.get(questions__text="zebra alpha kilo") == second

        ReviewItem.objects.filter(pk=first.pk).update(
            state="open", is_open=True, last_asked_at=timezone.now() - timedelta(days=100)
        )
        assert grouping.forget_old() == 1
        assert times_read("zebra alpha lima") == 1

        monkeypatch.setattr(candidates, "ADDED", 2)
        assert [times_read(f"{word} {word}s") for word in ("oak", "elm", "ash")] == [0, 0, 0]
        grouping.groups_change()
        assert [times_read(f"{word} {word}s") for word in ("fir", "yew", "bay", "fig")] == [
            *(1, 0, 1, 0)  # no more than so many are added to what was read
        ]

    def test_groups_of_the_same_batch_are_found_after_others_were_read_again(
        self, shelf, asked, monkeypatch
    ):
        monkeypatch.setattr(candidates, "ADDED", 8)
        first = ("oak", "elm", "ash", "fir", "yew", "bay")
        for word in first:
            asked(shelf, f"{word} {word}s")
        gather()
        # With the eighth there is no room left: the ninth has them read anew.
        for question in ("lion bravo", "fig figs", "sloe sloes", "lion bravo charlie"):
            asked(shelf, question)
        gather()
        assert groups() == [
            *({f"{word} {word}s"} for word in first),
            {"lion bravo", "lion bravo charlie"},
            {"fig figs"},
            {"sloe sloes"},
        ]
        assert list(ReviewItem.objects.order_by("pk").values_list("asked", flat=True)) == [
            *[1] * 6, 2, 1, 1,
        ]  # fmt: skip
        asked(shelf, "sloe sloes gin")
        gather()
        assert len(groups()) == 9

    def test_what_was_rolled_back_is_not_remembered(self, shelf, asked, monkeypatch):
        asked(shelf, "zebra alpha")
        gather()
        really = grouping._settle_votes
        monkeypatch.setattr(grouping, "_settle_votes", lambda *given: 1 / 0)
        asked(shelf, "lion bravo")
        with pytest.raises(ZeroDivisionError):
            gather()
        monkeypatch.setattr(grouping, "_settle_votes", really)
        gather()
        asked(shelf, "lion bravo charlie")
        gather()
        assert groups() == [{"zebra alpha"}, {"lion bravo", "lion bravo charlie"}]

    def test_no_more_is_remembered_than_fits(self, monkeypatch):
        monkeypatch.setattr(candidates, "CANDIDATES", 10)
        memory, state = candidates.Memory(), uuid.uuid4()
        sizes: Any = {number: ["group"] * 15 for number in range(4)}
        memory.keep(state, sizes)
        assert memory.take(uuid.uuid4()) == {}
        memory.keep(state, sizes)
        assert sorted(memory.take(state)) == [2, 3]
        assert memory.take(state) == {}

    def test_a_question_is_compared_with_a_bounded_number(self, shelf, many, monkeypatch):
        monkeypatch.setattr(candidates, "CANDIDATES", 500)
        loaded = candidates.Candidates(shelf.pk, 0, 1)
        assert len(loaded._keys) == 500
        shared = loaded._sharing(frozenset({"amber", "birch"}), loaded._holding)
        assert len(shared) <= candidates.COMMON

    def test_a_longer_queue_takes_no_more_time_for_a_question(self, shelf, monkeypatch):
        """Twice at most, where comparing all with all would take three times."""
        monkeypatch.setattr(candidates, "CANDIDATES", 200)

        def thousand(first: int) -> float:
            at = timezone.now() - timedelta(minutes=10)
            Search.objects.bulk_create(
                Search(
                    collection=shelf,
                    query=f"topic{n} detail{n}",
                    channel="plugin",
                    top_k=4,
                    confidence="none",
                )
                for n in range(first, first + 200)
            )
            Search.objects.filter(created_at__gt=at + timedelta(minutes=9)).update(
                created_at=at + timedelta(seconds=first / 1000)
            )
            begin = time.monotonic()
            gather()
            return time.monotonic() - begin

        thousand(0)
        first, last = thousand(1000), [thousand(n) for n in (2000, 3000)][-1]
        assert ReviewItem.objects.count() == 800
        assert last < 2 * first + 0.5


class TestLikeness:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("How do I?", "how do i"),
            ("Ｗｉｄｅ ok", "wide  OK!"),
            ("退款？", "退款"),
        ],
    )
    def test_spellings_have_one_key(self, one, other):
        assert question_key(one) == question_key(other)

    @pytest.mark.parametrize(("one", "other"), [("C++", "C#"), ("a b", "ab"), ("?!", "?")])
    def test_other_questions_have_another(self, one, other):
        assert question_key(one) != question_key(other)

    def test_words_that_every_question_has_do_not_count(self):
        assert shared(terms("如何删除文件"), terms("如何重命名邮箱")) == 0
        assert shared(terms("How do I open it?"), terms("How do I close it?")) == 0

    def test_a_question_of_common_words_keeps_them(self):
        assert terms("What is it?")
