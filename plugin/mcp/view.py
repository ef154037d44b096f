"""POST /mcp: one JSON-RPC message, or for older revisions several, answered at once."""

import logging
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from plugin.authentication import ApiKeyAuthentication
from plugin.mcp.caller import Caller
from plugin.mcp.jsonrpc import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REFUSED,
    UNSUPPORTED_VERSION,
    RpcError,
    checked_request,
    failure,
    id_of,
    is_notification,
    is_response,
    parse,
    result,
    serialised,
)
from plugin.mcp.methods import answer
from plugin.mcp.revisions import BATCHING, STATELESS, check_stateless, revision_of
from plugin.throttling import address_of
from retrieval.models import ApiKey

logger = logging.getLogger(__name__)

#: Messages in one array.
MAX_BATCH = 20
#: HTTP statuses of errors: of requests since 2026, before of what is no request at all.
STATUSES = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}


@csrf_exempt
def mcp(request: HttpRequest) -> HttpResponse:
    """A view without Django REST framework: JSON-RPC has its own shape of everything."""
    if not is_allowed(request.headers.get("Origin"), request):
        return _refused(403, "Web pages of this origin may not call. See KBADMIN_CORS_ORIGINS.")
    if request.method != "POST":
        response = _refused(405, "Send a POST: there is no stream to listen to and no session.")
        response["Allow"] = "POST"
        return response
    try:
        key = _key(request)
    except AuthenticationFailed as error:
        response = _refused(401, str(error.detail))
        response["WWW-Authenticate"] = ApiKeyAuthentication().authenticate_header(Request(request))
        return response
    if request.content_type != "application/json":
        return _refused(415, "Send the Content-Type application/json.")
    try:
        body = request.body
    except RequestDataTooBig:
        return _refused(413, "The request body is too large.")
    try:
        message = parse(body)
    except RpcError as error:
        return _answered(failure(None, error), 400)
    return _respond(request, message, Caller(key, address_of(request)))


def _respond(request: HttpRequest, message: Any, caller: Caller) -> HttpResponse:
    try:
        revision = revision_of(request.headers, message)
        if isinstance(message, list):
            return _batch(request, message, revision, caller)
        if isinstance(message, dict):
            if is_notification(message):
                return HttpResponse(status=202)
            if is_response(message) and revision not in STATELESS:
                return HttpResponse(status=202)  # nothing was asked of the client
        request_id, method, params = checked_request(message)
        if revision in STATELESS:
            check_stateless(request.headers, message, method, params)
    except RpcError as error:
        return _answered(failure(id_of(message), error), STATUSES.get(error.code, 400))
    told = _told(request_id, method, params, revision, caller)
    code = told["error"]["code"] if "error" in told else None
    # Older clients take another status than 200 for a server that is broken.
    status = STATUSES.get(code, 200) if code and revision in STATELESS else 200
    return _answered(told, status)


def _batch(
    request: HttpRequest, messages: list[Any], revision: str, caller: Caller
) -> HttpResponse:
    """Raises RpcError where there is none in this revision, or nothing in it."""
    if revision not in BATCHING:
        raise RpcError(INVALID_REQUEST, f"Invalid request: {revision} has no arrays of messages.")
    if not 0 < len(messages) <= MAX_BATCH:
        raise RpcError(INVALID_REQUEST, f"Invalid request: send 1 to {MAX_BATCH} messages.")
    answers = []
    for message in messages:
        if isinstance(message, dict) and (is_notification(message) or is_response(message)):
            continue
        try:
            request_id, method, params = checked_request(message)
            if method == "initialize":
                raise RpcError(INVALID_REQUEST, "Invalid request: send initialize alone.")
        except RpcError as error:
            answers.append(failure(id_of(message), error))
        else:
            answers.append(_told(request_id, method, params, revision, caller))
    return _answered(answers) if answers else HttpResponse(status=202)


def _told(
    request_id: Any, method: str, params: dict[str, Any], revision: str, caller: Caller
) -> dict[str, Any]:
    try:
        return result(request_id, answer(method, params, revision, caller))
    except RpcError as error:
        return failure(request_id, error)
    except Exception:
        logger.exception("MCP: %s failed", method)
        bug = RpcError(INTERNAL_ERROR, "Something went wrong here; it has been logged.")
        return failure(request_id, bug)


def _key(request: HttpRequest) -> ApiKey | None:
    """The key that a request brings; None where none is asked for. Raises AuthenticationFailed."""
    found = ApiKeyAuthentication().authenticate(Request(request))
    if found is not None:
        return found[1]
    if settings.PLUGIN_AUTH != "none":
        raise AuthenticationFailed("Send an API key as: Authorization: Bearer KEY.")
    return None


def is_allowed(origin: str | None, request: HttpRequest) -> bool:
    """Whether a page of that origin may call; a program sends none.

    Without this a page that somebody visits could ask a server in their network.
    """
    if origin is None or settings.CORS_ALLOW_ALL_ORIGINS:
        return True
    own = [
        f"{request.scheme}://{request.get_host()}",
        *(settings.PUBLIC_URL, settings.LOCAL_URL, settings.PLUGIN_SERVER_URL),
    ]
    calling = _origin(origin)
    known = {_origin(url) for url in (*own, *settings.CORS_ALLOWED_ORIGINS)}
    return calling is not None and calling in known


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what is no origin, such as `null`."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def _refused(status: int, message: str) -> HttpResponse:
    return _answered(failure(None, RpcError(REFUSED, message)), status)


def _answered(message: Any, status: int = 200) -> HttpResponse:
    response = HttpResponse(serialised(message), content_type="application/json", status=status)
    # What is in it may be private, and gone a moment later.
    response["Cache-Control"] = "no-store"
    return response
