"""Two breakdowns that are no crash: Chroma's folder is deleted, Chroma is stopped for a while."""

import os
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


def damage_chroma(
    crew: dict[str, Service],
    collection: Collection,
    notes: Sequence[Note],
    key: str,
    say: Callable[[str], None],
) -> list[Check]:
    """What a kill in the middle of a persist leaves: files of the index cut short. The server
    starts, its heartbeat is green, and it cannot read the index; nobody uploads anything that
    would run into it."""
    crew["chroma"].stop()
    files = [path for path in settings.CHROMA_DIR.glob("*/*.bin") if path.stat().st_size > 1]
    for path in files:
        os.truncate(path, path.stat().st_size // 2)
    say(f"Chroma stopped, {len(files)} of its files cut in half, started again")
    before = Embedding.objects.count()
    damaged = collection.live_index_id
    crew["chroma"].start()
    wrong = []
    asked = next(note for note in notes if note.text is not None)

    def is_replaced() -> bool:
        answer = ask(settings.LOCAL_URL, key, collection.slug, asked.phrase)
        hits = answer.json().get("results", []) if answer.is_success else []
        if asked.external_id not in [hit["external_id"] for hit in hits]:
            wrong.append(f"meanwhile a search answered {answer.status_code} without the note")
        collection.refresh_from_db()
        return collection.live_index_id != damaged

    if not wait_until(is_replaced, CONVERGE_WITHIN, every=0.5):
        wrong.append(f"not built again within {CONVERGE_WITHIN:.0f} s")
    wait_until(
        lambda: all(check.passed for check in check_state(collection, notes)),
        CONVERGE_WITHIN,
        every=1,
    )
    if Embedding.objects.count() != before:
        wrong.append(f"{Embedding.objects.count() - before} embeddings were added")
    return [Check("damaged files: built again beside, searched all the time", len(files), wrong)]


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
