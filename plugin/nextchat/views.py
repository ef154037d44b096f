"""The tools that NextChat offers to a model: flat bodies, and answers that can be quoted."""

import re
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from plugin.links import read_vote_token
from plugin.nextchat.answers import passage_answer, search_answer
from plugin.nextchat.errors import answer_mendable
from plugin.serializers import MAX_COMMENT_LENGTH, FeedbackInput, PassageInput, QuestionInput
from plugin.throttling import RatedView
from plugin.views import checked
from plugin.votes import cast, person
from plugin.voting import VOTER
from retrieval.exceptions import InvalidRequest
from retrieval.search import search
from retrieval.surroundings import surroundings
from retrieval.types import SearchRequest, SearchResponse

CHANNEL = "nextchat"
#: The token of a vote link, alone or within what a model copied around it.
TOKEN = re.compile(r"(?:^|/f/)([\w-]{23}\.[\w-]+\.[\w-]+)")


class Tool(APIView):
    channel = CHANNEL

    def get_exception_handler(self) -> Callable[..., Any]:
        return answer_mendable


class ToolResult(serializers.Serializer[Any]):
    number = serializers.IntegerField(help_text="By which the answer refers to it.")
    title = serializers.CharField(help_text="Title of its document.")
    heading_path = serializers.ListField(child=serializers.CharField())
    text = serializers.CharField(help_text="The passage, as Markdown.")
    score = serializers.FloatField(min_value=0, max_value=1, help_text="Higher is better.")
    chunk_id = serializers.IntegerField(help_text="For fetchPassage.")
    # No `source` of DRF's own: the metaclass takes fields out of the class.
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="Number and link, as Markdown."
    )


class ToolError(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField()


class ToolAnswer(serializers.Serializer[Any]):
    error = ToolError(required=False, help_text="Instead of all else, if the call was mistaken.")
    what_to_do = serializers.CharField(required=False, help_text="How to mend the mistake.")


class ToolSearchOutput(ToolAnswer):
    query_id = serializers.UUIDField(required=False)
    confidence = serializers.ChoiceField(choices=["high", "low", "none"], required=False)
    instruction = serializers.CharField(required=False, help_text="How to use the results.")
    results = ToolResult(many=True, required=False)
    footer = serializers.CharField(required=False, help_text="Ends the answer: sources, votes.")
    feedback_up = serializers.URLField(required=False)
    feedback_down = serializers.URLField(required=False)
    degraded = serializers.CharField(required=False, help_text="Only if a part is away.")


class ToolPassageOutput(ToolAnswer):
    chunk_id = serializers.IntegerField(required=False)
    title = serializers.CharField(required=False)
    heading_path = serializers.ListField(child=serializers.CharField(), required=False)
    before = serializers.CharField(required=False)
    text = serializers.CharField(required=False)
    after = serializers.CharField(required=False)
    has_more_before = serializers.BooleanField(required=False)
    has_more_after = serializers.BooleanField(required=False)
    # As above.
    source = serializers.CharField(  # type: ignore[assignment]
        required=False, help_text="Link, as Markdown."
    )


class ToolFeedbackInput(FeedbackInput):
    # Not only an id, as the inherited one: a link is taken as well.
    query_id = serializers.CharField(  # type: ignore[assignment]
        max_length=500,
        help_text=(
            "The query_id of the search, or the 👍 or 👎 link from the end of the answer that is "
            "meant."
        ),
    )
    correction = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_COMMENT_LENGTH,
        help_text="What would have been right, in the user's words.",
    )
    # None takes an inherited field out: it always has an answer of a search in mind.
    voter = None  # type: ignore[assignment]
    question = None  # type: ignore[assignment]
    answer = None  # type: ignore[assignment]
    collection = None  # type: ignore[assignment]
    document_id = None  # type: ignore[assignment]


class ToolFeedbackOutput(ToolAnswer):
    status = serializers.ChoiceField(choices=["recorded", "updated"], required=False)
    instruction = serializers.CharField(required=False)


_search_input, _feedback_input = QuestionInput(), ToolFeedbackInput()
_passage_input = PassageInput()


class SearchTool(Tool):
    @extend_schema(
        operation_id="search",
        summary="Search the knowledge base",
        description=(
            "Find passages in the private knowledge base that answer a question. Call it before "
            "answering anything that the user's documents may cover. Answer from the results "
            "only, cite their numbers and end the answer with the footer that comes with them."
        ),
        request=QuestionInput,
        responses={200: ToolSearchOutput},
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
                channel=self.channel,
                asker=person(request.auth),
            )
        )
        return Response(self.rendered(wanted["query"], answer))

    def rendered(self, question: str, answer: SearchResponse) -> dict[str, Any]:
        return search_answer(question, answer)


class PassageTool(Tool):
    @extend_schema(
        operation_id="fetchPassage",
        summary="Read on around a passage",
        description=(
            "Read a passage that search returned together with the text before and after it. "
            "Call it when a result begins or ends in the middle of what the user needs; a larger "
            "context returns more."
        ),
        request=PassageInput,
        responses={200: ToolPassageOutput},
        tags=["search"],
    )
    def post(self, request: Request) -> Response:
        wanted = checked(_passage_input, request)
        return Response(passage_answer(surroundings(**wanted)))


class FeedbackTool(RatedView, Tool):
    @extend_schema(
        operation_id="submitFeedback",
        summary="Say whether an answer helped",
        description=(
            "Record the user's opinion of an answer: whether it helped, why, and what would have "
            "been right. Call it when the user praises, rejects or corrects an answer. A second "
            "vote on the same answer replaces the first."
        ),
        request=ToolFeedbackInput,
        responses={200: ToolFeedbackOutput},
        tags=["feedback"],
    )
    def post(self, request: Request) -> Response:
        wanted = checked(_feedback_input, request)
        # The voter is the person in the chat, who may also use the links and the buttons.
        vote = {**wanted, "query_id": query_id_of(wanted["query_id"])}
        _feedback, is_new = cast(vote, voter=VOTER, channel=self.channel)
        return Response(
            {
                "status": "recorded" if is_new else "updated",
                "instruction": "Thank the user in one sentence.",
            }
        )


def query_id_of(text: str) -> str:
    """Raises LinkInvalid, LinkExpired, or InvalidRequest where it is neither id nor link."""
    text = text.strip()
    try:
        return str(uuid.UUID(text))
    except ValueError:
        token = TOKEN.search(text)
    if token is None:
        raise InvalidRequest(
            "query_id is neither the query_id of a search nor a 👍 or 👎 link of an answer."
        )
    return read_vote_token(token[1]).query_id
