"""The queue: the worst question first, a page at a time, and what is decided on several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from kbadmin.pages.bounded import count
from kbadmin.pages.review import filters
from kbadmin.pages.review.filters import ACCEPT, CHANGE, VIEW
from retrieval.admin import audit
from retrieval.admin.base import badge
from retrieval.exceptions import InvalidRequest, ReviewConflict
from retrieval.feedback import queue, regrouping
from retrieval.models import Acceptance, ReviewItem

#: Acceptances that wait for a decision and are named above the queue.
UNDECIDED = 5

#: Tone of the badge of each state.
TONES = {
    ReviewItem.State.OPEN: "pending",
    ReviewItem.State.ASSIGNED: "queued",
    ReviewItem.State.ACCEPTED: "accepted",
    ReviewItem.State.REJECTED: "rejected",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A group in the list."""

    item: ReviewItem
    url: str
    asked: str
    state: SafeString


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    wanted, problem, status = filters.wanted(request), "", 200
    after = request.GET.get("after", "")
    found = queue.Page((), "")
    try:
        found = queue.read_page(wanted, after)
    except InvalidRequest as error:
        problem, status = error.message, 400
    chosen = filters.query(request.GET)
    context = {
        **admin.site.each_context(request),
        "title": _("Questions to review"),
        "lines": [line(row, chosen) for row in found.rows],
        "total": count(queue.select(wanted)),
        "choices": filters.choices(request),
        "text": filters.given(request.GET).get("q", ""),
        "is_narrowed": bool(chosen),
        "is_closed": wanted.state in (ReviewItem.State.ACCEPTED, ReviewItem.State.REJECTED),
        "chosen": chosen,
        "here": filters.query(request.GET, after=after),
        "first_url": f"{reverse('admin:review')}{chosen}" if after else "",
        "after_url": filters.query(request.GET, after=found.after) if found.after else "",
        "problem": problem,
        "undecided": undecided(),
        "reasons": filters.reasons(),
        "may_change": request.user.has_perm(CHANGE),
        "may_accept": request.user.has_perms(ACCEPT),
        "page_shortcuts": shortcuts(request.user.has_perm(CHANGE), request.user.has_perms(ACCEPT)),
    }
    return TemplateResponse(request, "kbadmin/review/queue.html", context, status=status)


def undecided() -> list[Acceptance]:
    """What was accepted and is not live before somebody decides, the oldest first."""
    return list(
        Acceptance.objects.filter(state=Acceptance.State.WAITING, item__collection__deleted_at=None)
        .select_related("item")
        .only("kind", "item__question")
        .order_by("pk")[:UNDECIDED]
    )


def shortcuts(may_change: bool, may_accept: bool) -> list[tuple[str, str, str]]:
    """Key, what the page's script does, what it is called."""
    found = [
        ("j", "next", _("The next question")),
        ("k", "previous", _("The one before")),
        ("↵", "", _("Open it")),
    ]
    if may_accept:
        found += [("a", "accept", _("Accept an answer")), ("e", "edit", _("Edit the passage"))]
    if may_change:
        found += [
            ("x", "assign", _("Assign to me")),
            ("r", "reject", _("Reject")),
            ("n", "notes", _("Edit the reason and the notes")),
            ("m", "mark", _("Mark it, for several at once")),
            ("c", "merge", _("Merge those that are marked into one")),
        ]
    return found


def line(row: queue.Row, chosen: str) -> Line:
    return Line(
        row.item,
        reverse("admin:review_item", args=[row.item.pk]) + chosen,
        asked(row),
        state_badge(row.item),
    )


def asked(row: queue.Row) -> str:
    """“asked 14 times by 9 people this week”, or how often ever if it was not this week."""
    times, people, item = row.week_asked, row.week_askers, row.item
    if times:
        text = ngettext("asked once this week", "asked %(n)s times this week", times)
        if people > 1:
            text = ngettext(
                "asked once by %(people)d people this week",
                "asked %(n)s times by %(people)d people this week",
                times,
            )
    elif item.asked:
        # %s: templates say the same sentence with a number that is written out already.
        text = ngettext("asked once", "asked %(n)s times", item.asked)
        times = item.asked
    else:
        return _("only voted on")
    return text % {"n": times, "people": people}


def state_badge(item: ReviewItem) -> SafeString:
    tone = TONES.get(ReviewItem.State(item.state), "")
    if item.state == ReviewItem.State.ASSIGNED and item.assignee is not None:
        return badge(tone, item.assignee.get_username())
    return badge(tone, item.get_state_display())


