"""Every part of the installation: whether it works, in a sentence, and what mends it."""

import platform
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from kbadmin.pages.bounded import count
from kbadmin.pages.revisions import latest_revisions
from plugin.doctor import own
from plugin.gateway import upstream
from retrieval.admin.index_state import differences, impatient_store
from retrieval.exceptions import VectorStoreError
from retrieval.factories import bundle_of
from retrieval.models import EmbeddingModel, Index, Worker

#: Free bytes below which uploads will soon fail, and below which somebody should know.
NO_SPACE, LITTLE_SPACE = 500 * 1024**2, 5 * 1024**3
PACKAGES = ("django", "chromadb", "onnxruntime", "django-unfold")
#: Indexes that are looked at one by one.
INDEXES_READ = 200
MODELS_NAMED = 3
#: Seconds that the page waits for a server.
IMPATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Fix:
    """What mends a part: one of a button, a link, a command to run on the server."""

    label: str = ""
    action: str = ""  #: value of the button
    permission: str = ""  #: that the button asks for
    url: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    #: the tone of its badge: live (works), low (look at it), failed
    tone: str
    word: str
    sentence: str
    fix: Fix | None = None


def works(name: str, sentence: str, fix: Fix | None = None) -> Part:
    return Part(name, "live", _("works"), sentence, fix)


def look(name: str, sentence: str, fix: Fix | None = None) -> Part:
    return Part(name, "low", _("look at it"), sentence, fix)


def broken(name: str, sentence: str, fix: Fix | None = None) -> Part:
    return Part(name, "failed", _("does not work"), sentence, fix)


def command(*words: str) -> Fix:
    """A command of manage.py, as it can be pasted into a shell on the server."""
    script = str(settings.BASE_DIR / "manage.py")
    return Fix(command=shlex.join([sys.executable, script, *words]))


def database() -> Part:
    name = _("Database")
    engine = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[connection.vendor]
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return broken(name, _("%(engine)s does not answer.") % {"engine": engine})
    if waiting:
        # No button: it would change tables under web processes and workers that still run
        # the version before.
        text = ngettext(
            "%(n)d migration is waiting: the program is newer than its tables. Stop it, run "
            "this, start it again.",
            "%(n)d migrations are waiting: the program is newer than its tables. Stop it, run "
            "this, start it again.",
            len(waiting),
        )
        return broken(name, text % {"n": len(waiting)}, command("setup"))
    return works(name, _("%(engine)s answers, and its tables are up to date.") % {"engine": engine})


def chroma() -> Part:
    name = "Chroma"
    try:
        impatient_store().heartbeat()
    except VectorStoreError:
        sentence = _(
            "It does not answer at %(url)s. Searches are answered from words alone; what "
            "is uploaded is indexed as soon as it is back."
        )
        is_ours = urlsplit(settings.CHROMA_URL).hostname in {"127.0.0.1", "localhost", "::1"}
        fix = command("chroma") if is_ours else None
        return broken(name, sentence % {"url": settings.CHROMA_URL}, fix)
    return works(name, _("It answers at %(url)s.") % {"url": settings.CHROMA_URL})


def indexes() -> Part:
    """Whether Chroma held what the database says when they were last compared."""
    name = _("Indexes")
    serving = list(
        Index.objects.filter(collection__live_index=F("pk"), collection__deleted_at=None)
        .only("state", "drift", "checked_at")
        .order_by("pk")[:INDEXES_READ]
    )
    again = Fix(_("Compare and repair"), action="compare", permission="retrieval.change_index")
    if not serving:
        return look(name, _("There is none yet: it comes with the first collection."))
    if any(index.state == Index.State.DAMAGED for index in serving):
        return look(name, _("An index was damaged and is being built again beside."))
    never = sum(index.checked_at is None for index in serving)
    if never:
        text = ngettext(
            "%(n)d index was never compared with the database.",
            "%(n)d indexes were never compared with the database.",
            never,
        )
        return look(name, text % {"n": never}, again)
    mended = sum(sum(differences(index).values()) for index in serving)
    if mended:
        text = ngettext(
            "%(n)d record differed from the database at the last comparison and was repaired.",
            "%(n)d records differed from the database at the last comparison and were repaired.",
            mended,
        )
        return look(name, text % {"n": mended}, again)
    text = ngettext(
        "%(n)d index was in step with the database at the last comparison.",
        "%(n)d indexes were in step with the database at the last comparison.",
        len(serving),
    )
    return works(name, text % {"n": len(serving)}, again)


