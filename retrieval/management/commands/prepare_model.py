from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from retrieval import embedding
from retrieval.collections import prepare_model
from retrieval.exceptions import EmbeddingError


class Command(BaseCommand):
    help = (
        "Export an embedding model or a reranker to ONNX int8, once; does nothing if it is ready."
    )
    requires_system_checks = []  # one of them asks for this command

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--model",
            default=settings.EMBEDDING_MODEL,
            help="sentence-transformers name or folder (default: KBADMIN_EMBEDDING_MODEL)",
        )
        which.add_argument(
            "--reranker",
            nargs="?",
            const=settings.RERANKER,
            metavar="NAME",
            help="a cross-encoder instead, by name or folder (default: KBADMIN_RERANKER)",
        )

    def handle(self, *args: Any, model: str, reranker: str | None, **options: Any) -> None:
        try:
            if reranker is None:
                ready = self.prepare_model(model)
            else:
                ready = self.prepare_reranker(reranker)
        except EmbeddingError as error:
            raise CommandError(error.message) from error
        if options["verbosity"] > 1:
            self.stdout.write(ready)

    def prepare_model(self, name: str) -> str:
        row = prepare_model(name, self.stdout.write)
        return f"{row.name}: {row.dimension} dimensions, {row.max_tokens} tokens, {row.runtime}"

    def prepare_reranker(self, name: str) -> str:
        if not name:
            raise CommandError("Give the name of a cross-encoder, or set KBADMIN_RERANKER.")
        bundle = embedding.prepare_reranker(name, settings.MODEL_DIR, self.stdout.write)
        return f"{bundle.name}: {bundle.max_tokens} tokens, {bundle.runtime}"
