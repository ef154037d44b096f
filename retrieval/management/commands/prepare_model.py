from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from retrieval.collections import prepare_model
from retrieval.exceptions import EmbeddingError


class Command(BaseCommand):
    help = "Export an embedding model to ONNX int8, once; does nothing if it is ready."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--model",
            default=settings.EMBEDDING_MODEL,
            help="sentence-transformers name or folder (default: KBADMIN_EMBEDDING_MODEL)",
        )

    def handle(self, *args: Any, model: str, **options: Any) -> None:
        try:
            row = prepare_model(model, self.stdout.write)
        except EmbeddingError as error:
            raise CommandError(error.message) from error
        if options["verbosity"] > 1:
            self.stdout.write(
                f"{row.name}: {row.dimension} dimensions, {row.max_tokens} tokens, {row.runtime}"
            )
