"""One question of the queue: how it was asked and answered, what people said, what is decided."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kbadmin.pages.attention import playground_url
from kbadmin.pages.review import acceptance, filters, listing, words
from kbadmin.pages.review.filters import ACCEPT, CHANGE, VIEW
from retrieval.admin import audit
from retrieval.exceptions import InvalidRequest, KnowledgeBaseError, ReviewConflict
from retrieval.feedback import queue, regrouping
from retrieval.models import Chunk, Feedback, ReviewItem, ReviewQuestion, Search

#: Of a group, what was done with it and the corrections that are compared.
ENTRIES, COMPARED = 50, 10
#: Of a passage, the characters that a wording's answer shows; of a wording, its passages.
BEGINNING, PASSAGES = 240, 5
REVIEWERS = 200


@dataclass(frozen=True, slots=True)
class Said:
    """A vote, and its correction beside what it corrects."""

    vote: Feedback
    original: str
    compared: words.Compared | None


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that a wording was answered with; no chunk if it is not searched any more."""

    score: float
    chunk: Chunk | None


@dataclass(frozen=True, slots=True)
class Wording:
    question: ReviewQuestion
    search: Search | None
    found: Sequence[Found]


@require_safe
def page(request: HttpRequest, pk: int) -> HttpResponse:
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    details = listing.opened(pk)
    item = details.row.item
    if item.merged_into_id is not None:
        there = reverse("admin:review_item", args=[item.merged_into_id])
        return redirect(there + filters.query(request.GET))
    may_change = request.user.has_perm(CHANGE)
    may_accept = item.is_open and request.user.has_perms(ACCEPT)
    chosen = filters.query(request.GET)
    before, after = neighbours(request, item)
    context = {
        **admin.site.each_context(request),
        "title": item.question[:80],
        "item": item,
        "details": details,
        "asked": listing.asked(details.row),
        "state": listing.state_badge(item),
        "said": said(details),
        "wordings": wordings(details.questions),
        "may_split": may_change and item.is_open and len(details.questions) > 1,
        "chosen": chosen,
        "queue_url": reverse("admin:review") + chosen,
        "before_url": address(before, chosen),
        "after_url": address(after, chosen),
        "act_url": reverse("admin:review_item_act", args=[item.pk]) + chosen,
        "playground_url": playground_url(item.collection, item.question),
        "may_playground": request.user.has_perm("retrieval.view_document"),
        "may_search": request.user.has_perm("retrieval.view_search"),
        "may_change": may_change,
        "is_mine": item.assignee_id == request.user.pk,
        "is_rejected": item.state == ReviewItem.State.REJECTED,
        "reviewers": reviewers() if may_change and item.is_open else (),
        "reasons": filters.reasons(),
        "most_notes": queue.MAX_NOTES,
        "history": history(item),
        **acceptance.facts(item, chosen),
        "ways": acceptance.ways(item, chosen) if may_accept else (),
        "may_accept": request.user.has_perms(ACCEPT),
        "page_shortcuts": shortcuts(may_change and item.is_open, may_accept),
    }
    return TemplateResponse(request, "kbadmin/review/item.html", context)


def shortcuts(may_decide: bool, may_accept: bool) -> list[tuple[str, str, str]]:
    found = [("j", "next", _("The next question")), ("k", "previous", _("The one before"))]
    if may_decide:
        found += [
            ("x", "assign", _("Assign to me")),
            ("r", "reject", _("Reject")),
            ("n", "notes", _("Edit the reason and the notes")),
        ]
    if may_accept:
        found += [("a", "accept", _("Accept an answer")), ("e", "edit", _("Edit the passage"))]
    return found


def address(item: int | None, chosen: str) -> str:
    return reverse("admin:review_item", args=[item]) + chosen if item else ""


def neighbours(request: HttpRequest, item: ReviewItem) -> tuple[int | None, int | None]:
    """The questions before and after this one, in the part of the queue it was opened from."""
    rows = queue.select(filters.wanted(request)).values_list("harm", "pk")
    worse = rows.filter(harm__gte=item.harm).exclude(harm=item.harm, pk__lte=item.pk)
    better = rows.filter(harm__lte=item.harm).exclude(harm=item.harm, pk__gte=item.pk)
    above = worse.order_by("harm", "pk").first()
    below = better.order_by("-harm", "-pk").first()
    return above and above[1], below and below[1]


def said(details: queue.Details) -> list[Said]:
    """The votes, newest first; the first corrections are compared with what they correct."""
    best = next((passage.text for passage in details.passages if passage.is_live), "")
    live = {passage.chunk_id: passage.text for passage in details.passages if passage.is_live}
    found, compared = [], 0
    for vote in details.votes:
        original = vote.answer or live.get(vote.chunk_id or 0, "") or best
        difference = None
        if vote.correction and original and compared < COMPARED:
            difference = words.compare(original, vote.correction)
            compared += 1
        found.append(Said(vote, original, difference))
    return found


