"""One error shape everywhere: {"error": {"code", "message", "details"}}."""

import logging
from typing import Any

from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from retrieval.exceptions import KnowledgeBaseError

logger = logging.getLogger(__name__)


def body(code: str, message: str, details: Any = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": details or {}}}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. Anything unforeseen goes on to `server_error` below."""
    if isinstance(error, KnowledgeBaseError):
        if error.status >= 500:
            logger.warning("%s: %s", error.code, error.message)
        wait = str(error.details.get("retry_after", 5))
        headers = {"Retry-After": wait} if error.retryable else None
        return Response(
            body(error.code, error.message, error.details), status=error.status, headers=headers
        )
    response = exception_handler(error, context)
    if response is None:
        return None
    code, message, details = "error", str(error), {}
    if isinstance(error, exceptions.ValidationError):
        code, details = "invalid_request", response.data
        message = first_sentence(response.data)
    elif isinstance(error, exceptions.ParseError):
        code, message = "invalid_json", f"The body is not valid JSON: {error.detail}"
    elif isinstance(error, exceptions.NotAuthenticated):
        code, message = "not_authenticated", "Send an API key as: Authorization: Bearer KEY."
    elif isinstance(error, exceptions.APIException):
        code, message = str(error.default_code), str(error.detail)
    elif isinstance(error, Http404):
        code, message = "not_found", "There is nothing at this address."
    response.data = body(code, message, details)
    return response


def first_sentence(data: Any, path: str = "") -> str:
    """The first of DRF's nested messages, with the name of its field in front."""
    if isinstance(data, dict):
        key, value = next(iter(data.items()))
        inner = "" if key == "non_field_errors" else str(key)
        return first_sentence(value, f"{path}.{inner}".strip("."))
    if isinstance(data, list):
        return first_sentence(data[0], path) if data else path
    return f"{path}: {data}" if path else str(data)


# --- Errors outside DRF: wrong addresses, wrong hosts, bugs -----------------------------
# Pages for people keep Django's HTML; everything else gets the shape above.


def told(request: HttpRequest, status: int, code: str, message: str) -> JsonResponse:
    """An error in the shape of the one who is asked: below /v1, OpenAI's."""
    if request.path.startswith("/v1/"):
        from plugin.gateway import errors

        return JsonResponse(errors.body(message, status, code), status=status)
    return JsonResponse(body(code, message), status=status)


def is_page(request: HttpRequest) -> bool:
    return request.path.startswith(("/admin", "/i18n"))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django refuses before a view runs."""
    if isinstance(exception, RequestDataTooBig):
        return told(request, 413, "body_too_large", "The request body is too large.")
    if isinstance(exception, DisallowedHost):
        message = "This host name is not allowed here. Add it to KBADMIN_ALLOWED_HOSTS."
        return told(request, 400, "host_not_allowed", message)
    if is_page(request):
        return defaults.bad_request(request, exception)
    return told(request, 400, "bad_request", "The request is malformed.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_page(request):
        return defaults.page_not_found(request, exception)
    return told(request, 404, "not_found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    if is_page(request):
        return defaults.server_error(request)
    message = "Something went wrong here; it has been logged."
    return told(request, 500, "internal_error", message)
