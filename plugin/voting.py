"""Votes without a key: by the signed links of an answer, and by the buttons of a web page."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from plugin.links import Ballot, lifetime, read_vote_token
from plugin.serializers import MAX_COMMENT_LENGTH, FeedbackInput
from plugin.throttling import RatedView, address_of, check_rate
from plugin.votes import cast
from retrieval import query_log
from retrieval.exceptions import (
    KnowledgeBaseError,
    LinkExpired,
    LinkInvalid,
    SearchNotFound,
    TooManyVotes,
)
from retrieval.models import Search

LINK, BUTTON = "link", "button"
#: Whoever holds a link of an answer is its one voter, whichever link or button is used: what is
#: sent a thousand times is still one vote.
VOTER = "link"


class VoteForm(forms.Form):
    rating = forms.ChoiceField(
        choices=[("up", gettext_lazy("Helpful")), ("down", gettext_lazy("Not helpful"))]
    )
    correction = forms.CharField(required=False, max_length=MAX_COMMENT_LENGTH)
    comment = forms.CharField(required=False, max_length=MAX_COMMENT_LENGTH)


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def vote_page(request: HttpRequest, token: str) -> HttpResponse:
    """Shows what is voted on; only the form on it records: pages are opened by machines too."""
    try:
        ballot = read_vote_token(token)
        search = _search(ballot)
        form = VoteForm(request.POST or None, initial={"rating": ballot.rating})
        if request.method == "POST":
            check_rate(address_of(request))
        if request.method == "POST" and form.is_valid():
            wanted = form.cleaned_data
            cast({**wanted, "query_id": ballot.query_id}, voter=VOTER, channel=LINK)
            return private(render(request, "plugin/voted.html", {"rating": wanted["rating"]}))
    except KnowledgeBaseError as error:
        return refusal(request, error)
    context = {
        "question": search.query,
        "form": form,
        "rating": form["rating"].value(),
        "longest": MAX_COMMENT_LENGTH,
    }
    code = HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
    return private(render(request, "plugin/vote.html", context, status=code))


class VoteInput(FeedbackInput):
    """A vote by the token of a vote link, or by the id of a search: both are known only to those
    whom it answered."""

    token = serializers.CharField(required=False, max_length=200)
    # None takes an inherited field out.
    question = None  # type: ignore[assignment]
    answer = None  # type: ignore[assignment]
    collection = None  # type: ignore[assignment]
    chunk_id = None  # type: ignore[assignment]
    document_id = None  # type: ignore[assignment]
    voter = None  # type: ignore[assignment]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not (attrs.get("token") or attrs.get("query_id")):
            raise serializers.ValidationError("Send the token of a vote link, or a query_id.")
        return super().validate(attrs)


class VoteView(RatedView):
    """POST /f: what the button scripts send, from pages in which no key can be kept."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request) -> Response:
        serializer = VoteInput(data={} if request.data is None else request.data)
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data
        if wanted.get("token"):
            query_id = read_vote_token(wanted["token"]).query_id
        else:
            query_id = str(wanted["query_id"])
            # At once: a stranger's guesses must not make this server wait for rows.
            found = Search.objects.filter(pk=query_id).only("created_at").first()
            if found is None:
                raise SearchNotFound("No search has this query_id.")
            _check_age(found.created_at)
        vote = {**wanted, "query_id": query_id}
        _feedback, is_new = cast(vote, voter=VOTER, channel=BUTTON)
        return Response(
            {"status": "recorded" if is_new else "updated"},
            status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK,
        )


def _search(ballot: Ballot) -> Search:
    # A link that was signed here belongs to a search that is written in a moment at the latest.
    search = query_log.find(uuid.UUID(ballot.query_id))
    if search is None:
        raise SearchNotFound("The answer that this link belongs to is no longer kept.")
    return search


def _check_age(created_at: datetime) -> None:
    if timezone.now() - created_at > lifetime():
        raise LinkExpired("Votes on this answer are no longer taken.")


def refusal(request: HttpRequest, error: KnowledgeBaseError) -> HttpResponse:
    """A page for a person whose link leads nowhere."""
    if isinstance(error, LinkExpired):
        title = _("This link has expired")
        text = _("Links in an answer work for a limited time. Ask your question again.")
    elif isinstance(error, LinkInvalid):
        title = _("This link does not work")
        text = _("A part of it is missing or was changed. Copy the whole link and try again.")
    elif isinstance(error, TooManyVotes):
        title = _("Too many votes")
        text = _("More votes came from here than are taken at once. Try again in a minute.")
    elif isinstance(error, SearchNotFound):
        title = _("This answer is no longer kept")
        text = _("Its question was deleted, so there is nothing left to vote on.")
    else:
        title = _("This passage is gone")
        text = _(
            "Its document was changed, hidden or deleted after it was quoted. Ask your question "
            "again to see what the knowledge base says now."
        )
    context = {"title": title, "text": text}
    # A link that was signed here and leads nowhere now did lead somewhere.
    code = HTTPStatus.GONE if isinstance(error, SearchNotFound) else error.status
    response = private(render(request, "plugin/link_refused.html", context, status=code))
    if isinstance(error, TooManyVotes):
        response["Retry-After"] = str(error.details["retry_after"])
    return response


def private(response: HttpResponse) -> HttpResponse:
    """For pages behind links that only those have who got an answer."""
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    # Not `no-referrer`: with it browsers post forms with `Origin: null`, which CSRF refuses.
    response["Referrer-Policy"] = "same-origin"
    return response
