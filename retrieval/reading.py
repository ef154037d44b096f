"""The original bytes of a revision → text and metadata, checked against its collection."""

import logging

from retrieval import front_matter
from retrieval.exceptions import KnowledgeBaseError, OriginalMissing, UnexpectedFailure
from retrieval.models import Revision
from retrieval.parsers import parse
from retrieval.types import ParsedDocument

logger = logging.getLogger(__name__)


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
        parsed = parse(revision.filename, data)
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
