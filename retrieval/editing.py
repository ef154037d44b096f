"""A passage that somebody corrects: a new version of its document, with that text in it.

The edited version is Markdown with its front matter, whatever the source was; the source stays
below it as the version before. It is kept until the source changes: reading the same bytes
again changes nothing (`EDITED_FROM`). As with any new version, the old one is searched until
the new one is indexed, a reindex keeps it, and restoring the version before undoes it.
"""

from pathlib import PurePosixPath
from typing import Any

import yaml
from django.db import transaction

from retrieval.exceptions import InvalidRequest, KnowledgeBaseError
from retrieval.hashing import bytes_hash
from retrieval.ingest import EDITED_FROM, source_hash, store_original
from retrieval.models import Chunk, Document, Revision
from retrieval.models.revision import STAGED
from retrieval.parsers import parse
from retrieval.tasks import notify
from retrieval.types import MetadataValue


def edit_chunk(chunk_id: int, text: str, *, staged: bool = False) -> Revision:
    """Replace a chunk's text in its document; returns the new version, which is queued, to be
    searched as soon as it is indexed or, if it is staged, once somebody publishes it.

    Raises InvalidRequest, and changes nothing, if the text is empty or unchanged, or the
    chunk does not belong to the newest version any more.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not any(map(str.isalnum, text)):
        raise InvalidRequest(
            "A passage needs some text. To hide it instead, keep it out of search."
        )
    with transaction.atomic():
        chunk = Chunk.objects.filter(pk=chunk_id).first()
        document = (
            Document.objects.select_for_update(of=("self",))
            .filter(pk=chunk.document_id, deleted_at=None)
            .first()
            if chunk
            else None
        )
        if chunk is None or document is None or document.live_revision_id != chunk.revision_id:
            raise InvalidRequest("This passage is gone: the document has changed meanwhile.")
        if Revision.objects.staged().filter(pk=document.latest_revision_id or 0).exists():
            raise InvalidRequest(
                "Another change of this document waits for a decision among the questions to "
                "review. Decide on that one first."
            )
        if document.latest_revision_id != document.live_revision_id:
            raise InvalidRequest(
                "A newer version of this document is not indexed yet. Edit that one once it is."
            )
        if text == chunk.text:
            raise InvalidRequest("Nothing was changed.")
        revision = _edited(document, chunk, text, {STAGED: []} if staged else {})
        document.latest_revision = revision
        document.save(update_fields=["latest_revision", "updated_at"])
        notify()
    return revision


def _edited(document: Document, chunk: Chunk, text: str, options: dict[str, Any]) -> Revision:
    live = Revision.objects.get(pk=chunk.revision_id)
    whole = live.text[: chunk.start] + text + live.text[chunk.end :]
    filename = f"{PurePosixPath(live.filename).stem or 'document'}.md"
    data = as_markdown(live.title, live.metadata, whole, filename)
    revision = Revision(
        document=document,
        number=document.next_number(),
        filename=filename,
        size=len(data),
        content_hash=bytes_hash(data),
        # Asked for by name, so it is not kept out of search for being like another.
        options={
            **live.options,
            "keep_duplicate": True,
            EDITED_FROM: source_hash(live),
            **options,
        },
    )
    revision.original.name = store_original(revision, data)
    revision.save(force_insert=True)
    return revision


def as_markdown(title: str, metadata: dict[str, MetadataValue], text: str, filename: str) -> bytes:
    """A file that is read as exactly this text and front matter.

    The title joins the front matter where the text does not give it. Raises InvalidRequest if
    the text cannot be told from something else.
    """
    try:
        for fields in (metadata, {**metadata, "title": title}):
            header = yaml.safe_dump(fields, allow_unicode=True, sort_keys=False) if fields else ""
            data = f"---\n{header}---\n\n{text}\n".encode()
            if parse(filename, data).title == title:
                return data
    except KnowledgeBaseError as error:
        raise InvalidRequest(f"The text cannot be saved like this: {error.message}") from error
    return data
