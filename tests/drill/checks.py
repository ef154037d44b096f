"""What has to be true in the end, read from the database and from Chroma itself.

Chroma is asked over its own HTTP interface, not through the code under test.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from django.conf import settings
from django.db import connection

from retrieval.factories import chunker_for
from retrieval.hashing import bytes_hash, text_hash
from retrieval.models import Chunk, Collection, Document, Embedding, Index, Revision
from tests.drill.notes import Note
from tests.drill.searcher import ask

API = "/api/v2/tenants/default_tenant/databases/default_database/collections"
PAGE = 500
#: Stored as float32 on both sides, and given back as it came.
VECTOR_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: how many were looked at, and which of them are wrong."""

    name: str
    looked_at: int
    wrong: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.wrong

    def __str__(self) -> str:
        line = f"{'ok  ' if self.passed else 'FAIL'}  {self.name:<58} {self.looked_at:>6}"
        if not self.passed:
            shown = "\n        ".join(self.wrong[:5])
            line += f"  {len(self.wrong)} wrong:\n        {shown}"
        return line


def check_state(collection: Collection, notes: Sequence[Note]) -> list[Check]:
    """All checks but those that search; cheap enough to be repeated until they pass."""
    return [
        check_accepted(collection, notes),
        check_texts(collection, notes),
        check_work(),
        *check_vectors(collection),
        check_words(collection),
    ]


def check_accepted(collection: Collection, notes: Sequence[Note]) -> Check:
    """Every accepted document is indexed, in its newest version; deleted ones are gone."""
    documents = {
        document.external_id: document
        for document in Document.objects.filter(collection=collection).select_related(
            "live_revision"
        )
    }
    wrong = []
    for note in notes:
        document = documents.get(note.external_id)
        if document is None:
            wrong.append(f"{note.external_id}: accepted, and not in the database")
        elif note.text is None:
            if document.deleted_at is None:
                wrong.append(f"{note.external_id}: was deleted and is back")
        elif problem := _wrong_with(document, note.text):
            wrong.append(f"{note.external_id}: {problem}")
    known = {note.external_id for note in notes}
    wrong += [f"{name}: nobody handed it over" for name in documents if name not in known]
    return Check("accepted documents indexed in their newest version", len(notes), wrong)


def _wrong_with(document: Document, text: str) -> str:
    live = document.live_revision
    if document.deleted_at is not None:
        return "is marked as deleted"
    if live is None or live.content_hash != bytes_hash(text.encode()):
        latest = document.latest_revision
        return f"not live ({latest.state}: {latest.failure_message})" if latest else "no version"
    if live.state != Revision.State.INDEXED:
        return f"live, and yet {live.state}"
    return "" if live.chunks.exists() else "has no chunks"


def check_texts(collection: Collection, notes: Sequence[Note]) -> Check:
    """The chunks of each document hold the words that were handed over, once."""
    texts: dict[str, list[str]] = {}
    rows = _live(collection).order_by("document", "order")
    for name, text in rows.values_list("document__external_id", "text"):
        texts.setdefault(name, []).append(text)
    wrong = []
    for note in notes:
        held = "".join("\n".join(texts.get(note.external_id, [])).split())
        phrase = "".join(note.phrase.split())
        if note.text is None and held:
            wrong.append(f"{note.external_id}: deleted, and still has live chunks")
        elif note.text is not None and held.count(phrase) != 1:
            wrong.append(f"{note.external_id}: holds its phrase {held.count(phrase)} times")
    return Check("documents whose live chunks hold their phrase once", len(notes), wrong)


def check_work() -> Check:
    """No row left in work, waiting, failed, to be cleaned up, or under a lease."""
    wrong = [
        f"{revision} is {revision.state}: {revision.failure_message}"
        for revision in Revision.objects.unfinished() | Revision.objects.failed()
    ]
    wrong += [f"{revision} is not cleaned up" for revision in Revision.objects.awaiting_cleanup()]
    wrong += [f"{revision} is still held" for revision in Revision.objects.exclude(lease_owner="")]
    wrong += [
        f"{index} is {index.state}: {index.failure_message}"
        # A damaged one that was built again is dropped when its hour comes.
        for index in Index.objects.filter(state__in=[Index.State.BUILDING, Index.State.READY])
    ]
    gone = Chunk.objects.filter(revision__cleaned_at__isnull=False)
    wrong += [f"chunk {chunk.pk} outlived its revision" for chunk in gone[:20]]
    return Check("rows, none of them left in work", Revision.objects.count(), wrong)


