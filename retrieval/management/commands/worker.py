import os
import signal
import socket
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from retrieval.models import Worker
from retrieval.worker import WorkerProcess

#: Added to the process's niceness. Whoever asks goes first where processors are scarce: indexing
#: takes a tenth longer then, and a search two thirds of the time.
NICENESS = 10


class Command(BaseCommand):
    help = "Index what was accepted and keep Chroma in step, until stopped (SIGTERM, Ctrl-C)."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--drain", action="store_true", help="stop when nothing is left to do")
        which.add_argument(
            "--check", action="store_true", help="run none; fail if none of this machine is alive"
        )

    def handle(self, *args: Any, drain: bool, check: bool, **options: Any) -> None:
        if check:
            self.check_alive()
            return
        os.nice(NICENESS)
        process = WorkerProcess()

        def stop(number: int, frame: FrameType | None) -> None:
            process.stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        with process:
            if drain:
                process.drain()
            else:
                process.run()

    def check_alive(self) -> None:
        host = socket.gethostname()[:200]
        if not Worker.objects.alive().filter(host=host).exists():
            raise CommandError(f"No worker of {host} has reported lately.")
