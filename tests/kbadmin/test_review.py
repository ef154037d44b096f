"""The queue of questions to review: what reviewers see, find and decide."""

import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from kbadmin.pages.review import words
from retrieval.models import (
    Collection,
    Document,
    Feedback,
    ReviewItem,
    ReviewQuestion,
    ReviewSighting,
    Search,
)

pytestmark = pytest.mark.django_db

URL = "/admin/review/"


def make(collection: Collection, question: str = "Where is the key?", **fields: Any) -> ReviewItem:
    fields.setdefault("asked", 2)
    fields.setdefault("harm", 1)
    return ReviewItem.objects.create(collection=collection, question=question, **fields)


def login(client: Client, *permissions: str) -> User:
    user = User.objects.create_user("ann", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return user


def questions(page: Client, query: str = "") -> list[str]:
    return [line.item.question for line in page.get(URL + query).context["lines"]]


def decide(page: Client, action: str, *items: ReviewItem, **fields: str) -> str:
    answer = page.post(
        f"{URL}act/",
        {"action": action, "item": [item.pk for item in items], **fields},
        follow=True,
    )
    assert answer.status_code == 200
    return " ".join(str(message) for message in answer.context["messages"])


# --- The list ----------------------------------------------------------------------------------


def test_the_worst_comes_first_and_says_who_asked(page: Client, collection: Collection) -> None:
    make(collection, "Mild?", harm=0.5)
    item = make(collection, "Bad?", harm=9, down_count=3, correction_count=1, none_count=2)
    for n in range(9):
        ReviewSighting.objects.create(
            item=item, day=timezone.now().date(), asker=f"a{n}", times=1 + (n < 5)
        )
    answer = page.get(URL)
    assert [line.item.question for line in answer.context["lines"]] == ["Bad?", "Mild?"]
    html = answer.content.decode()
    assert "asked 14 times by 9 people this week" in html
    assert "1 correction" in html
    assert "2 × without an answer" in html


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Open key?", "Mine?"]),
        ("?assignee=me", ["Mine?"]),
        ("?state=rejected", ["Gone?"]),
        ("?reason=outdated", ["Mine?"]),
        ("?q=KEY", ["Open key?"]),
        ("?collection=999", []),
        ("?collection=x", []),
        ("?state=nonsense", []),
        ("?q=%00", ["Open key?", "Mine?"]),
    ],
)
def test_the_queue_is_narrowed(
    page: Client, boss: User, collection: Collection, query: str, found: list[str]
) -> None:
    make(collection, "Open key?", harm=3)
    make(collection, "Mine?", harm=2, state="assigned", assignee=boss, reason="outdated")
    make(collection, "Gone?", harm=5, state="rejected", is_open=False)
    assert questions(page, query) == found