def worker() -> Part:
    name = _("Worker")
    alive = count(Worker.objects.alive())
    waiting = count(latest_revisions().unfinished())
    if not alive.number:
        sentence = (
            _("No worker runs, so nothing is indexed. Start one on the server.")
            if waiting.number
            else _("No worker runs. Nothing waits for one now.")
        )
        return broken(name, sentence, command("worker"))
    return works(
        name,
        _("Running: %(alive)s. Documents in progress: %(waiting)s.")
        % {"alive": alive, "waiting": waiting},
    )


def documents() -> Part:
    name = _("Documents")
    failed = count(latest_revisions().failed())
    if not failed:
        return works(name, _("Everything that was uploaded could be read."))
    return look(
        name,
        _("Failed documents: %(failed)s.") % {"failed": failed},
        Fix(
            _("Retry all failed"),
            action="retry",
            permission="retrieval.change_document",
            url=reverse("admin:retrieval_document_changelist") + "?state=failed",
        ),
    )


def model() -> Part:
    name = _("Embedding model")
    used = list(
        EmbeddingModel.objects.filter(
            index__state=Index.State.LIVE, index__collection__deleted_at=None
        )
        .distinct()
        .order_by("pk")
    )
    missing = [row.name for row in used if bundle_of(row) is None]
    if missing:
        sentence = _("Not prepared on this machine: %(names)s. Searches by meaning wait for it.")
        return broken(
            name,
            sentence % {"names": ", ".join(missing)},
            command("prepare_model", "--model", missing[0]),
        )
    if not used:
        return look(name, _("No collection uses one yet."))
    shown = ", ".join(f"{row.name} ({row.get_runtime_display()})" for row in used[:MODELS_NAMED])
    return works(name, f"{shown}, …" if len(used) > MODELS_NAMED else shown)


def reranker() -> Part | None:
    """Only where one is set: it is no part of every installation."""
    if not settings.RERANKER:
        return None
    from retrieval.embedding import find_reranker

    name = _("Reranker")
    if find_reranker(settings.MODEL_DIR, settings.RERANKER):
        return works(name, settings.RERANKER)
    sentence = _("%(name)s is not prepared: searches keep their first order.")
    return broken(
        name, sentence % {"name": settings.RERANKER}, command("prepare_model", "--reranker")
    )


def plugin() -> Part:
    """What chat programs are told of this server."""
    name = _("Plugin manifest")
    found = own.health()
    see = Fix(url=f"{reverse('admin:plugin_doctor')}?kind=own")
    counted = []
    if found.errors:
        counted.append(ngettext("%(n)d error", "%(n)d errors", found.errors) % {"n": found.errors})
    if found.warnings:
        text = ngettext("%(n)d warning", "%(n)d warnings", found.warnings)
        counted.append(text % {"n": found.warnings})
    if not counted:
        return works(name, _("Right for every chat program."))
    sentence = _("The plugin doctor found %(counted)s in what chat programs read of this server.")
    told = sentence % {"counted": pgettext("between the parts of a list", ", ").join(counted)}
    return (broken if found.errors else look)(name, told, see)


def language_model() -> Part | None:
    """The server behind the gateway, where one is set."""
    if not upstream.is_there():
        return None
    name, said = _("Language model"), {"url": upstream.base_url()}
    found = upstream.count_models(IMPATIENCE)
    if found is None:
        sentence = _(
            "It does not answer at %(url)s. Chats fail until it is back; those with a model whose "
            "name ends in :extractive are answered by passages."
        )
        return broken(name, sentence % said)
    if not found:
        return look(name, _("It answers at %(url)s, but lists no model.") % said)
    return works(name, _("It answers at %(url)s.") % said)


def disk() -> Part:
    name = _("Disk")
    free = shutil.disk_usage(settings.DATA_DIR).free
    shown = {"free": filesizeformat(free), "folder": settings.DATA_DIR}
    if free < LITTLE_SPACE:
        sentence = _("%(free)s free for %(folder)s. Make room, or uploads will fail.") % shown
        return (broken if free < NO_SPACE else look)(name, sentence)
    return works(name, _("%(free)s free in the data folder.") % shown)


PARTS: tuple[Callable[[], Part | None], ...] = (
    database,
    chroma,
    indexes,
    worker,
    documents,
    model,
    reranker,
    plugin,
    language_model,
    disk,
)


def every_part() -> list[Part]:
    return [found for part in PARTS if (found := part()) is not None]


def versions() -> list[tuple[str, str]]:
    found = [("Python", platform.python_version())]
    found += [(name, metadata.version(name)) for name in PACKAGES]
    if connection.vendor == "sqlite":
        found.append(("SQLite", sqlite3.sqlite_version))
    found.append((_("Times are told in"), timezone.get_current_timezone_name()))
    return found
