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


class InvalidQuestions(InvalidRequest):
    """A file of questions that cannot be read, or questions that nothing can be measured with."""

    code = "invalid_questions"


class InvalidAddress(InvalidRequest):
    """Not the address of a page on the web."""

    code = "invalid_address"


class CollectionNotFound(KnowledgeBaseError):
    code = "collection_not_found"
    status = 404


class ReindexRefused(KnowledgeBaseError):
    """A reindex or a rollback that cannot be started now."""

    code = "reindex_refused"
    status = 409


class TrialRefused(KnowledgeBaseError):
    """Other settings that cannot be tried, switched to or discarded now."""

    code = "trial_refused"
    status = 409


class MoveRefused(KnowledgeBaseError):
    """A document that cannot go to the collection it was to be moved to."""

    code = "move_refused"
    status = 409


class VerificationFailed(KnowledgeBaseError):
    """A finished index does not hold what it should; the old one stays live."""

    code = "verification_failed"


class SearchNotFound(KnowledgeBaseError):
    code = "query_not_found"
    status = 404


class PassageGone(KnowledgeBaseError):
    """A passage that was changed, hidden or deleted since it was answered with."""

    code = "passage_gone"
    status = 410


class LinkInvalid(KnowledgeBaseError):
    """A signed link that was cut off or made up."""

    code = "link_invalid"
    status = 404


class LinkExpired(KnowledgeBaseError):
    code = "link_expired"
    status = 410


class DocumentGone(KnowledgeBaseError):
    """A document that is not searched, or not any more."""

    code = "document_gone"
    status = 404


class TooManyVotes(KnowledgeBaseError):
    """More votes from one place than are taken; `retry_after` says in how many seconds again."""

    code = "too_many_votes"
    status = 429
    retryable = True


class ReviewConflict(KnowledgeBaseError):
    """What a reviewer wanted to change was changed by somebody else meanwhile."""

    code = "review_conflict"
    status = 409


class SourceError(KnowledgeBaseError):
    """What was given to ingest cannot be used as a whole: nothing was changed."""

    code = "invalid_source"
    status = 400


# --- A document cannot be read: final until its bytes change ----------------------------


class ParseError(KnowledgeBaseError):
    code = "unreadable"
    status = 422


class OriginalMissing(ParseError):
    code = "original_missing"


class UnexpectedFailure(ParseError):
    """Something that nobody foresaw went wrong with this one document."""

    code = "internal_error"


class UnsupportedFormat(ParseError):
    code = "unsupported_format"


class FileTooLarge(ParseError):
    code = "file_too_large"
    status = 413


class UndecodableText(ParseError):
    code = "undecodable_text"


class InvalidFrontMatter(ParseError):
    code = "invalid_front_matter"


class FrontMatterMismatch(ParseError):
    """Front matter that is valid but not what its collection asks for."""

    code = "front_matter_mismatch"


class NoText(ParseError):
    code = "no_text"


class WrongType(ParseError):
    """The content is of another kind than the name says, and cannot be read as that."""

    code = "wrong_type"


class LegacyOffice(ParseError):
    """A .doc, .xls or .ppt of before 2007."""

    code = "legacy_office"


class EncryptedFile(ParseError):
    code = "encrypted_file"


class DamagedFile(ParseError):
    code = "damaged_file"


class TooManyPages(ParseError):
    code = "too_many_pages"
    status = 413


class TextTooLong(ParseError):
    code = "text_too_long"
    status = 413


class InvalidTable(ParseError):
    """Rows and columns that cannot be told apart, or a column mapping that does not fit."""

    code = "invalid_table"


class InvalidRecord(ParseError):
    """A line of a JSONL file that is no record; `line` says which."""

    code = "invalid_record"


class ParseTimeout(ParseError):
    code = "parse_timeout"


class ParseOutOfMemory(ParseError):
    code = "parse_memory"


class ParseCrashed(ParseError):
    """The process that read the file died of it."""

    code = "parse_crashed"


class TooDeeplyNested(ParseError):
    code = "too_deeply_nested"


class ParserFailed(ParseError):
    """The library that reads this format broke on the file."""

    code = "parser_failed"


class ArchiveError(ParseError):
    """A ZIP archive that cannot be taken apart safely; nothing of it is taken."""

    code = "zip_unusable"


class ZipTooManyEntries(ArchiveError):
    code = "zip_too_many_entries"
    status = 413


class ZipBomb(ArchiveError):
    code = "zip_bomb"
    status = 413


class ZipUnsafePath(ArchiveError):
    code = "zip_unsafe_path"


class ZipSymlink(ArchiveError):
    code = "zip_symlink"


class ZipEncrypted(ArchiveError):
    code = "zip_encrypted"


class ZipDamaged(ArchiveError):
    code = "zip_damaged"


class ZipNested(ArchiveError):
    code = "zip_nested"


class ZipEmpty(ArchiveError):
    code = "zip_empty"


# --- A page of the web cannot be had -------------------------------------------------------


class FetchFailed(KnowledgeBaseError):
    code = "fetch_failed"
    status = 502


class AddressForbidden(FetchFailed):
    """Inside this network, where only the operator may send a request."""

    code = "address_forbidden"
    status = 403


class FetchUnreachable(FetchFailed):
    code = "fetch_unreachable"
    retryable = True


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
