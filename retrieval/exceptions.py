"""One error tree. Each error knows its stable code, its HTTP status, whether a retry can
help, and says in its message what to do.

The codes are part of the API: clients and rows in the database carry them.
"""

from typing import Any, ClassVar


class KnowledgeBaseError(Exception):
    """Base of everything that this application raises on purpose."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


# --- What the caller asked for cannot be done -------------------------------------------


class InvalidRequest(KnowledgeBaseError):
    code = "invalid_request"
    status = 400


class InvalidFilter(InvalidRequest):
    code = "invalid_filter"


class CollectionNotFound(KnowledgeBaseError):
    code = "collection_not_found"
    status = 404


class ReindexRefused(KnowledgeBaseError):
    """A reindex or a rollback that cannot be started now."""

    code = "reindex_refused"
    status = 409


class VerificationFailed(KnowledgeBaseError):
    """A finished index does not hold what it should; the old one stays live."""

    code = "verification_failed"


class SearchNotFound(KnowledgeBaseError):
    code = "query_not_found"
    status = 404


class SourceError(KnowledgeBaseError):
    """What was given to ingest cannot be used as a whole: nothing was changed."""

    code = "invalid_source"
    status = 400


# --- A document cannot be read: final until its bytes change ----------------------------


class ParseError(KnowledgeBaseError):
    code = "unreadable"
    status = 422


class UnsupportedFormat(ParseError):
    code = "unsupported_format"


class FileTooLarge(ParseError):
    code = "file_too_large"
    status = 413


class UndecodableText(ParseError):
    code = "undecodable_text"


class InvalidFrontMatter(ParseError):
    code = "invalid_front_matter"


class NoText(ParseError):
    code = "no_text"


# --- A part of the system is away --------------------------------------------------------


class SearchUnavailable(KnowledgeBaseError):
    """Neither arm of the search can answer."""

    code = "search_unavailable"
    status = 503
    retryable = True


class EmbeddingError(KnowledgeBaseError):
    code = "embedding_failed"
    status = 503


class ModelNotReady(EmbeddingError):
    code = "model_not_ready"
    retryable = True


class ModelUnusable(EmbeddingError):
    """The named model cannot be loaded at all."""

    code = "model_unusable"


class VectorStoreError(KnowledgeBaseError):
    """Chroma refused what it was asked."""

    code = "vector_store_error"
    status = 503


class VectorStoreUnavailable(VectorStoreError):
    """Chroma does not answer, or not in time."""

    code = "vector_store_unavailable"
    retryable = True


class VectorCollectionMissing(VectorStoreError):
    """Chroma does not hold this index; it is rebuilt from the stored embeddings."""

    code = "vector_collection_missing"
    retryable = True


class DimensionMismatch(VectorStoreError):
    code = "dimension_mismatch"