def opened(pk: int) -> queue.Details:
    """Raises Http404 where there is no such question, or its collection was deleted."""
    try:
        details = queue.read_details(pk)
    except ReviewItem.DoesNotExist:
        raise Http404 from None
    if details.row.item.collection.deleted_at is not None:
        raise Http404
    return details


# --- What is decided on several ----------------------------------------------------------------


@require_POST
def act(request: HttpRequest) -> HttpResponse:
    """Reject those that are marked, take them over, give them back, or make them one."""
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    marked = [int(key) for key in request.POST.getlist("item")[: queue.PAGE] if filters.is_key(key)]
    action, reason = request.POST.get("action", ""), request.POST.get("reason", "")
    done, closed = [], 0
    if action == "merge":
        merge(request, marked)
    elif action not in ("assign", "release", "reject"):
        messages.error(request, _("Choose what to do with the questions."))
    elif not marked:
        messages.error(request, _("Mark the questions that this is for."))
    elif reason and reason not in ReviewItem.Reason.values:
        messages.error(request, _("Choose a reason of the list."))
    else:
        for pk in dict.fromkeys(marked):
            try:
                done.append(decide(request, pk, action, reason))
            except (ReviewConflict, ReviewItem.DoesNotExist):
                closed += 1
        tell(request, action, done, closed)
    return redirect(reverse("admin:review") + filters.query(request.GET, **place(request)))


def merge(request: HttpRequest, marked: Sequence[int]) -> None:
    """Put those that are marked into the first of them, which is the worst."""
    if len(set(marked)) < 2:
        messages.error(request, _("Mark at least two questions to merge them into one."))
        return
    try:
        item, merged = regrouping.merge(marked)
    except ReviewItem.DoesNotExist:
        messages.warning(request, _("One of these questions is not there any more."))
    except ReviewConflict as error:
        messages.warning(request, error.message)
    except InvalidRequest as error:
        messages.error(request, error.message)
    else:
        for other in merged:
            audit.record(request, audit.Deed.MERGE, [item], detail=str(other))
        text = _("These are one question now: %(question)s") % {"question": item}
        messages.success(request, with_way(text, item, filters.query(request.GET)))


def place(request: HttpRequest) -> dict[str, str]:
    return {"after": request.GET.get("after", "")}


def decide(request: HttpRequest, pk: int, action: str, reason: str = "") -> ReviewItem:
    """Raises ReviewConflict, InvalidRequest, ReviewItem.DoesNotExist."""
    user: Any = request.user
    if action == "reject":
        item = queue.reject(pk, user, reason=reason)
        detail = str(item.get_reason_display()) if reason else ""
        audit.record(request, audit.Deed.REJECT, [item], detail=detail)
    else:
        item = queue.assign(pk, user if action == "assign" else None)
        deed = audit.Deed.ASSIGN if action == "assign" else audit.Deed.RELEASE
        audit.record(request, deed, [item], detail=user.get_username() if item.assignee else "")
    return item


def tell(request: HttpRequest, action: str, done: Sequence[ReviewItem], closed: int) -> None:
    number = len(done)
    if done:
        text = {
            "assign": ngettext(
                "%(n)d question is yours now.", "%(n)d questions are yours now.", number
            ),
            "release": ngettext(
                "%(n)d question was given back.", "%(n)d questions were given back.", number
            ),
            "reject": ngettext(
                "%(n)d question was rejected.", "%(n)d questions were rejected.", number
            ),
        }[action] % {"n": number}
        only = done[0] if action == "reject" and number == 1 else None
        messages.success(request, with_undo(request, text, only) if only else text)
    if closed:
        text = ngettext(
            "%(n)d question is left as it is: somebody has closed it meanwhile.",
            "%(n)d questions are left as they are: somebody has closed them meanwhile.",
            closed,
        )
        messages.warning(request, text % {"n": closed})


def with_way(text: str, item: ReviewItem, chosen: str) -> SafeString:
    """A message with the way to a question."""
    url = reverse("admin:review_item", args=[item.pk]) + chosen
    return format_html('{} <a class="kb-link" href="{}">{}</a>', text, url, _("Open it"))


def with_undo(request: HttpRequest, text: str, item: ReviewItem) -> SafeString:
    """A message with a button that puts a question back that was rejected."""
    return format_html(
        '{} <form class="kb-undo" method="post" action="{}">'
        '<input type="hidden" name="csrfmiddlewaretoken" value="{}">'
        '<input type="hidden" name="back" value="queue">'
        '<button class="kb-undo-button" type="submit" name="action" value="reopen">{}</button>'
        "</form>",
        text,
        reverse("admin:review_item_act", args=[item.pk]) + filters.query(request.GET),
        get_token(request),
        _("Undo"),
    )
