"""The original bytes of a revision → text and metadata, checked against its collection."""

import logging

from django.conf import settings

from retrieval import front_matter
from retrieval.exceptions import KnowledgeBaseError, OriginalMissing, UnexpectedFailure
from retrieval.models import Revision
from retrieval.parsers import Limits
from retrieval.parsers.sandbox import parse_isolated
from retrieval.types import ParsedDocument

logger = logging.getLogger(__name__)


def parser_limits() -> Limits:
    """The operator's bounds, as the parsers take them."""
    return Limits(
        max_pages=settings.MAX_PAGES,
        max_characters=settings.MAX_CHARACTERS,
        zip_entries=settings.MAX_ZIP_ENTRIES,
        zip_bytes=settings.MAX_ZIP_SIZE,
        zip_ratio=settings.MAX_ZIP_RATIO,
        memory_bytes=settings.MAX_PARSE_MEMORY,
    )


def read_original(revision: Revision) -> bytes:
    """Raises OriginalMissing if the file is gone from the data folder."""
    try:
        with revision.original.open("rb") as file:
            data: bytes = file.read()
    except FileNotFoundError as error:
        raise OriginalMissing(
            "The original file is missing from the data folder. Upload it again."
        ) from error
    return data


def read(revision: Revision, data: bytes) -> ParsedDocument:
    """Parse a revision's bytes.

    Raises ParseError if the file is at fault, UnexpectedFailure if the parser is: one file
    must not stop the worker for all the others.
    """
    try:
        parsed = parse_isolated(
            revision.filename, data, parser_limits(), revision.options, settings.MAX_PARSE_SECONDS
        )
        front_matter.check(parsed.metadata, revision.document.collection.front_matter_schema)
    except KnowledgeBaseError:
        raise
    except Exception as error:
        logger.exception("parsing %s failed", revision)
        raise UnexpectedFailure(
            f"Reading this file broke the parser ({type(error).__name__}). "
            "Save it in another format and upload it again."
        ) from error
    return parsed
