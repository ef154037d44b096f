"""Every part of the installation, with a sentence and, where there is one, the way to mend it."""

import platform
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from kbadmin.pages.bounded import count
from kbadmin.pages.revisions import latest_revisions
from retrieval import tasks
from retrieval.admin.index_state import impatient_store
from retrieval.exceptions import VectorStoreError
from retrieval.factories import bundle_of
from retrieval.models import EmbeddingModel, Index, Worker

#: Free bytes below which uploads will soon fail, and below which somebody should know.
NO_SPACE, LITTLE_SPACE = 500 * 1024**2, 5 * 1024**3
PACKAGES = ("django", "chromadb", "onnxruntime", "django-unfold")
WORKERS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    #: the tone of its badge: live (works), low (look at it), failed
    tone: str
    word: str
    sentence: str


def works(name: str, sentence: str) -> Part:
    return Part(name, "live", _("works"), sentence)


def look(name: str, sentence: str) -> Part:
    return Part(name, "low", _("look at it"), sentence)


def broken(name: str, sentence: str) -> Part:
    return Part(name, "failed", _("does not work"), sentence)


def database() -> Part:
    name = _("Database")
    engine = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[connection.vendor]
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return broken(name, _("%(engine)s does not answer.") % {"engine": engine})
    if waiting:
        text = ngettext(
            "%(n)d migration is waiting. Run: manage.py setup",
            "%(n)d migrations are waiting. Run: manage.py setup",
            len(waiting),
        )
        return broken(name, text % {"n": len(waiting)})
    return works(name, _("%(engine)s answers, and its tables are up to date.") % {"engine": engine})


def chroma() -> Part:
    name = "Chroma"
    try:
        impatient_store().heartbeat()
    except VectorStoreError:
        return broken(
            name,
            _(
                "It does not answer at %(url)s. Searches are answered from words alone; what "
                "is uploaded is indexed as soon as it is back."
            )
            % {"url": settings.CHROMA_URL},
        )
    serving = Index.objects.filter(collection__live_index=F("pk"), collection__deleted_at=None)
    if serving.filter(state=Index.State.DAMAGED).exists():
        return look(name, _("An index was damaged and is being built again beside."))
    return works(name, _("It answers at %(url)s.") % {"url": settings.CHROMA_URL})


def worker() -> Part:
    name = _("Worker")
    alive = count(Worker.objects.alive())
    waiting = count(latest_revisions().unfinished())
    if not alive.number:
        return broken(
            name,
            _("No worker runs, so nothing is indexed. Run: manage.py worker")
            if waiting.number
            else _("No worker runs. Nothing waits for one now."),
        )
    return works(
        name,
        _("Running: %(alive)s. Documents in progress: %(waiting)s.")
        % {"alive": alive, "waiting": waiting},
    )


def model() -> Part:
    name = _("Embedding model")
    used = EmbeddingModel.objects.filter(
        index__state=Index.State.LIVE, index__collection__deleted_at=None
    ).distinct()
    missing = [row.name for row in used if bundle_of(row) is None]
    if missing:
        return broken(
            name,
            _("Not prepared on this machine: %(names)s. Run: manage.py prepare_model --model NAME")
            % {"names": ", ".join(missing)},
        )
    if not used:
        return look(name, _("No collection uses one yet."))
    return works(name, ", ".join(f"{row.name} ({row.get_runtime_display()})" for row in used))


def disk() -> Part:
    name = _("Disk")
    free = shutil.disk_usage(settings.DATA_DIR).free
    sentence = _("%(free)s free in the data folder.") % {"free": filesizeformat(free)}
    if free < NO_SPACE:
        return broken(name, sentence)
    return look(name, sentence) if free < LITTLE_SPACE else works(name, sentence)


PARTS: tuple[Callable[[], Part], ...] = (database, chroma, worker, model, disk)


def versions() -> list[tuple[str, str]]:
    found = [("Python", platform.python_version())]
    found += [(name, metadata.version(name)) for name in PACKAGES]
    if connection.vendor == "sqlite":
        found.append(("SQLite", sqlite3.sqlite_version))
    return found


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("retrieval.view_index"):
        raise PermissionDenied
    if request.method == "POST":
        return compare(request)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Status"),
        "parts": [part() for part in PARTS],
        "versions": versions(),
        "failed": count(latest_revisions().failed()),
        "workers": Worker.objects.alive().order_by("-seen_at")[:WORKERS_SHOWN],
        "building": Index.objects.building().select_related("collection", "embedding_model")[:5],
        "may_repair": request.user.has_perm("retrieval.change_index"),
    }
    return TemplateResponse(request, "kbadmin/status.html", context)


def compare(request: HttpRequest) -> HttpResponse:
    """Have every live index compared with the database and repaired, by a worker."""
    if not request.user.has_perm("retrieval.change_index"):
        raise PermissionDenied
    live = Index.objects.filter(state=Index.State.LIVE, collection__deleted_at=None)
    asked = 0
    for pk in live.values_list("pk", flat=True):
        tasks.reconcile_index.enqueue(pk)
        asked += 1
    text = ngettext(
        "%(n)d index is being compared; what differs is repaired.",
        "%(n)d indexes are being compared; what differs is repaired.",
        asked,
    )
    messages.success(request, text % {"n": asked})
    return redirect("admin:status")
