"""gunicorn: a few processes, each with threads, on the address that the settings name.

Read by `gunicorn --config deploy/gunicorn.conf.py kbadmin.wsgi`, from the folder of manage.py.
"""

import gc
from pathlib import Path
from typing import Any

from kbadmin import settings

host = f"[{settings.HOST}]" if ":" in settings.HOST else settings.HOST
bind = [f"{host}:{settings.PORT}"]
workers = settings.WEB_CONCURRENCY
worker_class = "gthread"
# Most of them wait for a language model; those that work take turns (plugin/turns.py).
threads = settings.GATEWAY_STREAMS + 16

# A thread that works long keeps nobody else waiting; this is for a process that hangs.
timeout = 120
# Below what the supervisor waits before it uses force.
graceful_timeout = 10
keepalive = 5

# Loaded once, before the processes fork: they share one copy of the model's weights, in memory and,
# which makes a tenth of the time of an embedding, in the processor's cache. One that is started in
# place of another answers at once.
preload_app = True
# The heartbeat file must not wait for a slow disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # gunicorn makes a file of its own there
# A socket for remote control, which nothing here uses, in the home folder of the user.
control_socket_disable = True
# Uploads are limited by the application; headers are not its to read.
accesslog = None
loglevel = "warning"


def when_ready(server: Any) -> None:
    from django.db import connections
    from django.urls import get_resolver

    from retrieval import factories

    get_resolver().url_patterns  # noqa: B018  # imports the views
    factories.load_before_fork()
    # Neither a connection nor a thread survives a fork; nothing here may leave one open.
    connections.close_all()
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    from plugin import turns

    turns.share_connections()
    # What is loaded by now stays, and an answer leaves next to no cycles: Python need not look
    # through all of it every few requests, which is a thirtieth of a search.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