def check_vectors(collection: Collection) -> Iterator[Check]:
    """Chroma holds every live chunk once, with its hash and its vector, and nothing else."""
    collection.refresh_from_db()
    index = collection.live_index
    assert index is not None
    expected = {
        str(pk): digest
        for pk, digest in _live(collection)
        .filter(chunking=index.chunking)
        .values_list("pk", "text_hash")
    }
    try:
        records = list(_records(index.physical_name))
    except httpx.HTTPError as error:
        yield Check("live chunks in Chroma", len(expected), [f"Chroma cannot be read: {error}"])
        return
    times = Counter(id_ for id_, _, _ in records)
    yield Check(
        "live chunks in Chroma exactly once",
        len(expected),
        [f"chunk {id_} is there {times[id_]} times" for id_ in expected if times[id_] != 1],
    )
    yield Check(
        "records in Chroma, none an orphan",
        len(records),
        [f"record {id_} has no live chunk" for id_ in times if id_ not in expected],
    )
    yield Check(
        "records in Chroma with the right hash",
        len(records),
        [
            f"record {id_} has the hash {digest}, the chunk {expected[id_]}"
            for id_, digest, _ in records
            if id_ in expected and digest != expected[id_]
        ],
    )
    stored = {
        digest: Embedding.unpack(vector)
        for digest, vector in Embedding.objects.filter(
            embedding_model=index.embedding_model
        ).values_list("text_hash", "vector")
    }
    yield Check(
        "records in Chroma with the stored vector",
        len(records),
        [
            f"record {id_} has another vector"
            for id_, digest, vector in records
            if digest not in stored or np.abs(stored[digest] - vector).max() > VECTOR_TOLERANCE
        ],
    )
    chunker = chunker_for(index)
    yield Check(
        "chunks whose hash is that of their text",
        len(expected),
        [
            f"chunk {chunk.pk}"
            for chunk in _live(collection).select_related("revision").iterator(chunk_size=PAGE)
            if chunk.text_hash
            != text_hash(
                chunker.embedding_text(chunk.revision.title, tuple(chunk.heading_path), chunk.text)
            )
        ],
    )


def _live(collection: Collection) -> Any:
    return Chunk.objects.live().filter(document__collection=collection)


def _records(name: str) -> Iterator[tuple[str, str, "np.ndarray[Any, np.dtype[np.float32]]"]]:
    """(id, hash, vector) of every record."""
    with httpx.Client(base_url=settings.CHROMA_URL, timeout=60, trust_env=False) as client:
        answer = client.get(f"{API}/{name}")
        answer.raise_for_status()
        where = f"{API}/{answer.json()['id']}/get"
        offset = 0
        while True:
            answer = client.post(
                where,
                json={"limit": PAGE, "offset": offset, "include": ["metadatas", "embeddings"]},
            )
            answer.raise_for_status()
            page = answer.json()
            for id_, metadata, vector in zip(
                page["ids"], page["metadatas"], page["embeddings"], strict=True
            ):
                yield id_, metadata["hash"], np.array(vector, dtype=np.float32)
            if len(page["ids"]) < PAGE:
                return
            offset += PAGE


def check_words(collection: Collection) -> Check:
    """The lexical index holds exactly the chunks that have rows."""
    chunks = set(Chunk.objects.filter(document__collection=collection).values_list("pk", flat=True))
    others = Chunk.objects.exclude(document__collection=collection)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT chunk_id FROM retrieval_lexical"
            if connection.vendor == "postgresql"
            else "SELECT id FROM retrieval_lexical_docsize"
        )
        held = {row[0] for row in cursor.fetchall()} - set(others.values_list("pk", flat=True))
    return Check(
        "chunks in the lexical index, none missing, no orphan",
        len(chunks),
        [f"chunk {pk} is missing" for pk in chunks - held]
        + [f"entry {pk} is an orphan" for pk in held - chunks],
    )


def check_searches(notes: Sequence[Note], address: str, key: str, slug: str) -> list[Check]:
    """A search finds each document by its phrase, and none by a phrase that is outdated."""
    missed, haunted = [], []
    outdated = 0
    for note in notes:
        if note.text is not None:
            answer = ask(address, key, slug, note.phrase).json()
            names = [result["external_id"] for result in answer.get("results", [])]
            if note.external_id not in names:
                missed.append(f"{note.external_id}: {note.phrase!r} finds {names}")
            elif answer["degraded"]:
                missed.append(f"{note.external_id}: degraded ({answer['degraded_reason']})")
        for phrase in note.outdated:
            outdated += 1
            results = ask(address, key, slug, phrase).json().get("results", [])
            if any(phrase in result["text"] for result in results):
                haunted.append(f"{note.external_id}: {phrase!r} is still found")
    alive = sum(note.text is not None for note in notes)
    return [
        Check("documents found by their phrase, not degraded", alive, missed),
        Check("outdated or deleted phrases, not found", outdated, haunted),
    ]
