import signal
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from retrieval.worker import WorkerProcess


class Command(BaseCommand):
    help = "Index what was accepted and keep Chroma in step, until stopped (SIGTERM, Ctrl-C)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--drain", action="store_true", help="stop when nothing is left to do")

    def handle(self, *args: Any, drain: bool, **options: Any) -> None:
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