def wordings(questions: Sequence[ReviewQuestion]) -> list[Wording]:
    """Each wording with what its newest search found, in two queries."""
    searches = Search.objects.in_bulk([row.last_search for row in questions if row.last_search])
    ids = {
        result["chunk_id"] for search in searches.values() for result in search.results[:PASSAGES]
    }
    chunks = {
        chunk.pk: chunk
        for chunk in Chunk.objects.live()
        .filter(pk__in=ids)
        .select_related("document")
        .defer("text")
        .annotate(beginning=Left("text", BEGINNING))
    }
    found = []
    for question in questions:
        search = searches.get(question.last_search) if question.last_search else None
        results = search.results[:PASSAGES] if search else []
        passages = [Found(result["score"], chunks.get(result["chunk_id"])) for result in results]
        found.append(Wording(question, search, passages))
    return found


def reviewers() -> list[User]:
    """Those who may decide."""
    people = User.objects.with_perm(CHANGE, backend="django.contrib.auth.backends.ModelBackend")
    return list(people.filter(is_staff=True).order_by("username")[:REVIEWERS])


def history(item: ReviewItem) -> list[LogEntry]:
    kind = ContentType.objects.get_for_model(ReviewItem)
    entries = LogEntry.objects.filter(content_type=kind, object_id=str(item.pk))
    return list(entries.select_related("user").order_by("-pk")[:ENTRIES])


# --- Decisions ---------------------------------------------------------------------------------


@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    listing.opened(pk)
    action = request.POST.get("action", "")
    back = request.POST.get("back") == "queue"
    try:
        if action == "reject":
            keep(request, pk)
            listing.tell(request, action, [listing.decide(request, pk, action)], 0)
            back = True
        elif action in ("assign", "release"):
            listing.tell(request, action, [listing.decide(request, pk, action)], 0)
        elif action == "give":
            give(request, pk)
        elif action == "split":
            split(request, pk)
        elif action == "note":
            keep(request, pk)
            messages.success(request, _("Saved."))
        elif action == "reopen":
            item = queue.reopen(pk)
            audit.record(request, audit.Deed.REOPEN, [item])
            messages.success(request, _("The question is back in the queue."))
        else:
            messages.error(request, _("Choose what to do with the question."))
    except ReviewConflict as error:
        messages.warning(request, error.message)
    except KnowledgeBaseError as error:
        messages.error(request, error.message)
    there = reverse("admin:review") if back else reverse("admin:review_item", args=[pk])
    return redirect(there + filters.query(request.GET))


def split(request: HttpRequest, pk: int) -> None:
    """Move a wording out into a question of its own. Raises InvalidRequest, ReviewConflict."""
    key = request.POST.get("question", "")
    done = regrouping.split(pk, int(key) if filters.is_key(key) else 0)
    if done.is_new:
        was = ReviewItem.objects.only("question").get(pk=pk)
        audit.record(request, audit.Deed.SPLIT, [was], detail=str(done.question))
        audit.record(request, audit.Deed.SPLIT, [done.item], detail=str(was))
    text = _("This is a question of its own now: %(question)s") % {"question": done.item}
    messages.success(request, listing.with_way(text, done.item, filters.query(request.GET)))


def give(request: HttpRequest, pk: int) -> None:
    """Assign it to somebody who may decide. Raises InvalidRequest, ReviewConflict."""
    key = request.POST.get("to", "")
    user = next((user for user in reviewers() if str(user.pk) == key), None)
    if user is None:
        raise InvalidRequest(_("Choose somebody who may review."))
    item = queue.assign(pk, user)
    audit.record(request, audit.Deed.ASSIGN, [item], detail=user.get_username())
    messages.success(
        request, _("The question is assigned to %(name)s.") % {"name": user.get_username()}
    )


def keep(request: HttpRequest, pk: int) -> None:
    """Store the reason and the notes if they were sent and differ. Raises InvalidRequest."""
    was = ReviewItem.objects.only("reason", "notes").get(pk=pk)
    reason = request.POST.get("reason", was.reason)
    notes = request.POST.get("notes", was.notes).replace("\r\n", "\n").replace("\0", "").strip()
    if (reason, notes) == (was.reason, was.notes):
        return
    item = queue.note(pk, reason=reason, notes=notes)
    changed = item.get_reason_display() if item.reason != was.reason and item.reason else ""
    audit.record(request, audit.Deed.NOTE, [item], detail=str(changed))
