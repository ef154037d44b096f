"""What reviewers read of the queue and decide."""

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from retrieval.exceptions import InvalidRequest, KnowledgeBaseError, ReviewConflict
from retrieval.feedback import Vote, queue, record
from retrieval.feedback.queue import Wanted
from retrieval.models import Collection, Feedback, ReviewItem, ReviewSighting
from tests.retrieval.feedback.conftest import gather

pytestmark = pytest.mark.django_db


def make(shelf: Collection, number: int, sightings: int = 1) -> None:
    now = timezone.now()
    items = ReviewItem.objects.bulk_create(
        ReviewItem(
            collection=shelf,
            question=f"Question {n}?",
            harm=n % 101 / 2,
            last_asked_at=now - timedelta(minutes=n),
        )
        for n in range(number)
    )
    ReviewSighting.objects.bulk_create(
        ReviewSighting(item=item, day=now.date(), asker=f"a{n}", times=2)
        for item in items
        for n in range(sightings)
    )


def walk(wanted: Wanted, size: int = 50) -> list[ReviewItem]:
    found, after = [], ""
    while True:
        page = queue.read_page(wanted, after, size)
        found += [row.item for row in page.rows]
        after = page.after
        if not after:
            return found


def test_pages_follow_each_other_without_a_gap_worst_first(shelf):
    make(shelf, 230)
    found = walk(Wanted())
    assert len(found) == len({item.pk for item in found}) == 230
    assert [item.harm for item in found] == sorted((item.harm for item in found), reverse=True)


def test_ten_thousand_cost_two_queries_a_page_by_an_index(shelf):
    make(shelf, 10_000)
    after = ""
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            page = queue.read_page(Wanted(collection=shelf.pk), after)
        assert len(queries) == 2
        assert len(page.rows) == queue.PAGE
        after = page.after
    assert (page.rows[0].week_asked, page.rows[0].week_askers) == (2, 1)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(), "review_queue"),
        (Wanted(collection=1), "review_queue_of_collection"),
        (Wanted(assignee=1), "review_queue_of_assignee"),
        (Wanted(state="rejected"), "review_by_state"),
        (Wanted(reason="missing"), "review_by_reason"),
    ],
    ids=str,
)
def test_every_view_of_the_queue_is_sorted_by_an_index(shelf, wanted, index):
    rows = queue.select(wanted).by_harm().select_related("collection", "assignee")
    plan = rows[:51].explain()
    if connection.vendor == "sqlite":
        assert index in plan
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("after", ["x", "1", "1~x", "nan~1", "inf~1", "-1~1", "1~0", f"1~{10**30}"])
def test_a_place_that_is_none_is_refused(shelf, after):
    with pytest.raises(InvalidRequest):
        queue.read_page(Wanted(), after)


@pytest.fixture
def item(shelf, asked) -> ReviewItem:
    search = asked(shelf, "Where is the key?", minutes=30)
    record(
        Vote(
            str(search.pk),
            rating=-1,
            comment="<b>no</b>",
            correction="Below the mat.",
            answer="In the lock.",
            voter="ann",
        )
    )
    gather()
    return ReviewItem.objects.get()


class TestDetails:
    def test_they_say_what_was_asked_answered_and_corrected(self, item):
        details = queue.read_details(item.pk)
        assert [question.text for question in details.questions] == ["Where is the key?"]
        assert (details.answer, details.correction) == ("In the lock.", "Below the mat.")
        assert details.search is not None
        assert details.votes[0].comment == "<b>no</b>"

    def test_passages_come_with_scores_as_they_are_now(self, collection, add, asked):
        document = add("key.md", "# Key\n\nThe key is in the lock.")
        chunk = document.chunks.get()
        search = asked(
            collection,
            "Where is the key?",
            results=[
                {"rank": 1, "score": 0.4, "chunk_id": chunk.pk, "document_id": document.pk},
                {"rank": 2, "score": 0.2, "chunk_id": 10**9, "document_id": 10**9},
            ],
        )
        record(Vote(str(search.pk), rating=-1, chunk_id=chunk.pk, voter="ann"))
        gather()
        (passage,) = queue.read_details(ReviewItem.objects.get().pk).passages
        assert (passage.rank, passage.score, passage.title) == (1, 0.4, "Key")
        assert (passage.is_live, passage.is_at_fault) == (True, True)
        document.tombstone()
        (passage,) = queue.read_details(ReviewItem.objects.get().pk).passages
        assert not passage.is_live

    def test_a_thousand_votes_cost_as_many_queries_as_one(self, item, shelf):
        with CaptureQueriesContext(connection) as few:
            queue.read_details(item.pk)
        for number in range(60):
            record(
                Vote(question="Where is the key?", rating=-1, collection="docs", voter=f"{number}")
            )
        gather()
        with CaptureQueriesContext(connection) as many:
            details = queue.read_details(item.pk)
        assert len(many) <= len(few) <= 8
        assert len(details.votes) == queue.SHOWN


class TestDecisions:
    def test_it_is_given_to_somebody_and_back(self, item, admin_user: User):
        assert queue.assign(item.pk, admin_user).state == ReviewItem.State.ASSIGNED
        assert [row.item.pk for row in queue.read_page(Wanted(assignee=admin_user.pk)).rows] == [
            item.pk
        ]
        assert queue.assign(item.pk, None).state == ReviewItem.State.OPEN

    def test_rejecting_closes_it_and_its_votes_with_a_reason(self, item, admin_user):
        queue.reject(item.pk, admin_user, reason="not_ours", notes="Ask the landlord.")
        item.refresh_from_db()
        assert (item.state, item.reason, item.notes) == (
            "rejected", "not_ours", "Ask the landlord.",
        )  # fmt: skip
        vote = Feedback.objects.get()
        assert (vote.state, vote.reviewer) == (Feedback.State.REJECTED, admin_user)
        assert queue.read_page(Wanted()).rows == []

    def test_what_was_rejected_can_be_put_back(self, item, admin_user):
        queue.reject(item.pk, admin_user)
        queue.reopen(item.pk)
        assert Feedback.objects.get().state == Feedback.State.PENDING
        assert len(queue.read_page(Wanted()).rows) == 1
        with pytest.raises(ReviewConflict):
            queue.reopen(item.pk)

    def test_a_closed_one_cannot_be_closed_again(self, item, admin_user):
        queue.reject(item.pk, admin_user)
        for decide in (
            lambda: queue.reject(item.pk, admin_user),
            lambda: queue.assign(item.pk, admin_user),
        ):
            with pytest.raises(ReviewConflict, match="admin has closed"):
                decide()

    @pytest.mark.parametrize("change", [{"reason": "because"}, {"notes": "x" * 4001}])
    def test_only_reasons_of_the_list_and_notes_of_some_length(self, item, change):
        with pytest.raises(InvalidRequest):
            queue.note(item.pk, **change)

    @pytest.mark.django_db(transaction=True)
    def test_of_two_at_the_same_moment_one_wins(self, item, admin_user):
        results: list[str] = []

        def decide() -> None:
            try:
                queue.reject(item.pk, admin_user)
                results.append("rejected")
            except KnowledgeBaseError as error:
                results.append(error.code)
            finally:
                connection.close()

        threads = [threading.Thread(target=decide) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["rejected", *["review_conflict"] * 3]
