"""The nouns of the knowledge base, one module each."""

from retrieval.models.acceptance import Acceptance
from retrieval.models.alias import Alias, AliasPlace
from retrieval.models.api_key import ApiKey
from retrieval.models.attribute import Attribute
from retrieval.models.chunk import Chunk
from retrieval.models.collection import Collection
from retrieval.models.document import Document
from retrieval.models.embedding import Embedding
from retrieval.models.embedding_model import EmbeddingModel
from retrieval.models.evaluation import EvaluationAnswer, EvaluationRun, Judgment
from retrieval.models.feedback import Feedback
from retrieval.models.index import Index
from retrieval.models.index_report import IndexReport
from retrieval.models.review import ReviewCursor, ReviewItem, ReviewQuestion, ReviewSighting
from retrieval.models.revision import Revision
from retrieval.models.search import Search
from retrieval.models.search_day import SearchDay
from retrieval.models.trial import Trial
from retrieval.models.worker import Worker

__all__ = [
    "Acceptance",
    "Alias",
    "AliasPlace",
    "ApiKey",
    "Attribute",
    "Chunk",
    "Collection",
    "Document",
    "Embedding",
    "EmbeddingModel",
    "EvaluationAnswer",
    "EvaluationRun",
    "Feedback",
    "Index",
    "IndexReport",
    "Judgment",
    "ReviewCursor",
    "ReviewItem",
    "ReviewQuestion",
    "ReviewSighting",
    "Revision",
    "Search",
    "SearchDay",
    "Trial",
    "Worker",
]
