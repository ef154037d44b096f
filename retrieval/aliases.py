"""Questions that lead to a passage: kept beside it wherever its text is cut anew.

An alias stands in the lexical index and in Chroma under an id above all chunks'. A search that
hits it returns the passage itself, read back like any other: what is hidden or deleted answers
no alias either (law 2).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from django.db import transaction
from django.utils import timezone

from retrieval.asked_before import SAME_QUESTION, likeness
from retrieval.embeddings import Vectors, stored_embeddings
from retrieval.factories import embedder_for
from retrieval.fusion import similarity
from retrieval.hashing import text_hash
from retrieval.lexical import lexical_index
from retrieval.likeness import SAME_WORDS, numbers_of, shared, terms, topic
from retrieval.models import (
    Alias,
    AliasPlace,
    Chunk,
    Collection,
    Document,
    Embedding,
    EmbeddingModel,
    Index,
    Revision,
)
from retrieval.models.revision import STAGED
from retrieval.prepared import Prepared, padded
from retrieval.types import (
    FIRST_ALIAS_ID,
    DenseCandidate,
    LexicalCandidate,
    LexicalEntry,
    is_alias_id,
)

C = TypeVar("C", DenseCandidate, LexicalCandidate)


def hash_of(question: str) -> str:
    """Under which the embedding of a question is kept: models may read questions otherwise than
    documents."""
    return text_hash(f"query\0{question}")


# --- Where they lead --------------------------------------------------------------------------


def create(
    document: Document, questions: Iterable[str], text: str, *, staged: bool = False
) -> list[Alias]:
    """Let questions lead to a passage of a document. Call it inside a transaction.

    Words are found at once, meaning as soon as `sync.send_aliases` was called; in a version that
    is still to be indexed both are found once it is; of staged ones neither before they are
    published. Questions that lead there already are left out.
    """
    known = set(
        Alias.objects.all()
        .active()
        .filter(document=document, text=text, is_staged=False)
        .values_list("question", flat=True)
    )
    fresh = [question for question in dict.fromkeys(questions) if question not in known]
    aliases = Alias.objects.bulk_create(
        Alias(
            document=document,
            question=question,
            question_hash=hash_of(question),
            text=text,
            is_staged=staged,
        )
        for question in fresh
    )
    Collection.objects.filter(pk=document.collection_id).update(has_aliases=True)
    revision = document.live_revision
    if revision is None or not aliases:
        return aliases
    for index in _distinct(Index.objects.active().filter(collection=document.collection_id)):
        chunks = list(
            Chunk.objects.filter(revision=revision, chunking=index.chunking).order_by("order")
        )
        _place(aliases, revision, chunks, index.scope)
    return aliases


def publish(alias_ids: Sequence[int], scopes: Mapping[str, str]) -> None:
    """Let searches follow staged aliases from this commit on. `scopes` is by chunking."""
    Alias.objects.filter(pk__in=alias_ids).publish()
    chunks = Chunk.objects.filter(alias_places__alias__in=alias_ids).select_related("revision")
    rescope([chunk for chunk in chunks if STAGED not in chunk.revision.options], scopes)


def _distinct(indexes: Iterable[Index]) -> Iterable[Index]:
    """One of those that share their chunks."""
    return {index.chunking: index for index in indexes}.values()


def carry(
    written: Mapping[int, Mapping[str, Sequence[Chunk]]],
    revisions: Iterable[Revision],
    scopes: Mapping[tuple[int, str], str],
) -> None:
    """Let the aliases of documents lead to chunks that were just written of them.

    `written` and `scopes` are by revision and chunking, as `chunks.write_chunks` has them. Call
    it in the transaction that writes the chunks.
    """
    by_document = {revision.document_id: revision for revision in revisions}
    aliases: dict[int, list[Alias]] = defaultdict(list)
    for alias in Alias.objects.all().active().filter(document__in=by_document).order_by("pk"):
        aliases[alias.document_id].append(alias)
    for document_id, group in aliases.items():
        revision = by_document[document_id]
        for chunking, chunks in written[revision.pk].items():
            _place(group, revision, chunks, scopes[revision.pk, chunking])


def _place(
    aliases: Iterable[Alias], revision: Revision, chunks: Sequence[Chunk], scope: str
) -> None:
    wanted = [
        AliasPlace(alias=alias, chunk=chunk)
        for alias in aliases
        if (chunk := _saying(alias.text, revision.text, chunks)) is not None
    ]
    there = set(
        AliasPlace.objects.filter(chunk__in={place.chunk_id for place in wanted}).values_list(
            "alias", "chunk"
        )
    )
    fresh = AliasPlace.objects.bulk_create(
        place for place in wanted if (place.alias_id, place.chunk_id) not in there
    )
    heard = [
        place
        for place in fresh
        if not (place.alias.is_staged or STAGED in place.chunk.revision.options)
    ]
    if heard:
        lexical_index().add(scope, [_words(place) for place in heard])


def _saying(passage: str, text: str, chunks: Sequence[Chunk]) -> Chunk | None:
    """The chunk that holds most of a passage; None where the text does not say it any more."""
    start = text.find(passage)
    if start < 0 or not chunks:
        return None
    end = start + len(passage)
    best = max(chunks, key=lambda chunk: min(chunk.end, end) - max(chunk.start, start))
    return best if min(best.end, end) > max(best.start, start) else None


def _words(place: AliasPlace) -> LexicalEntry:
    body = topic(place.alias.question)
    return LexicalEntry(chunk_id=place.record_id, title="", headings="", body=body)


def flag_stale(document_ids: Iterable[int]) -> None:
    """Note which aliases of documents lead nowhere in the version that is searched now."""
    rows = list(
        Alias.objects.all()
        .active()
        .filter(document__in=list(document_ids))
        .values_list("pk", "document__live_revision", "is_stale")
    )
    if not rows:
        return
    placed = set(
        AliasPlace.objects.filter(
            alias__in=[pk for pk, *_ in rows], chunk__revision__in={live for _, live, _ in rows}
        ).values_list("alias", flat=True)
    )
    for stale in (True, False):
        changed = [pk for pk, _live, was in rows if was != stale and (pk not in placed) == stale]
        Alias.objects.filter(pk__in=changed).update(is_stale=stale)


# --- What follows the chunks ------------------------------------------------------------------


def record_ids(chunk_ids: Iterable[int]) -> list[int]:
    """Under which ids Chroma and the lexical index hold the aliases of chunks."""
    places = AliasPlace.objects.filter(chunk__in=list(chunk_ids))
    return [FIRST_ALIAS_ID + pk for pk in places.values_list("pk", flat=True)]


def rescope(chunks: Sequence[Chunk], scopes: Mapping[str, str]) -> None:
    """Write the words of the aliases of chunks into parts of the lexical index, by chunking, and
    only there."""
    places = list(
        AliasPlace.objects.filter(
            chunk__in=[chunk.pk for chunk in chunks], alias__is_staged=False
        ).select_related("alias", "chunk")
    )
    if not places:
        return
    lexical_index().remove([place.record_id for place in places])
    by_scope: dict[str, list[LexicalEntry]] = defaultdict(list)
    for place in places:
        by_scope[scopes[place.chunk.chunking]].append(_words(place))
    for scope, entries in by_scope.items():
        lexical_index().add(scope, entries)


def vectors_of(model: EmbeddingModel, questions: Mapping[str, str]) -> Vectors:
    """Vectors of questions by their hash: stored ones, or computed once and stored."""
    vectors = stored_embeddings(model.pk, questions)
    missing = {digest: text for digest, text in questions.items() if digest not in vectors}
    for digest, text in missing.items():
        vectors[digest] = embedder_for(model).embed_query(text)
    Embedding.objects.bulk_create(
        [
            Embedding(
                embedding_model=model, text_hash=digest, vector=Embedding.pack(vectors[digest])
            )
            for digest in missing
        ],
        ignore_conflicts=True,
    )
    return vectors


def clean_up(limit: int = 200) -> int:
    """Take retired aliases out of Chroma and the lexical index; returns how many.

    Searches have not followed them since they were retired.
    """
    from retrieval.factories import vector_store
    from retrieval.sync import delete_records

    aliases = list(
        Alias.objects.all().awaiting_cleanup().select_related("document").order_by("pk")[:limit]
    )
    by_collection: dict[int, list[Alias]] = defaultdict(list)
    for alias in aliases:
        by_collection[alias.document.collection_id].append(alias)
    for collection_id, group in by_collection.items():
        places = AliasPlace.objects.filter(alias__in=group)
        ids = [FIRST_ALIAS_ID + pk for pk in places.values_list("pk", flat=True)]
        delete_records(vector_store(), collection_id, ids)
        with transaction.atomic():
            lexical_index().remove(ids)
            places.filter(pk__in=[pk - FIRST_ALIAS_ID for pk in ids]).delete()
            Alias.objects.filter(pk__in=[alias.pk for alias in group]).update(
                cleaned_at=timezone.now()
            )
            left = Alias.objects.all().active().filter(document__collection=collection_id)
            if not left.exists():
                Collection.objects.filter(pk=collection_id).update(has_aliases=False)
    return len(aliases)


# --- In a search ------------------------------------------------------------------------------

_places = Prepared(
    lambda values: (
        AliasPlace.objects.filter(pk__in=values, alias__retired_at=None, alias__is_staged=False)
        .order_by()
        .values_list("pk", "chunk_id", "alias__question")
    )
)


def hashes_of(chunk_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Record ids and hashes of the aliases of chunks."""
    places = AliasPlace.objects.filter(
        chunk__in=chunk_ids, alias__retired_at=None, alias__is_staged=False
    )
    rows = places.values_list("pk", "alias__question_hash")
    return [(FIRST_ALIAS_ID + pk, digest) for pk, digest in rows]