def test_pages_follow_each_other(page: Client, collection: Collection) -> None:
    for n in range(60):
        make(collection, f"Question {n}?", harm=n // 7)
    first = page.get(URL)
    second = page.get(URL + first.context["after_url"])
    shown = [line.item.question for answer in (first, second) for line in answer.context["lines"]]
    assert len(shown) == len(set(shown)) == 60
    assert not second.context["after_url"]
    bad = page.get(URL + "?after=nonsense")
    assert bad.status_code == 400
    assert "There is no such place in the queue" in bad.content.decode()


def test_ten_thousand_questions_cost_no_more_than_a_few(
    page: Client, boss: User, collection: Collection, django_assert_max_num_queries: Any
) -> None:
    def fill(number: int) -> None:
        now = timezone.now()
        made = ReviewItem.objects.bulk_create(
            ReviewItem(
                collection=collection,
                question=f"Question {n} about the key?",
                harm=n % 101 / 2,
                last_asked_at=now - timedelta(minutes=n),
                assignee=boss if n % 3 else None,
                state="assigned" if n % 3 else "open",
                asked=4,
            )
            for n in range(number)
        )
        ReviewSighting.objects.bulk_create(
            ReviewSighting(item=item, day=now.date(), asker="a", times=2) for item in made
        )

    fill(3)
    page.get(URL)
    with django_assert_max_num_queries(9) as queries:
        page.get(URL)
        few = len(queries)
    fill(10_000)
    assert "10,000+ questions" in page.get(URL).content.decode()
    with django_assert_max_num_queries(few):
        page.get(URL)
    for query in ("", "?assignee=me", "?q=Question+77", f"?collection={collection.pk}"):
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            assert page.get(URL + query).status_code == 200
            taken.append(time.perf_counter() - begun)
        assert min(taken) < 0.3, f"{query}: {taken}"


def test_the_badge_counts_no_further_than_99(page: Client, collection: Collection) -> None:
    make(collection)
    ReviewItem.objects.bulk_create(
        ReviewItem(collection=collection, question="q") for _ in range(120)
    )
    assert "99+" in page.get("/admin/").content.decode()


# --- Deciding on several -----------------------------------------------------------------------


def test_several_are_taken_given_back_and_rejected(
    page: Client, boss: User, collection: Collection
) -> None:
    one, two, other = make(collection, "1?"), make(collection, "2?"), make(collection, "3?")
    vote = Feedback.objects.create(collection=collection, question="1?", channel="api", item=one)
    assert decide(page, "assign", one, two) == "2 questions are yours now."
    one.refresh_from_db()
    assert (one.assignee, one.state) == (boss, "assigned")
    assert decide(page, "release", two) == "1 question was given back."
    assert decide(page, "reject", one, two, reason="not_ours") == "2 questions were rejected."
    for item in (one, two, other, vote):
        item.refresh_from_db()
    assert (one.state, two.state, other.state) == ("rejected", "rejected", "open")
    assert (one.reason, one.closed_by, vote.state) == ("not_ours", boss, "rejected")
    html = page.get(f"{URL}{one.pk}/").content.decode()
    assert "Rejected, not a question for us" in html
    assert "Assigned, boss" in html


def test_several_are_merged_into_the_worst_of_them(page: Client, collection: Collection) -> None:
    bad, mild = make(collection, "Bad?", harm=9), make(collection, "Mild?", harm=1)
    ReviewQuestion.objects.create(item=mild, collection=collection, key="m", text="Mild?")
    told = decide(page, "merge", bad, mild)
    assert "These are one question now: Bad?" in told
    assert questions(page) == ["Bad?"]
    # Its old address leads on, and what happened is told there.
    answer = page.get(f"{URL}{mild.pk}/?state=open", follow=True)
    assert answer.redirect_chain == [(f"{URL}{bad.pk}/?state=open", 302)]
    assert "Merged other questions into it" in answer.content.decode()
    assert "somebody" in decide(page, "reject", mild)
    assert "at least two" in decide(page, "merge", bad)
    assert "not there any more" in decide(page, "merge", bad, ReviewItem(pk=999_999))
    assert not ReviewItem.objects.filter(state="rejected").exists()


def test_a_wording_becomes_a_question_of_its_own(page: Client, told: ReviewItem) -> None:
    question = ReviewQuestion.objects.get(text="Which mat hides the key?")
    url = f"{URL}{told.pk}/"
    assert "Make it a question of its own" in page.get(url).content.decode()
    for _again in range(2):  # also when the button is pressed twice
        answer = page.post(f"{url}act/", {"action": "split", "question": question.pk}, follow=True)
        said = [str(message) for message in answer.context["messages"]]
        assert len(said) == 1
        assert "This is a question of its own now: Which mat hides the key?" in said[0]
    question.refresh_from_db()
    assert question.item != told
    assert ReviewItem.objects.count() == 2
    for pk in (told.pk, question.item_id):
        html = page.get(f"{URL}{pk}/").content.decode()
        assert "Moved a wording out" in html
        assert "Make it a question of its own" not in html
    for key in ("", "x", "999999", "9" * 30):
        answer = page.post(f"{url}act/", {"action": "split", "question": key}, follow=True)
        assert "not there any more" in answer.content.decode()


def test_what_somebody_closed_meanwhile_is_left_and_told(
    page: Client, collection: Collection
) -> None:
    closed = make(collection, state="accepted", is_open=False)
    said = decide(page, "reject", closed, make(collection, "Open?"))
    assert "1 question was rejected." in said
    assert "1 question is left as it is" in said
    closed.refresh_from_db()
    assert closed.state == "accepted"


@pytest.mark.parametrize("sent", [{}, {"action": "reject"}, {"action": "burn", "item": "1"}])
def test_what_means_nothing_changes_nothing(
    page: Client, collection: Collection, sent: dict[str, str]
) -> None:
    item = make(collection)
    page.post(f"{URL}act/", sent)
    page.post(f"{URL}{item.pk}/act/", {"action": "burn"})
    page.post(f"{URL}{item.pk}/act/", {"action": "reject", "reason": "burn"})
    item.refresh_from_db()
    assert (item.state, item.reason) == ("open", "")


# --- One question ------------------------------------------------------------------------------


@pytest.fixture
def told(collection: Collection, add: Any) -> ReviewItem:
    """A question that was answered with a passage, and corrected."""
    document: Document = add("key.md", chunks=2)
    first, second = document.chunks.order_by("order")
    results = [
        {"rank": 1, "score": 0.412, "chunk_id": first.pk, "document_id": document.pk},
        {"rank": 2, "score": 0.2, "chunk_id": second.pk, "document_id": document.pk},
    ]
    search = Search.objects.create(
        collection=collection,
        query="Where is the key?",
        channel="plugin",
        top_k=4,
        confidence="low",
        results=results,
        result_count=2,
    )
    item = make(collection, down_count=1, correction_count=1, low_count=1)
    for n, text in enumerate(("Where is the key?", "Which mat hides the key?")):
        ReviewQuestion.objects.create(
            item=item, collection=collection, key=str(n), text=text, asked=1, last_search=search.pk
        )
    Feedback.objects.create(
        collection=collection,
        search=search,
        item=item,
        question="Where is the key?",
        rating=-1,
        comment="<script>alert(1)</script>",
        answer="The key is in the lock.",
        correction="The key is below the mat.",
        channel="mcp",
        voter="ann",
    )
    return item


def test_a_question_shows_what_was_asked_answered_said_and_corrected(
    page: Client, told: ReviewItem
) -> None:
    html = page.get(f"{URL}{told.pk}/").content.decode()
    assert "passage 0 of key.md" in html
    assert "0.412" in html
    assert "Which mat hides the key?" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert" not in html
    assert "<del>in</del>" in html
    assert "<ins>below</ins>" in html
    Document.objects.get().tombstone()
    html = page.get(f"{URL}{told.pk}/").content.decode()
    assert "passage 0 of key.md" not in html
    assert "This passage is not searched any more." in html


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_nothing_that_strangers_say_is_run_by_any_page(
    page: Client, told: ReviewItem, language: str
) -> None:
    evil = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7|add:7 }}"
    page.cookies.load({"django_language": language})
    ReviewItem.objects.update(question=evil, notes=evil)
    ReviewQuestion.objects.filter(key="0").update(text=evil)
    Search.objects.update(query=evil, asker=evil[:200], degraded=evil[:64])
    said = {"question": evil, "comment": evil, "answer": evil, "correction": evil, "voter": evil}
    Feedback.objects.update(**said)
    vote, search = Feedback.objects.get(), Search.objects.get()
    for address in (
        "/admin/",
        URL,
        f"{URL}?q={quote(evil)}",
        f"{URL}{told.pk}/",
        *(f"{URL}{told.pk}/accept/{kind}/" for kind in ("answer", "edit", "alias", "hide")),
        "/admin/gaps/",
        f"/admin/upload/?write={told.pk}",
        "/admin/retrieval/feedback/",
        f"/admin/retrieval/feedback/{vote.pk}/change/",
        "/admin/retrieval/search/",
        f"/admin/retrieval/search/{search.pk}/change/",
    ):
        answer = page.get(address, follow=True)
        html = answer.content.decode()
        assert answer.status_code == 200, address
        assert "<script>alert" not in html, address
        assert "<img src=x" not in html, address


