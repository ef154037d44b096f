"""/healthz: this process answers. /readyz: so does everything that a full answer needs."""

import logging
from collections.abc import Callable

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from retrieval.exceptions import KnowledgeBaseError
from retrieval.status import check_embedding, check_vectors

logger = logging.getLogger(__name__)


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """503 while a part is away, with the part's name. Searches may still be answered then,
    from words alone: do not take the server out of service for it."""
    checks: dict[str, Callable[[], None]] = {
        "database": _check_database,
        "chroma": check_vectors,
        "model": check_embedding,
    }
    parts: dict[str, dict[str, str]] = {}
    for name, check in checks.items():
        try:
            check()
            parts[name] = {"status": "ok"}
        except KnowledgeBaseError as error:
            parts[name] = {"status": "failed", "code": error.code, "message": error.message}
        except DatabaseError as error:
            logger.warning("readyz: %s", error)
            parts[name] = {
                "status": "failed",
                "code": "database_unavailable",
                "message": "The database does not answer.",
            }
    ready = all(part["status"] == "ok" for part in parts.values())
    return JsonResponse(
        {"status": "ready" if ready else "not ready", "checks": parts}, status=200 if ready else 503
    )


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
        cursor.fetchone()
