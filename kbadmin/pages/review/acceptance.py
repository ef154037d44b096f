"""To accept a correction: one of four ways, its proof, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from kbadmin.pages.review import filters, listing
from kbadmin.pages.review.filters import ACCEPT, VIEW
from retrieval.admin import audit
from retrieval.admin.base import badge
from retrieval.exceptions import KnowledgeBaseError, ReviewConflict
from retrieval.feedback import acceptance, proof
from retrieval.feedback.acceptance import Proposal
from retrieval.models import Acceptance, Chunk, ReviewItem, Worker
from retrieval.search import MAX_QUERY_LENGTH, search
from retrieval.types import SearchRequest

Kind, State = Acceptance.Kind, Acceptance.State
#: Of a question, the acceptances that are shown; of passages to choose from, how many, and the
#: characters of each.
SHOWN, OFFERED, BEGINNING = 5, 12, 400
CHANNEL = "review"
#: Kind → icon, what the button says, what it does.
WAYS = {
    Kind.ANSWER: (
        "quiz",
        gettext_lazy("Write an answer"),
        gettext_lazy("A question and answer joins the collection, for all these wordings."),
    ),
    Kind.EDIT: (
        "edit_document",
        gettext_lazy("Edit the passage"),
        gettext_lazy("The document gets a new version with the passage as you write it."),
    ),
    Kind.ALIAS: (
        "alt_route",
        gettext_lazy("Mark another passage as right"),
        gettext_lazy("From then on these questions lead to that passage."),
    ),
    Kind.HIDE: (
        "visibility_off",
        gettext_lazy("Hide a passage"),
        gettext_lazy("No search returns it any more."),
    ),
}
TONES = {
    State.PROVING: "syncing",
    State.GOING_LIVE: "syncing",
    State.WAITING: "low",
    State.FINAL: "accepted",
    State.FAILED: "failed",
    State.UNDOING: "syncing",
    State.UNDONE: "rejected",
}


@dataclass(frozen=True, slots=True)
class Way:
    kind: str
    icon: str
    label: str
    about: str
    url: str


@dataclass(frozen=True, slots=True)
class Step:
    """One of those on the way from what was accepted to what people are answered with."""

    label: str
    state: str  #: done, now or later


@dataclass(frozen=True, slots=True)
class Shown:
    """An acceptance with its proof."""

    row: Acceptance
    state: SafeString
    label: str
    steps: Sequence[Step]
    is_in_work: bool
    lines: Sequence[proof.Line]
    restored: Sequence[proof.Line]
    can_be_undone: bool


def ways(item: ReviewItem, chosen: str) -> list[Way]:
    return [
        Way(
            kind.value,
            icon,
            str(label),
            str(about),
            reverse("admin:review_accept", args=[item.pk, kind.value]) + chosen,
        )
        for kind, (icon, label, about) in WAYS.items()
    ]


def facts(item: ReviewItem, chosen: str) -> dict[str, Any]:
    """What was accepted for a question, newest first, in two queries."""
    rows = list(
        Acceptance.objects.filter(item=item)
        .select_related("reviewer", "undone_by", "document")
        .order_by("-pk")[:SHOWN]
    )
    is_moving = any(row.state in Acceptance.IN_WORK for row in rows)
    return {
        "accepted": [shown(row) for row in rows],
        "is_moving": is_moving,
        "no_worker": is_moving and not Worker.objects.alive().exists(),
        "proof_url": reverse("admin:review_proof", args=[item.pk]) + chosen,
        "settle_url": reverse("admin:review_settle", args=[item.pk]) + chosen,
    }


def state_of(row: Acceptance) -> str:
    if row.final_at is None and row.state == State.UNDOING:
        return _("being discarded")
    if row.final_at is None and row.state == State.UNDONE:
        return _("discarded")
    return str(row.get_state_display())


def steps(row: Acceptance) -> list[Step]:
    """None where it was taken back, discarded or failed."""
    labels = [_("Accepted"), _("Tried out")]
    if row.worse:
        labels.append(_("Confirmed"))
    labels.append(_("Live"))
    done = {
        State.PROVING: 1,
        State.WAITING: 2,
        State.GOING_LIVE: len(labels) - 1,
        State.FINAL: len(labels),
    }.get(State(row.state))
    if done is None:
        return []
    return [
        Step(label, "done" if place < done else "now" if place == done else "later")
        for place, label in enumerate(labels)
    ]


def shown(row: Acceptance) -> Shown:
    return Shown(
        row,
        badge(TONES[State(row.state)], state_of(row)),
        str(WAYS[Kind(row.kind)][1]),
        steps(row),
        row.state in Acceptance.IN_WORK,
        proof.lines(row) if row.after else (),
        proof.lines(row, row.restored) if row.restored else (),
        row.state in Acceptance.CAN_BE_TAKEN_BACK,
    )


# --- The form ----------------------------------------------------------------------------------


def page(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    """One of the four ways, filled in; by POST it is done."""
    if not request.user.has_perms(ACCEPT):
        raise PermissionDenied
    if kind not in Kind.values:
        raise Http404
    item = listing.opened(pk).row.item
    chosen = filters.query(request.GET)
    back = reverse("admin:review_item", args=[pk]) + chosen
    if not item.is_open:
        messages.warning(request, _("This question is closed."))
        return redirect(back)
    problem, status = "", 200
    given = request.POST if request.method == "POST" else request.GET
    key = given.get("chunk", "")
    chunk_id = int(key) if filters.is_key(key) else None
    try:
        proposal = acceptance.propose(pk, kind, chunk_id)
    except KnowledgeBaseError as error:
        proposal, problem, status = Proposal(kind, [item.question]), error.message, error.status
    if request.method == "POST":
        proposal = replace(
            proposal,
            questions=[text for text in clean(given.get("questions", "")).split("\n") if text],
            answer=clean(given.get("answer", "")),
            text=clean(given.get("text", "")),
            chunk_id=chunk_id,
        )
        try:
            row = acceptance.accept(pk, proposal, request.user)  # type: ignore[arg-type]  # nobody else gets here
        except KnowledgeBaseError as error:
            problem, status = error.message, error.status
        else:
            audit.record(request, audit.Deed.ACCEPT, [item], detail=str(row.get_kind_display()))
            messages.success(
                request,
                _("Accepted. It is tried out now, and live once no other question gets worse."),
            )
            return redirect(f"{back}#kb-proof")
    find = request.GET.get("find", "").replace("\0", "").strip()[:MAX_QUERY_LENGTH]
    offered, trouble = passages(item, proposal, find)
    context = {
        **admin.site.each_context(request),
        "title": str(WAYS[Kind(kind)][1]),
        "item": item,
        "kind": kind,
        "ways": ways(item, chosen),
        "about": str(WAYS[Kind(kind)][2]),
        "proposal": proposal,
        "questions": "\n".join(proposal.questions),
        "offered": offered,
        "find": find,
        "chosen": filters.given(request.GET),
        "chosen_query": chosen,
        "back": back,
        "problem": problem or trouble,
        "most": acceptance.MAX_ANSWER,
        "most_questions": acceptance.MAX_QUESTIONS,
        "can_be_sent": kind == Kind.ANSWER
        or (proposal.chunk_id is not None if kind == Kind.EDIT else bool(offered)),
        "edited": next((chunk for chunk in offered if chunk.pk == proposal.chunk_id), None),
    }
    return TemplateResponse(request, "kbadmin/review/accept.html", context, status=status)


def clean(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\0", "").strip()


def passages(item: ReviewItem, proposal: Proposal, find: str) -> tuple[list[Chunk], str]:
    """Those to choose from, best first; and what went wrong on the way."""
    if proposal.kind == Kind.ANSWER:
        return [], ""
    keys = list(proposal.choices)
    if proposal.kind != Kind.ALIAS:
        answered = listing.opened(item.pk).passages
        keys = [passage.chunk_id for passage in answered if passage.is_live]
    trouble = ""
    if find:
        try:
            found = search(
                SearchRequest(
                    query=find,
                    collection=item.collection.slug,
                    top_k=OFFERED,
                    channel=CHANNEL,
                    is_logged=False,
                )
            )
            keys = [hit.chunk_id for hit in found.hits]
        except KnowledgeBaseError as error:
            trouble = error.message
    if proposal.chunk_id is not None and (not find or proposal.kind == Kind.EDIT):
        keys.insert(0, proposal.chunk_id)
    keys = list(dict.fromkeys(keys))[:OFFERED]
    chunks = {
        chunk.pk: chunk
        for chunk in Chunk.objects.live()
        .filter(pk__in=keys, document__collection=item.collection)
        .select_related("document")
        .defer("text")
        .annotate(beginning=Left("text", BEGINNING))
    }
    return [chunks[key] for key in keys if key in chunks], trouble


# --- After it ----------------------------------------------------------------------------------


@require_POST
def settle(request: HttpRequest, pk: int) -> HttpResponse:
    """Make live what makes others worse, discard it, or take back what is live."""
    if not request.user.has_perms(ACCEPT):
        raise PermissionDenied
    item = listing.opened(pk).row.item
    key = request.POST.get("acceptance", "")
    row = Acceptance.objects.filter(item=item, pk=int(key) if filters.is_key(key) else 0).first()
    if row is None:
        raise Http404
    user: Any = request.user
    try:
        if request.POST.get("action") == "confirm":
            row = acceptance.confirm(row.pk, user)
            audit.record(request, audit.Deed.CONFIRM, [item], detail=str(row.get_kind_display()))
            is_final = row.state == State.FINAL
            messages.success(request, _("It is final.") if is_final else _("It goes live."))
        elif request.POST.get("action") == "roll_back":
            row = acceptance.roll_back(row.pk, user)
            audit.record(request, audit.Deed.TAKE_BACK, [item], detail=str(row.get_kind_display()))
            said = _("It is taken back, and the question is open again.")
            if row.final_at is None:
                said = _("It is discarded, and the question is open again.")
            messages.success(request, said)
        else:
            messages.error(request, _("Choose what to do with the question."))
    except ReviewConflict as error:
        messages.warning(request, error.message)
    except KnowledgeBaseError as error:
        messages.error(request, error.message)
    back = reverse("admin:review_item", args=[pk]) + filters.query(request.GET)
    return redirect(f"{back}#kb-proof")


@require_safe
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The proof while a worker makes it; once it is there, the page is loaded anew."""
    if not request.user.is_staff or not request.user.has_perm(VIEW):
        raise PermissionDenied
    item = listing.opened(pk).row.item
    found = facts(item, filters.query(request.GET))
    if not found["is_moving"]:
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = {"item": item, "may_accept": request.user.has_perms(ACCEPT), **found}
    return TemplateResponse(request, "kbadmin/review/proof.html", context)