def test_many_wordings_and_votes_cost_no_more_queries(
    page: Client, told: ReviewItem, django_assert_max_num_queries: Any
) -> None:
    page.get(f"{URL}{told.pk}/")
    with django_assert_max_num_queries(26) as queries:
        page.get(f"{URL}{told.pk}/")
        few = len(queries)
    search = Search.objects.get()
    for n in range(60):
        ReviewQuestion.objects.create(
            item=told, collection=told.collection, key=f"k{n}", text=f"{n}?", last_search=search.pk
        )
        Feedback.objects.create(
            collection=told.collection,
            item=told,
            question="q",
            answer="The lock is the place of the key. " * 100,
            correction="The mat is the place of the key. " * 100,
            channel="api",
            voter=str(n),
        )
        page.post(f"{URL}{told.pk}/act/", {"action": "note", "notes": str(n)})
    with django_assert_max_num_queries(few):
        assert page.get(f"{URL}{told.pk}/").status_code == 200


def test_a_question_is_noted_given_rejected_and_put_back(
    page: Client, boss: User, told: ReviewItem
) -> None:
    act = f"{URL}{told.pk}/act/"
    ann = User.objects.create_user("ann", password="x", is_staff=True)
    page.post(act, {"action": "give", "to": str(ann.pk)})
    told.refresh_from_db()
    assert told.state == "open"  # she may not review
    ann.user_permissions.add(Permission.objects.get(codename="change_feedback"))
    page.post(act, {"action": "give", "to": str(ann.pk)})
    page.post(act, {"action": "note", "reason": "outdated", "notes": " Ask\r\nAnn. "})
    told.refresh_from_db()
    assert (told.assignee, told.reason, told.notes) == (ann, "outdated", "Ask\nAnn.")
    answer = page.post(act, {"action": "reject", "reason": "outdated"}, follow=True)
    assert "1 question was rejected." in answer.content.decode()
    told.refresh_from_db()
    assert (told.state, told.closed_by) == ("rejected", boss)
    page.post(act, {"action": "reopen"})
    told.refresh_from_db()
    assert (told.state, told.is_open, told.reopened) == ("assigned", True, 1)
    assert [str(vote.state) for vote in told.votes.all()] == ["pending"]
    html = page.get(f"{URL}{told.pk}/").content.decode()
    for sentence in ("Assigned, ann", "Noted, outdated", "Rejected", "Put back into the queue"):
        assert sentence in html


