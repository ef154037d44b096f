"""The plugin's endpoints. Views parse, call and render; what they do is in retrieval/."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from plugin.authentication import is_check
from plugin.serializers import (
    ErrorOutput,
    FeedbackInput,
    FeedbackOutput,
    PassageInput,
    PassageOutput,
    SearchInput,
    SearchOutput,
)
from plugin.throttling import RatedView
from plugin.votes import cast, person
from retrieval.search import search
from retrieval.surroundings import Extract, surroundings
from retrieval.types import Hit, SearchRequest, SearchResponse

CHANNEL = "plugin"
#: Made once: a serializer copies its fields for each instance, and these keep nothing of a body.
_search_input, _feedback_input = SearchInput(), FeedbackInput()
_passage_input = PassageInput()


class SearchView(APIView):
    @extend_schema(
        operation_id="search",
        summary="Search the knowledge base",
        description=(
            "Find passages in the private knowledge base that answer a question. Call it before "
            "answering anything that the user's documents may cover. Answer from the passages "
            "and name their titles; if confidence is none, say that it is not in there."
        ),
        request=SearchInput,
        responses={200: SearchOutput, "4XX": ErrorOutput},
        examples=[
            OpenApiExample("question", {"query": "How do I reset my password?"}, request_only=True)
        ],
        tags=["search"],
    )
    def post(self, request: Request) -> Response:
        wanted = checked(_search_input, request)
        answer = search(
            SearchRequest(
                query=wanted["query"],
                collection=wanted.get("collection") or settings.DEFAULT_COLLECTION,
                top_k=wanted.get("top_k"),
                filter=wanted.get("filter") or {},
                channel=CHANNEL,
                asker=person(request.auth),
                mode=wanted.get("mode"),
                min_score=wanted.get("min_score"),
                context=wanted.get("context"),
                explain=wanted.get("explain", False),
                is_logged=not is_check(request),
            )
        )
        return Response(as_answer(answer, explain=wanted.get("explain", False)))


def checked(serializer: BaseSerializer[Any], request: Request) -> dict[str, Any]:
    """What the body asks for. Raises ValidationError."""
    # A body of `null` lacks what an empty one lacks.
    wanted: dict[str, Any] = serializer.run_validation({} if request.data is None else request.data)
    return wanted


def as_answer(answer: SearchResponse, *, explain: bool = False) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "query_id": answer.query_id,
        "results": [as_result(hit) for hit in answer.hits],
        "confidence": answer.confidence,
        "degraded": bool(answer.degraded),
        "degraded_reason": answer.degraded,
    }
    if explain:
        rendered["timings"] = answer.timings
    return rendered


def as_result(hit: Hit) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "text": hit.text,
        "title": hit.title,
        "score": hit.score,
        "meta": hit.metadata,
        "heading_path": hit.heading_path,
        "chunk_id": hit.chunk_id,
        "document_id": hit.document_id,
        "external_id": hit.external_id,
        "url": hit.url,
    }
    if hit.explanation:
        rendered["explanation"] = asdict(hit.explanation)
    return rendered


class PassageView(APIView):
    @extend_schema(
        operation_id="fetchPassage",
        summary="Read on around a passage",
        description=(
            "Read a passage that search returned together with the text before and after it. "
            "Call it when a result begins or ends in the middle of what the user needs; a larger "
            "context returns more."
        ),
        request=PassageInput,
        responses={200: PassageOutput, "4XX": ErrorOutput},
        tags=["search"],
    )
    def post(self, request: Request) -> Response:
        wanted = checked(_passage_input, request)
        return Response(as_passage(surroundings(**wanted)))


def as_passage(extract: Extract) -> dict[str, Any]:
    rendered = asdict(extract)
    rendered["meta"] = rendered.pop("metadata")
    return rendered


class FeedbackView(RatedView):
    @extend_schema(
        operation_id="submitFeedback",
        summary="Say whether an answer helped",
        description=(
            "Record the user's opinion of an answer: whether it helped, why, and what would have "
            "been right. Call it when the user praises, rejects or corrects an answer. Name the "
            "query_id that search answered with or, where there is none, the question. A second "
            "vote on the same query replaces the first."
        ),
        request=FeedbackInput,
        responses={201: FeedbackOutput, 200: FeedbackOutput, "4XX": ErrorOutput},
        tags=["feedback"],
    )
    def post(self, request: Request) -> Response:
        wanted = checked(_feedback_input, request)
        voter = person(request.auth, wanted.get("voter", ""))
        feedback, is_new = cast(wanted, voter=voter, channel=CHANNEL)
        return Response(
            {"feedback_id": feedback.pk, "status": "recorded" if is_new else "updated"},
            status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK,
        )
