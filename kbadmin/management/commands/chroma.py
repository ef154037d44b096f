"""Run the Chroma server that the settings name, in place of this process."""

import os
import socket
import sys
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

#: What the process becomes. The bindings are called without the `chromadb` package around
#: them, which would cost a second and 60 MB. Chroma greets on stdout with a banner that no
#: option silences; the first second of stdout is dropped, warnings arrive after it. SIGINT is
#: left to Chroma alone: Python's own handler would add a stack trace.
SERVER = """
import os, signal, sys, threading
import chromadb_rust_bindings
signal.signal(signal.SIGINT, signal.SIG_DFL)
stdout = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
timer = threading.Timer(1.0, os.dup2, (stdout, 1))
timer.daemon = True
timer.start()
chromadb_rust_bindings.cli(["chroma", *sys.argv[1:]])
"""


def local_chroma(url: str) -> tuple[str, int] | None:
    """Host and port to listen on, or None where the address belongs to another machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.path or not parts.hostname:
        return None  # Chroma speaks neither TLS nor path prefixes: there is a proxy in front
    try:
        found = socket.getaddrinfo(parts.hostname, 0, type=socket.SOCK_STREAM)
    except OSError:
        return None
    family, kind, protocol, _, address = found[0]
    with closing(socket.socket(family, kind, protocol)) as probe:
        try:
            probe.bind(address)
        except OSError:
            return None
    return str(address[0]), parts.port or 80


class Command(BaseCommand):
    help = "Run the Chroma server on the address in KBADMIN_CHROMA_URL."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        address = local_chroma(settings.CHROMA_URL)
        if address is None:
            raise CommandError(
                f"KBADMIN_CHROMA_URL is {settings.CHROMA_URL}, which is not a plain address of "
                "this machine: Chroma has to be started where it lives"
            )
        host, port = address
        settings.CHROMA_DIR.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("RUST_LOG", "warn")
        sys.stdout.flush()
        # exec: SIGTERM must reach Chroma itself, which then persists before it goes.
        place = ["--path", str(settings.CHROMA_DIR), "--host", host, "--port", str(port)]
        os.execv(  # noqa: S606 - a fixed program, no shell
            sys.executable, [sys.executable, "-c", SERVER, "run", *place]
        )
