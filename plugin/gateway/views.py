"""The endpoints below /v1. Views parse, call and render."""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponseBase, JsonResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from plugin import turns
from plugin.gateway import chat, conversation, embeddings, errors, models, places, upstream
from plugin.gateway.watch import watcher
from plugin.parsers import ChatParser
from retrieval.exceptions import InvalidRequest


class AnyAccept(BaseContentNegotiation):
    """Clients accept event streams, and are told of errors in JSON all the same."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class GatewayView(APIView):
    parser_classes = [ChatParser]
    renderer_classes = [JSONRenderer]
    content_negotiation_class = AnyAccept
    schema = None

    def get_exception_handler(self) -> Callable[..., Any]:
        return errors.handle


class ChatCompletionsView(GatewayView):
    def post(self, request: Request) -> HttpResponseBase:
        asked = conversation.parse(request.data)
        return chat.answer(asked, request.META.get("gunicorn.socket"))


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
