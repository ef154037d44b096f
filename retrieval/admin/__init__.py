"""The model pages of the browser admin, one module per group of the sidebar."""

from retrieval.admin import chunks, collections, documents, system, use

__all__ = ["chunks", "collections", "documents", "system", "use"]
