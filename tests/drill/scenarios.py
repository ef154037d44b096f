"""Two breakdowns that are no crash: Chroma's folder is deleted, Chroma is stopped for a while."""

import re
import shutil
from collections.abc import Callable, Sequence

import httpx
from django.conf import settings

from retrieval.ingest import accept
from retrieval.models import Chunk, Collection, Document, Embedding
from tests.drill.checks import Check, check_state
from tests.drill.notes import Note
from tests.drill.processes import Service, wait_until
from tests.drill.searcher import ask

#: Seconds until everything is in step again.
CONVERGE_WITHIN = 180.0
#: Bytes of an index's file that holds 100 vectors of 384 dimensions and their neighbours.
SIZE_BEFORE_PERSIST = 167_600


def delete_chroma_folder(
    crew: dict[str, Service],
    collection: Collection,
    notes: Sequence[Note],
    key: str,
    say: Callable[[str], None],
) -> list[Check]:
    """Everything stopped, Chroma's folder deleted, everything started: rebuilt from the
    database, and not one text embedded.

    The prepared model is moved away meanwhile: whoever tried to embed anything would fail.
    """
    for name in ("web", "worker", "chroma"):
        crew[name].stop()
    say("everything stopped; deleting Chroma's folder and hiding the embedding model")
    shutil.rmtree(settings.CHROMA_DIR)
    hidden = settings.MODEL_DIR.with_name("models-hidden")
    settings.MODEL_DIR.rename(hidden)
    before = Embedding.objects.count()
    log = crew["worker"].log
    begin = log.stat().st_size
    try:
        crew["chroma"].start()
        crew["worker"].start()
        rebuilt = wait_until(
            lambda: all(check.passed for check in check_state(collection, notes)),
            CONVERGE_WITHIN,
            every=1,
        )
        written = log.read_bytes()[begin:].decode()
    finally:
        hidden.rename(settings.MODEL_DIR)
    crew["web"].start()
    wait_until(lambda: answers(key, collection.slug), 60)
    embedded = Embedding.objects.count() - before
    lines = re.findall(r"index \S+: .* repaired; (\d+) texts embedded", written)
    for line in written.splitlines():
        if "repaired" in line:
            say(f"the worker says: {line.split(': ', 1)[-1]}")
    chunks = Chunk.objects.live().filter(document__collection=collection).count()
    wrong = []
    if not rebuilt:
        wrong.append(f"not rebuilt within {CONVERGE_WITHIN:.0f} s")
    if embedded:
        wrong.append(f"{embedded} embeddings were added")
    if not lines or any(int(count) for count in lines):
        wrong.append(f"the worker's log gives {lines} as the texts embedded")
    return [Check("chunks rebuilt from the database with 0 texts embedded", chunks, wrong)]


def kill_while_persisting(
    crew: dict[str, Service],
    collection: Collection,
    notes: Sequence[Note],
    key: str,
    say: Callable[[str], None],
) -> list[Check]:
    """Chroma is killed at the moment in which it begins to write an index to its files, which
    may damage that index. It is sent everything anew for that, as after the loss of its
    folder."""
    crew["chroma"].stop()
    shutil.rmtree(settings.CHROMA_DIR)
    before, served_by = Embedding.objects.count(), collection.live_index_id
    crew["chroma"].start()
    caught = wait_until(is_persisting, 120, every=0.001)
    crew["chroma"].kill()
    say("Chroma killed while it persisted" if caught else "Chroma did not persist; killed")
    crew["chroma"].start()
    wrong = []
    note = next(note for note in notes if note.text is not None)

    def is_in_step() -> bool:
        answer = ask(settings.LOCAL_URL, key, collection.slug, note.phrase)
        hits = answer.json().get("results", []) if answer.is_success else []
        if note.external_id not in [hit["external_id"] for hit in hits]:
            wrong.append(f"meanwhile a search answered {answer.status_code} without the note")
        if (code := crew["chroma"].revive()) is not None:
            say(f"Chroma ended by itself with {code}; started again")
        return all(check.passed for check in check_state(collection, notes))

    if not wait_until(is_in_step, CONVERGE_WITHIN, every=0.5):
        wrong.append(f"not in step within {CONVERGE_WITHIN:.0f} s")
    collection.refresh_from_db()
    how = "was mended" if collection.live_index_id == served_by else "was built again beside"
    say(f"the index {how}")
    if Embedding.objects.count() != before:
        wrong.append(f"{Embedding.objects.count() - before} embeddings were added")
    chunks = Chunk.objects.live().filter(document__collection=collection).count()
    return [Check("killed while persisting: rebuilt, searched all the time", chunks, wrong)]


def is_persisting() -> bool:
    """Whether the vectors of an index have begun to be written: until then their file is
    small, made for a hundred."""
    try:
        return any(
            path.stat().st_size > SIZE_BEFORE_PERSIST
            for path in settings.CHROMA_DIR.glob("*/data_level0.bin")
        )
    except FileNotFoundError:
        return False


def stop_chroma(
    crew: dict[str, Service],
    collection: Collection,
    notes: Sequence[Note],
    extra: Sequence[Note],
    key: str,
    say: Callable[[str], None],
) -> list[Check]:
    """Uploads are accepted and searches answered from words; then everything syncs by itself."""
    crew["chroma"].stop()
    say("Chroma stopped; uploading and searching")
    for note in extra:
        accept(
            collection,
            external_id=note.external_id,
            filename=note.external_id,
            data=(note.text or "").encode(),
            origin=Document.Origin.UPLOAD,
        )
    wrong = []
    asked = [note for note in notes if note.text is not None][:20]
    for note in asked:
        answer = ask(settings.LOCAL_URL, key, collection.slug, note.phrase)
        if answer.status_code != 200:
            wrong.append(f"{note.phrase!r} answered {answer.status_code}")
        elif not answer.json()["degraded"]:
            wrong.append(f"{note.phrase!r} is not marked as degraded")
        elif note.external_id not in [hit["external_id"] for hit in answer.json()["results"]]:
            wrong.append(f"{note.phrase!r} does not find {note.external_id}")
    everything = [*notes, *extra]
    # Long enough for the worker to have tried, and failed, a few times.
    wait_until(lambda: False, 6)
    crew["chroma"].start()
    say("Chroma started again")
    synced = wait_until(
        lambda: all(check.passed for check in check_state(collection, everything)),
        CONVERGE_WITHIN,
        every=1,
    )
    return [
        Check("searches without Chroma: lexical, marked degraded", len(asked), wrong),
        Check(
            "uploads accepted without Chroma, synced without a command",
            len(extra),
            [] if synced else [f"not synced within {CONVERGE_WITHIN:.0f} s"],
        ),
    ]


def answers(key: str, slug: str) -> bool:
    """Whether the web process answers a search."""
    try:
        return ask(settings.LOCAL_URL, key, slug, "ready").is_success
    except httpx.TransportError:
        return False
