"""Which documents hold some words: in their text, through the word index, or in their name."""

import logging

from django.db import DatabaseError
from django.db.models import Q, QuerySet

from retrieval.lexical import lexical_index
from retrieval.models import Chunk, Collection, Document

logger = logging.getLogger(__name__)

#: Passages that are looked at: words that stand everywhere find no more.
PASSAGES = 1000


def matching(documents: QuerySet[Document], words: str, collection: str) -> QuerySet[Document]:
    """Documents of which a passage holds all words, or whose title or external id does.

    A name is found by parts of words, too, and of documents that are not indexed yet.
    `collection` is the primary key of the only one that is looked at, or empty.
    """
    words = words.replace("\0", "")
    named = Q()
    for word in words.split()[:10]:
        named &= Q(title__icontains=word) | Q(external_id__icontains=word)
    if not named:
        return documents
    return documents.filter(named | Q(pk__in=holding(words, collection)))


def holding(words: str, collection: str) -> list[int]:
    """Primary keys of documents that hold the words in one passage that is searched."""
    scope = ""
    if collection.isdecimal():
        chosen = Collection.objects.filter(pk=int(collection)).select_related("live_index").first()
        index = chosen.live_index if chosen else None
        if index is None:
            return []
        scope = index.scope
    try:
        found = lexical_index().find(words, PASSAGES, scope)
    except DatabaseError:
        # Names can still be searched, and the status page says what is wrong.
        logger.exception("the lexical index cannot answer")
        return []
    rows = Chunk.objects.live().filter(pk__in=found)
    return list(rows.order_by().values_list("document", flat=True).distinct())
