"""Groups that a reviewer merges and splits, and what the worker does with them afterwards."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from retrieval.exceptions import InvalidRequest, KnowledgeBaseError, ReviewConflict
from retrieval.feedback import Vote, queue, record, regrouping
from retrieval.models import (
    Acceptance,
    Collection,
    Feedback,
    ReviewItem,
    ReviewQuestion,
    ReviewSighting,
)
from tests.retrieval.feedback.conftest import Asked, gather

pytestmark = pytest.mark.django_db

RESET = "How do I reset my password?"
RESET_TOO = "How can I reset the password?"
PRINT = "Where is the printer?"


def item_of(text: str) -> ReviewItem:
    return ReviewQuestion.objects.select_related("item").get(text=text).item


def counts(item: ReviewItem) -> dict[str, float]:
    item = ReviewItem.objects.get(pk=item.pk)
    names = ("asked", "askers", "none_count", "low_count", "down_count", "correction_count", "harm")
    return {name: getattr(item, name) for name in names}


@pytest.fixture
def two(collection: Collection, asked: Asked) -> tuple[ReviewItem, ReviewItem]:
    """One on passwords, asked by ann and bob, and one on the printer, by ann and eve."""
    asked(collection, RESET, asker="ann", minutes=30)
    search = asked(collection, RESET_TOO, asker="bob", confidence="none", minutes=20)
    asked(collection, PRINT, asker="ann", minutes=10)
    asked(collection, PRINT, asker="eve", minutes=9)
    record(Vote(query_id=str(search.pk), rating=-1, correction="Ask the help desk.", voter="x"))
    gather()
    first, second = item_of(RESET), item_of(PRINT)
    assert item_of(RESET_TOO) == first != second
    return first, second


# --- Merging -----------------------------------------------------------------------------------


def test_what_is_merged_is_counted_together(two: Any) -> None:
    first, second = two
    before = counts(first), counts(second)
    item, merged = regrouping.merge([first.pk, second.pk])
    assert (item, merged) == (first, [second])
    assert counts(first) == {
        "asked": before[0]["asked"] + before[1]["asked"],
        "askers": 3,  # ann asked both
        "none_count": 1,
        "low_count": 3,
        "down_count": 1,
        "correction_count": 1,
        "harm": 4 + 3 + 1 + 1.5 + 2,
    }
    assert {question.text for question in first.questions.all()} == {RESET, RESET_TOO, PRINT}
    row = queue.read_page(queue.Wanted()).rows
    assert [(one.item.pk, one.week_asked, one.week_askers) for one in row] == [(first.pk, 4, 3)]
    second.refresh_from_db()
    assert (second.state, second.is_open, second.merged_into) == ("merged", False, first)
    assert set(counts(second).values()) == {0}


def test_once_more_changes_nothing(two: Any) -> None:
    keys = [item.pk for item in two]
    regrouping.merge(keys)
    before = counts(two[0])
    assert regrouping.merge(keys)[1] == []
    assert counts(two[0]) == before


def test_what_comes_later_goes_to_where_it_was_put(
    collection: Collection, asked: Asked, two: Any
) -> None:
    """Known wordings, and new ones that ask the same as the group that was put into another."""
    first, second = two
    regrouping.merge([first.pk, second.pk])
    asked(collection, PRINT, asker="zoe")
    asked(collection, "Where's the printer??", asker="zoe")
    asked(collection, "Where is our printer", asker="max")
    gather()
    assert ReviewItem.objects.open().get() == first
    assert counts(first)["asked"] == 7
    assert counts(first)["askers"] == 5


def test_notes_reasons_and_who_works_on_it_are_kept(two: Any) -> None:
    first, second = two
    ann = User.objects.create(username="ann")
    queue.assign(second.pk, ann)
    queue.note(first.pk, notes="Ask Bob.")
    queue.note(second.pk, notes="Second floor.", reason="missing")
    item, _merged = regrouping.merge([first.pk, second.pk])
    item.refresh_from_db()
    assert (item.notes, item.reason) == ("Ask Bob.\n\nSecond floor.", "missing")
    assert (item.assignee, item.state) == (ann, ReviewItem.State.ASSIGNED)


def test_groups_that_were_merged_before_follow(
    collection: Collection, asked: Asked, two: Any
) -> None:
    asked(collection, "Which forms are for travel?", minutes=5)
    gather()
    third = item_of("Which forms are for travel?")
    regrouping.merge([two[0].pk, two[1].pk])
    regrouping.merge([third.pk, two[0].pk])
    asked(collection, "Where is our printer")
    gather()
    assert item_of("Where is our printer") == third
    assert not ReviewItem.objects.filter(merged_into=two[0]).exists()


def test_sightings_of_unknown_wordings_are_summed(two: Any) -> None:
    first, second = two
    today = timezone.localdate()
    ReviewSighting.objects.all().delete()
    for item, asker, times in ((first, "ann", 2), (second, "ann", 3), (second, "eve", 1)):
        ReviewSighting.objects.create(item=item, day=today, asker=asker, times=times)
    regrouping.merge([first.pk, second.pk])
    seen = first.sightings.order_by("asker").values_list("asker", "times")
    assert list(seen) == [("ann", 5), ("eve", 1)]


@pytest.mark.parametrize("state", ["closed", "unsettled", "alone", "foreign"])
def test_what_cannot_be_merged_stays_as_it_is(two: Any, state: str) -> None:
    first, second = two
    keys = [first.pk, second.pk]
    expected: type[KnowledgeBaseError] = ReviewConflict
    if state == "closed":
        queue.reject(second.pk, User.objects.create(username="ann"))
    elif state == "unsettled":
        Acceptance.objects.create(item=second, kind="answer")
    elif state == "alone":
        keys = [first.pk, first.pk]
        expected = InvalidRequest
    else:
        other = Collection.objects.create(
            slug="other", title="Other", embedding_model=first.collection.embedding_model
        )
        ReviewItem.objects.filter(pk=second.pk).update(collection=other)
        expected = InvalidRequest
    before = counts(first)
    with pytest.raises(expected):
        regrouping.merge(keys)
    assert counts(first) == before
    assert not ReviewItem.objects.filter(state="merged").exists()


# --- Splitting ---------------------------------------------------------------------------------


def test_a_wording_takes_its_votes_people_and_counts_with_it(two: Any) -> None:
    first, _second = two
    question = ReviewQuestion.objects.get(text=RESET_TOO)
    done = regrouping.split(first.pk, question.pk)
    assert done.is_new
    assert (done.item.question, done.item.is_open) == (RESET_TOO, True)
    assert counts(done.item) == {
        "asked": 1,
        "askers": 1,
        "none_count": 1,
        "low_count": 0,
        "down_count": 1,
        "correction_count": 1,
        "harm": 4 + 3 + 1,
    }
    left = counts(first)
    assert (left["asked"], left["askers"], left["none_count"], left["low_count"]) == (1, 1, 0, 1)
    assert (left["down_count"], left["harm"]) == (0, 0.5)
    assert Feedback.objects.get().item == done.item
    assert list(done.item.sightings.values_list("asker", "times")) == [("bob", 1)]
    again = regrouping.split(first.pk, question.pk)
    assert (again.item, again.is_new) == (done.item, False)


def test_the_worker_does_not_put_it_back(collection: Collection, asked: Asked, two: Any) -> None:
    first, _second = two
    question = ReviewQuestion.objects.get(text=RESET_TOO)
    new = regrouping.split(first.pk, question.pk).item
    search = asked(collection, RESET_TOO, asker="zoe")
    asked(collection, RESET, asker="zoe")
    record(Vote(query_id=str(search.pk), rating=-1, voter="zoe"))
    gather()
    question.refresh_from_db()
    assert question.item == new
    assert (counts(new)["asked"], counts(new)["askers"], counts(new)["down_count"]) == (2, 2, 2)
    assert (counts(first)["asked"], counts(first)["down_count"]) == (2, 0)


def test_the_one_that_is_left_is_known_by_another_wording(two: Any) -> None:
    first, _second = two
    assert first.question == RESET
    new = regrouping.split(first.pk, ReviewQuestion.objects.get(text=RESET).pk).item
    first.refresh_from_db()
    assert (first.question, new.question) == (RESET_TOO, RESET)
    with pytest.raises(InvalidRequest, match="only wording"):
        regrouping.split(first.pk, ReviewQuestion.objects.get(text=RESET_TOO).pk)


def test_what_was_merged_can_be_taken_apart_again(
    collection: Collection, asked: Asked, two: Any
) -> None:
    first, second = two
    before = counts(first), counts(second)
    regrouping.merge([first.pk, second.pk])
    new = regrouping.split(first.pk, ReviewQuestion.objects.get(text=PRINT).pk).item
    assert (counts(first), counts(new)) == before
    asked(collection, "Where is our printer")
    gather()
    assert item_of("Where is our printer") == new


def test_a_closed_or_foreign_question_is_not_split(two: Any) -> None:
    first, second = two
    stranger = ReviewQuestion.objects.get(text=PRINT)
    assert regrouping.split(first.pk, stranger.pk).item == second  # it stands alone already
    with pytest.raises(ReviewConflict):
        regrouping.split(first.pk, 999_999)
    queue.reject(first.pk, User.objects.create(username="ann"))
    with pytest.raises(ReviewConflict):
        regrouping.split(first.pk, ReviewQuestion.objects.get(text=RESET).pk)
    assert item_of(RESET) == first
