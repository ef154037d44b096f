"""The endpoints below /v1. Views parse, call and render."""

from collections.abc import Callable, Iterable
from typing import Any

from django.http import HttpResponseBase, JsonResponse
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from plugin import turns
from plugin.gateway import chat, conversation, embeddings, errors, models, places, upstream
from plugin.gateway.watch import watcher
from plugin.parsers import ChatParser
from plugin.rendering import OnlyJson
from plugin.votes import person, pseudonym
from retrieval.exceptions import InvalidRequest

#: Where chat programs say who asks: OpenAI's fields, the newer one first, and what Open WebUI
#: sends with ENABLE_FORWARD_USER_INFO_HEADERS.
USER_FIELDS = ("safety_identifier", "user")
USER_HEADER = "X-OpenWebUI-User-Id"


class AnyType(OnlyJson):
    """Whatever a body is called, it is read as JSON."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))


class GatewayView(APIView):
    parser_classes = [ChatParser]
    content_negotiation_class = AnyType
    schema = None

    def get_exception_handler(self) -> Callable[..., Any]:
        return errors.handle


class ChatCompletionsView(GatewayView):
    def post(self, request: Request) -> HttpResponseBase:
        asked = conversation.parse(request.data)
        asker = person(request.auth, user_of(request, asked.body))
        return chat.answer(asked, request.META.get("gunicorn.socket"), asker)


def user_of(request: Request, body: dict[str, Any]) -> str:
    """A pseudonym of the person in the chat; empty where the chat program names nobody."""
    names = (*(body.get(field) for field in USER_FIELDS), request.headers.get(USER_HEADER))
    name = next((name for name in names if isinstance(name, str) and name.strip()), "")
    return pseudonym(name.strip()) if name else ""


class ModelsView(GatewayView):
    def get(self, request: Request) -> Response:
        return Response({"object": "list", "data": models.listed()})


class ModelView(GatewayView):
    def get(self, request: Request, name: str) -> Response:
        for model in models.listed():
            if model["id"] == name:
                return Response(model)
        models.find(name)
        raise errors.ModelNotFound(f"There is no model {name[:200]!r}.", param="model")


class EmbeddingsView(GatewayView):
    def post(self, request: Request) -> HttpResponseBase:
        body = request.data
        if not isinstance(body, dict):
            raise InvalidRequest("The body must be a JSON object.")
        name = conversation.model_in(body)
        model = embeddings.find_model(name)
        if model is not None:
            return JsonResponse(embeddings.embed(model, body))
        if not upstream.is_there():
            raise embeddings.unknown(name)
        with places.place(), watcher.watching(request.META.get("gunicorn.socket")) as watch:
            turns.step_aside()
            answer = upstream.ask("/embeddings", body, watch)
            return JsonResponse(upstream.read_json(answer, watch))
