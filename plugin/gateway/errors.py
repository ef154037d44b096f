"""Errors as OpenAI's clients expect them: {"error": {"message", "type", "param", "code"}}."""

from typing import Any

from rest_framework.response import Response

from plugin import exception_handler
from retrieval.exceptions import KnowledgeBaseError

#: What OpenAI calls errors of ours.
CODES = {"not_authenticated": "invalid_api_key", "authentication_failed": "invalid_api_key"}
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ModelNotFound(KnowledgeBaseError):
    code = "model_not_found"
    status = 404


class TooManyStreams(KnowledgeBaseError):
    """As many answers are under way as this process may wait for."""

    code = "overloaded"
    status = 503
    retryable = True


class UpstreamError(KnowledgeBaseError):
    """The language model's server failed, or answered what cannot be read."""

    code = "upstream_failed"
    status = 502


class UpstreamUnreachable(UpstreamError):
    code = "upstream_unreachable"
    retryable = True


class UpstreamTimeout(UpstreamError):
    code = "upstream_timeout"
    status = 504
    retryable = True


class UpstreamKeyRefused(UpstreamError):
    """Our key, not the client's: it must not look like a 401 of ours."""

    code = "upstream_key_refused"


class UpstreamRefused(UpstreamError):
    """A 4xx that the client can do something about, handed on with the upstream's own words."""

    code = "upstream_refused"
    status = 400

    def __init__(self, message: str, status: int = 400, **details: Any) -> None:
        super().__init__(message, **details)
        self.status = status  # type: ignore[misc]  # here of one error, elsewhere of a class


class ContextTooLong(UpstreamRefused):
    """The conversation and the passages do not fit into the model's context."""

    code = "context_length_exceeded"


class ClientGone(UpstreamError):
    """Nobody waits for the answer any more."""

    code = "client_gone"
    status = 499


def body(message: str, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = CODES.get(code, code)
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler for the gateway's views."""
    response = exception_handler.handle(error, context)
    if response is None:
        return None
    found = response.data["error"]
    details = found["details"]
    param = details.get("param")
    if found["code"] == "invalid_request" and param is None:
        # Of a ValidationError, which names its fields.
        param = next((str(name) for name in details if name != "non_field_errors"), None)
    if isinstance(details, dict) and details.get("retry_after"):
        response["Retry-After"] = str(details["retry_after"])
    response.data = body(found["message"], response.status_code, found["code"], param)
    return response
