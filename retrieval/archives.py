"""A ZIP → one document for each file in it.

The archive itself is accepted like any file, so nothing is lost if the worker dies; taking it
apart twice changes nothing. Its row says how many documents came out, or why none did.
"""

from django.db import transaction
from django.utils import timezone

from retrieval.exceptions import FileTooLarge
from retrieval.ingest import accept
from retrieval.models import Document, Revision
from retrieval.parsers import Limits, expand


def unpack(owner: str, revision: Revision, data: bytes, limits: Limits) -> None:
    """Accept the members of an archive as documents, and delete those it no longer has.

    Raises ParseError, before anything is accepted, if the archive is unsafe or damaged.
    """
    archive = revision.document
    members = expand(data, limits)
    source = archive.member_source
    names = {f"{archive.external_id}/{member.name}" for member in members}
    refused: list[str] = []
    for member in members:
        try:
            accept(
                archive.collection,
                external_id=f"{archive.external_id}/{member.name}",
                filename=member.name,
                data=member.data,
                origin=Document.Origin(archive.origin),
                source=source,
                options=revision.options,
            )
        except FileTooLarge as error:
            refused.append(error.message)
    if refused and len(refused) == len(members):
        raise FileTooLarge(f"No file of this archive could be taken: {refused[0]}")
    with transaction.atomic():
        for document in Document.objects.filter(
            collection=archive.collection_id, source=source, deleted_at=None
        ):
            if document.external_id not in names:
                document.tombstone()
        _finish(owner, revision, len(members) - len(refused), refused)


def _finish(owner: str, revision: Revision, taken: int, refused: list[str]) -> None:
    now = timezone.now()
    sentence = f"{taken} documents were taken out of this archive."
    Revision.objects.filter(pk=revision.pk).held_by(owner).update(
        state=Revision.State.SKIPPED,
        state_at=now,
        finished_at=now,
        failure_code="unpacked",
        failure_message=" ".join([sentence, *refused[:3]]),
        lease_owner="",
        lease_until=None,
    )