def test_the_next_and_the_one_before_are_of_the_same_part(
    page: Client, collection: Collection
) -> None:
    worst = make(collection, "1?", harm=3)
    make(collection, "other?", harm=2)
    middle, last = make(collection, "2? 1", harm=2), make(collection, "3? 1", harm=1)
    context = page.get(f"{URL}{middle.pk}/?q=%3F+1").context
    assert (context["before_url"], context["after_url"]) == ("", f"{URL}{last.pk}/?q=%3F+1")
    context = page.get(f"{URL}{middle.pk}/").context
    assert context["before_url"] == f"{URL}{worst.pk}/"


# --- Who may what ------------------------------------------------------------------------------


def test_who_may_look_may_not_merge_or_split(client: Client, told: ReviewItem) -> None:
    login(client, "view_feedback")
    other = make(told.collection)
    question = ReviewQuestion.objects.filter(item=told).last()
    assert question is not None
    merged = {"action": "merge", "item": [told.pk, other.pk]}
    split = {"action": "split", "question": question.pk}
    assert client.post(f"{URL}act/", merged).status_code == 403
    assert client.post(f"{URL}{told.pk}/act/", split).status_code == 403
    html = client.get(f"{URL}{told.pk}/").content.decode()
    assert "Make it a question of its own" not in html
    assert ReviewItem.objects.filter(state="merged").count() == 0


def test_who_may_look_may_not_decide(client: Client, told: ReviewItem) -> None:
    login(client, "view_feedback")
    for path in (URL, f"{URL}{told.pk}/"):
        html = client.get(path).content.decode()
        assert 'value="reject"' not in html
        assert 'value="assign"' not in html
    assert client.post(f"{URL}act/", {"action": "reject", "item": told.pk}).status_code == 403
    assert client.post(f"{URL}{told.pk}/act/", {"action": "reject"}).status_code == 403
    told.refresh_from_db()
    assert told.state == "open"


def test_who_may_not_look_sees_nothing(client: Client, told: ReviewItem) -> None:
    login(client, "view_document")
    assert client.get(URL).status_code == 403
    assert client.get(f"{URL}{told.pk}/").status_code == 403
    assert URL not in client.get("/admin/").content.decode()


def test_those_of_a_deleted_collection_are_gone(page: Client, told: ReviewItem) -> None:
    told.collection.tombstone()
    assert questions(page) == []
    assert page.get(f"{URL}{told.pk}/").status_code == 404
    assert page.get(f"{URL}999/").status_code == 404


# --- Differing words ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "gone", "new"),
    [
        ("Press the red key now.", "Press the green key now.", ["red"], ["green"]),
        ("请在三天内申请退款。", "请在七天内申请退款。", ["三"], ["七"]),
        ("a\nb", "a\nb", [], []),
    ],
)
def test_words_that_differ_are_marked(
    before: str, after: str, gone: list[str], new: list[str]
) -> None:
    found = words.compare(before, after)
    assert [piece.text for piece in found.before if piece.is_changed] == gone
    assert [piece.text for piece in found.after if piece.is_changed] == new
    assert "".join(piece.text for piece in found.before) == before
    assert "".join(piece.text for piece in found.after) == after


def test_what_is_written_anew_is_not_marked_all_over() -> None:
    found = words.compare("The key is in the lock.", "Ring twice!")
    assert (found.is_alike, len(found.before), len(found.after)) == (False, 1, 1)


@pytest.mark.parametrize("text", ["a " * 2000, "a" * 4000, "的" * 1999, ".," * 1000, "ab " * 999])
def test_texts_that_are_made_to_take_long_do_not(text: str) -> None:
    begun = time.perf_counter()
    words.compare(text + "x", "y" + text[::-1])
    assert time.perf_counter() - begun < 1
