"""The operations as GPT Actions call them: what they answer stays within what Actions take.

Source: https://platform.openai.com/docs/actions/production: fewer than 100,000 characters each
way, and what is longer is an error that the model cannot mend.
"""

import json
from bisect import bisect_right
from dataclasses import replace
from typing import Any

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from plugin.nextchat.answers import search_answer
from plugin.nextchat.views import FeedbackTool, PassageTool, SearchTool
from retrieval.types import SearchResponse

CHANNEL = "actions"
#: Characters of an answer. The limit counts what we cannot see, such as quotes that are escaped
#: once more, so a part of it stays free.
LONGEST = 90_000
CUT = " […]"


class ActionSearch(SearchTool):
    channel = CHANNEL

    def rendered(self, question: str, answer: SearchResponse) -> dict[str, Any]:
        return fitting_search(question, answer)


class ActionPassage(PassageTool):
    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response.data = fitting_passage(response.data)
        return super().finalize_response(request, response, *args, **kwargs)


class ActionFeedback(FeedbackTool):
    channel = CHANNEL


def length(data: Any) -> int:
    return len(json.dumps(data, ensure_ascii=False))


def fitting_search(question: str, answer: SearchResponse, longest: int = LONGEST) -> dict[str, Any]:
    """The answer with as many of the best passages as fit; of the first one at least a part."""
    hits = answer.hits
    data = search_answer(question, answer)
    while length(data) > longest and len(hits) > 1:
        hits = hits[:-1]
        data = search_answer(question, replace(answer, hits=hits))
    if len(hits) < len(answer.hits):
        data["instruction"] += (
            f" {len(answer.hits) - len(hits)} further results did not fit: ask for fewer, or more "
            "precisely."
        )
    if data["results"]:
        _shorten(data, data["results"][0], "text", longest)
    return data


def fitting_passage(data: dict[str, Any], longest: int = LONGEST) -> dict[str, Any]:
    """A passage with as much of what is around it as fits: first what comes after it is cut."""
    if "text" not in data:
        return data  # a mistake, told to the model
    data = dict(data)
    for part, sign in (("after", "has_more_after"), ("before", "has_more_before")):
        if length(data) > longest:
            data[sign] = True
            _shorten(data, data, part, longest, from_the_front=part == "before")
    _shorten(data, data, "text", longest)
    return data


def _shorten(
    data: Any, holder: dict[str, Any], name: str, longest: int, *, from_the_front: bool = False
) -> None:
    """Cut a text so far that the whole fits, or to nothing."""
    text: str = holder[name]
    if length(data) <= longest:
        return

    def kept(count: int) -> str:
        return CUT + text[len(text) - count :] if from_the_front else text[:count] + CUT

    # What is escaped counts more than once.
    room = longest - length(data) + length(text)
    count = bisect_right(range(len(text) + 1), room, key=lambda count: length(kept(count))) - 1
    holder[name] = kept(count) if count > 0 else ""


#: What the OpenAPI document for Actions is made of.
operations = [
    path("actions/search", ActionSearch.as_view(), name="actions-search"),
    path("actions/passage", ActionPassage.as_view(), name="actions-passage"),
    path("actions/feedback", ActionFeedback.as_view(), name="actions-feedback"),
]