def follow(
    query: str, dense: list[DenseCandidate], lexical: list[LexicalCandidate], index: Index
) -> tuple[list[DenseCandidate], list[LexicalCandidate]]:
    """Candidates with the chunk in the place of its alias, each chunk once, best first.

    A question that says the same as the query in other words is as good as its share of common
    terms: BM25 takes every word that it does not hold for the rarest one, also those of which all
    questions are made. Where it shares none, its vector says so (`likeness`).
    """
    ids = {item.chunk_id for item in dense if is_alias_id(item.chunk_id)}
    ids |= {item.chunk_id for item in lexical if is_alias_id(item.chunk_id)}
    if not ids:
        return dense, lexical
    rows = _places.rows(padded([id_ - FIRST_ALIAS_ID for id_ in sorted(ids)]))
    leads = {FIRST_ALIAS_ID + pk: (chunk_id, question) for pk, chunk_id, question in rows}
    about = terms(query)
    near: dict[int, DenseCandidate] = {}
    alike: dict[int, float] = {}
    for nearest in dense:
        if nearest.chunk_id in leads:
            chunk_id, question = leads[nearest.chunk_id]
            near[nearest.chunk_id] = nearest._replace(chunk_id=chunk_id)
            if numbers_of(terms(question)) == numbers_of(about):
                share = likeness(similarity(nearest.distance, index.space), index.embedding_model)
                if share >= SAME_QUESTION:
                    alike[chunk_id] = max(share, alike.get(chunk_id, 0.0))
    said = {}
    for item in lexical:
        if item.chunk_id in leads:
            chunk_id, question = leads[item.chunk_id]
            score = max(item.score, _likeness(about, terms(question)))
            said[item.chunk_id] = item._replace(chunk_id=chunk_id, score=score)
    words = [said.get(item.chunk_id, item) for item in lexical]
    found = _once(near.get(item.chunk_id, item) for item in dense)
    return (
        [item._replace(likeness=alike.get(item.chunk_id)) for item in found],
        _once(sorted(words, key=lambda item: -item.score)),
    )


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    if numbers_of(one) != numbers_of(other):
        return 0.0
    share = shared(one, other)
    return share if share >= SAME_WORDS else 0.0


def _once(candidates: Iterable[C]) -> list[C]:
    """Each chunk by its first candidate; an alias that leads nowhere is none."""
    found: dict[int, C] = {}
    for item in candidates:
        if not is_alias_id(item.chunk_id):
            found.setdefault(item.chunk_id, item)
    return list(found.values())
