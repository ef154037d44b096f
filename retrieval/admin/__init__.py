"""The model pages of the browser admin, one module per group of the sidebar."""

from retrieval.admin import audit_log, chunks, collections, documents, golden, keys, system, use

__all__ = ["audit_log", "chunks", "collections", "documents", "golden", "keys", "system", "use"]
