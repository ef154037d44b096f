"""The simulated reviewer: a process that looks at the queue once a day, as a person would.

It reads a line of JSON for each thing to do and writes one with what came of it. All that it does
goes through the functions behind the pages of the admin; the worker beside it does the rest.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import django

SECONDS = 120.0


def main() -> int:
    django.setup()
    from django.contrib.auth.models import User

    user = User.objects.filter(is_superuser=True).order_by("pk")[0]
    for line in sys.stdin:
        wanted = json.loads(line)
        answer: Any
        if wanted["do"] == "golden":
            answer = _fill_golden_set(wanted["collection"], wanted["rows"])
        else:
            answer = _review(wanted["collection"], wanted["most"], user)
        print(json.dumps(answer), flush=True)
    return 0


def _fill_golden_set(slug: str, rows: list[tuple[str, str]]) -> int:
    from retrieval import golden
    from retrieval.models import Collection

    collection = Collection.objects.get(slug=slug)
    return len(golden.add(collection, [golden.Row(*row) for row in rows]))


def _review(slug: str, most: int, user: Any) -> dict[str, Any]:
    """Accept the worst groups that somebody has corrected, at most so many; wait for proof."""
    from retrieval.exceptions import InvalidRequest
    from retrieval.feedback import acceptance, queue
    from retrieval.models import Acceptance, Collection, Feedback

    collection = Collection.objects.get(slug=slug)
    _wait(lambda: not Feedback.objects.filter(is_grouped=False).exists(), "votes are grouped")
    accepted, refused = [], 0
    for item_id in _corrected(collection.pk, most):
        try:
            accepted.append(acceptance.accept(item_id, _proposal(item_id), user).pk)
        except InvalidRequest:
            # What was corrected again is answered already, word for word.
            queue.reject(item_id, user)
            refused += 1
    unsettled = Acceptance.objects.filter(pk__in=accepted, state__in=Acceptance.IN_WORK)
    _wait(lambda: not unsettled.exists(), "everything is proven")
    for waiting in Acceptance.objects.filter(
        pk__in=accepted, state=Acceptance.State.WAITING
    ).order_by("pk"):
        if any(row["after"] is None for row in waiting.worse):
            acceptance.roll_back(waiting.pk, user)
        else:
            acceptance.confirm(waiting.pk, user)
    _wait(lambda: not unsettled.exists(), "everything is settled")
    done = Acceptance.objects.filter(pk__in=accepted).select_related("document").order_by("pk")
    return {
        "open": queue.select(queue.Wanted(collection=collection.pk)).count(),
        "refused": refused,
        "accepted": [_as_json(row) for row in done],
    }


def _corrected(collection_id: int, most: int) -> list[int]:
    """The groups that somebody has corrected, worst first, as the queue shows them."""
    found: list[int] = []
    for row in _rows(collection_id):
        if row.item.correction_count:
            found.append(row.item.pk)
        if len(found) == most:
            break
    return found


def _rows(collection_id: int) -> Iterator[Any]:
    from retrieval.feedback import queue

    after = ""
    while True:
        page = queue.read_page(queue.Wanted(collection=collection_id), after)
        yield from page.rows
        after = page.after
        if not after:
            return


def _proposal(item_id: int) -> Any:
    """What is prefilled, edited as a person would: all that the group was told, for those
    questions that it was told for. Questions on one thing may ask for several."""
    from retrieval.feedback import acceptance, queue
    from retrieval.likeness import question_key
    from retrieval.models import Acceptance

    votes = [vote for vote in queue.read_details(item_id).votes if vote.correction]
    told = dict.fromkeys(vote.correction.strip() for vote in reversed(votes))
    about = {question_key(vote.question) for vote in votes}
    proposal = acceptance.propose(item_id, Acceptance.Kind.ANSWER)
    return replace(
        proposal,
        answer="\n\n".join(told),
        questions=[text for text in proposal.questions if question_key(text) in about],
    )


def _as_json(row: Any) -> dict[str, Any]:
    from retrieval.feedback import proof

    settled = row.proved_at or row.undone_at
    return {
        "document": row.document.external_id if row.document else "",
        "state": row.state,
        "questions": row.data["questions"],
        "answer": row.data["answer"],
        "worse": row.worse,
        "better": len(row.better),
        "first": [line.rank_after == 1 for line in proof.lines(row)],
        "seconds": (settled - row.created_at).total_seconds() if settled else None,
    }


def _wait(is_done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"After {SECONDS:.0f} s it is not so that {what}.")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
