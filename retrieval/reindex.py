"""A new index beside the live one, then the switch (law 7).

The work is on rows: an Index in the state `building` is filled step by step by whichever
worker holds its lease, and goes on where it stopped. Meanwhile every change of a document
goes to both (indexing.py writes to all active indexes), and searches use the old one. What
is known is never embedded again: vectors are looked up by the hash of their text.
"""

import logging
import random
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from retrieval import indexing, sync
from retrieval.chunks import forget_chunks
from retrieval.embeddings import stored_embeddings
from retrieval.exceptions import ReindexRefused, VerificationFailed
from retrieval.factories import vector_store
from retrieval.fusion import distances_to
from retrieval.leases import free_of_others
from retrieval.models import Chunk, Collection, Document, Index, Trial
from retrieval.models.document import DocumentQuerySet

logger = logging.getLogger(__name__)

#: Documents that are filled in at once.
FILL_BATCH = 64
#: Chunks whose own vector has to find them before an index may go live.
SAMPLE_SIZE = 20
#: An approximate index may miss its own vector now and then.
SAMPLE_MUST_FIND = 0.9
SAMPLE_DEPTH = 10
#: Distances nearer together than this are the same, within single precision.
SAME_DISTANCE = 1e-3
#: Tries before a new index that fails its verification is given up.
MAX_VERIFICATIONS = 3


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked before the switch."""

    expected: int  #: live chunks in the database
    found: int  #: of these, how many Chroma holds with the right hash
    sampled: int  #: chunks whose vector was asked for
    self_found: int  #: of these, how many were among the nearest

    @property
    def passed(self) -> bool:
        return self.expected == self.found and self.self_found >= self.sampled * SAMPLE_MUST_FIND


def start(collection: Collection, **changes: Any) -> Index:
    """Begin an index beside the live one, with its settings but for `changes`.

    Raises ReindexRefused if one is being built already, or there is nothing to build from.
    """
    with transaction.atomic():
        locked = Collection.objects.select_for_update(of=("self",)).get(pk=collection.pk)
        if Index.objects.building().filter(collection=locked).exists():
            raise ReindexRefused(
                f"{collection.slug} is being reindexed already; wait for it or cancel it."
            )
        if Trial.objects.open().filter(collection=locked).exists():
            raise ReindexRefused(
                f"Other settings of {collection.slug} are being tried: switch to them or discard "
                "them first."
            )
        live = locked.live_index
        if live is None:
            raise ReindexRefused(f"{collection.slug} has no index to start from.")
        wanted = {**live.settings, **changes}
        if wanted["chunk_overlap"] >= wanted["chunk_size"]:
            raise ReindexRefused("The overlap must be smaller than the chunk size.")
        return Index.objects.create(
            collection=locked,
            replaces=live,
            state=Index.State.BUILDING,
            progress_total=unfilled_base(locked).count(),
            **wanted,
        )


def cancel(index: Index) -> None:
    """Give up a building index, and what was tried with it; the live one was never touched."""
    if Index.objects.filter(pk=index.pk, state=Index.State.BUILDING).update(
        state=Index.State.RETIRED, retired_at=timezone.now(), failure_message="Cancelled."
    ):
        Trial.objects.open().filter(index=index).update(
            state=Trial.State.DISCARDED, decided_at=timezone.now()
        )
        drop(index)


def claim(owner: str) -> Index | None:
    """A building index that nobody works on, with a lease."""
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now) | Q(lease_owner=owner)
    waiting = Index.objects.building().filter(free)
    if not waiting.exists():
        return None  # nearly always: without a lock
    with transaction.atomic():
        index = free_of_others(
            waiting.select_related("embedding_model", "collection").order_by("pk")
        ).first()
        if index is not None:
            Index.objects.filter(pk=index.pk).update(
                lease_owner=owner, lease_until=now + timedelta(seconds=settings.LEASE_SECONDS)
            )
    return index


def step(index: Index) -> bool:
    """Fill in the next documents, or finish; returns whether there is more to do.

    Raises VerificationFailed if the filled index is not what it should be.
    """
    if not Index.objects.filter(pk=index.pk, state=Index.State.BUILDING).exists():
        return False  # cancelled
    documents = list(unfilled(index).select_related("live_revision")[:FILL_BATCH])
    if documents:
        revisions = [document.live_revision for document in documents if document.live_revision]
        indexing.fill_index(index, revisions)
    total = unfilled_base(index.collection).count()
    left = unfilled(index).count() if documents else 0
    Index.objects.filter(pk=index.pk).update(
        progress_total=total, progress_done=max(total - left, 0)
    )
    if documents:
        return True
    finish(index)
    return False


def unfilled_base(collection: Collection) -> DocumentQuerySet:
    return Document.objects.searchable().filter(collection=collection)


def unfilled(index: Index) -> DocumentQuerySet:
    """Searchable documents whose live revision is not cut the way this index wants it."""
    cut = Chunk.objects.filter(revision=OuterRef("live_revision"), chunking=index.chunking)
    return unfilled_base(index.collection).filter(~Exists(cut)).order_by("pk")


def finish(index: Index) -> None:
    """Bring a filled index exactly into step, verify it, and switch, unless it is on trial.

    Raises VerificationFailed, to be tried again; at the last try the index is given up.
    """
    sync.reconcile(index)
    result = verify(index)
    attempts = int(index.verification.get("attempts", 0)) + 1
    Index.objects.filter(pk=index.pk).update(verification={**asdict(result), "attempts": attempts})
    if result.passed:
        if Trial.objects.holding().filter(index=index).exists():
            Index.objects.filter(pk=index.pk, state=Index.State.BUILDING).update(
                state=Index.State.READY, lease_owner="", lease_until=None, failure_message=""
            )
        else:
            switch(index)
        return
    error = VerificationFailed(
        f"The new index of {index.collection.slug} holds {result.found} of {result.expected} "
        f"chunks and finds {result.self_found} of {result.sampled} samples. The old one stays live."
    )
    if attempts < MAX_VERIFICATIONS:
        raise error
    logger.error("%s Given up after %d tries.", error.message, attempts)
    Index.objects.filter(pk=index.pk).update(
        state=Index.State.DAMAGED, failure_message=error.message, lease_owner="", lease_until=None
    )


def verify(index: Index) -> Verification:
    """Compare the records with the rows, and look a sample up by its own vectors."""
    store = vector_store()
    rows = Chunk.objects.live().filter(
        document__collection=index.collection_id, chunking=index.chunking
    )
    pairs = list(rows.values_list("pk", "text_hash"))
    sample = random.sample(pairs, min(SAMPLE_SIZE, len(pairs)))
    vectors = stored_embeddings(index.embedding_model_id, {digest for _, digest in sample})
    self_found = 0
    for pk, digest in sample:
        vector = vectors[digest]
        near = store.query(index.physical_name, vector, SAMPLE_DEPTH)
        own = float(distances_to(vector, vector.reshape(1, -1), index.space)[0])
        # Texts that mean the same may crowd it out, but only by being as near.
        self_found += any(
            candidate.chunk_id == pk or candidate.distance <= own + SAME_DISTANCE
            for candidate in near
        )
    # Not the plain count: Chroma may still hold what is about to be cleaned up.
    drift = sync.compare(index)
    return Verification(
        expected=drift.expected,
        found=drift.expected - len(drift.missing) - len(drift.stale),
        sampled=len(sample),
        self_found=self_found,
    )


@transaction.atomic
def switch(index: Index) -> None:
    """Make an index the live one, in one step; the one before is kept for a rollback.

    What was tried together with it counts from then on, too. One that was given up meanwhile
    stays so.
    """
    collection = Collection.objects.select_for_update(of=("self",)).get(pk=index.collection_id)
    given_up = [Index.State.RETIRED, Index.State.DAMAGED]
    if not Index.objects.select_for_update().filter(pk=index.pk).exclude(state__in=given_up):
        return
    now = timezone.now()
    previous = collection.live_index_id
    if previous and previous != index.pk:
        # A damaged one is nothing to go back to.
        Index.objects.filter(pk=previous, state=Index.State.LIVE).update(
            state=Index.State.RETIRED, retired_at=now
        )
    Index.objects.filter(pk=index.pk).update(
        state=Index.State.LIVE,
        live_at=now,
        retired_at=None,
        lease_owner="",
        lease_until=None,
        failure_message="",
    )
    collection.live_index = index
    trial = Trial.objects.open().filter(index=index).first()
    if trial is not None:
        # Others may have gone live since it was begun.
        Index.objects.filter(pk=index.pk).exclude(pk=previous or 0).update(replaces=previous)
        if trial.retrieval_settings is not None:
            collection.retrieval_settings = trial.retrieval_settings
        trial.state, trial.decided_at = Trial.State.ADOPTED, now
        trial.save(update_fields=["state", "decided_at"])
    for name in ("embedding_model", "space", "chunk_size", "chunk_overlap"):
        setattr(collection, name, getattr(index, name))
    collection.save()
    logger.info("%s is now served by %s", collection.slug, index.physical_name)


def rollback(collection: Collection) -> Index:
    """Begin to go back to the index that was live before.

    It is brought up to date first, like any other that is built, and then switched.

    Raises ReindexRefused if there is none, or one is being built.
    """
    with transaction.atomic():
        locked = Collection.objects.select_for_update(of=("self",)).get(pk=collection.pk)
        if Index.objects.building().filter(collection=locked).exists():
            raise ReindexRefused(f"{collection.slug} is being reindexed; cancel that first.")
        live = locked.live_index
        previous = live.replaces if live else None
        if previous is None or previous.state != Index.State.RETIRED:
            raise ReindexRefused(f"{collection.slug} has no earlier index to go back to.")
        previous.state = Index.State.BUILDING
        # So that a second rollback undoes the first.
        previous.replaces = live
        previous.save(update_fields=["state", "replaces"])
        return previous


def rebuild_damaged(index: Index) -> Index:
    """Begin a copy beside an index that Chroma cannot read any more, with the same settings."""
    with transaction.atomic():
        Index.objects.filter(pk=index.pk).update(
            state=Index.State.DAMAGED,
            failure_message="Chroma cannot count or query it; it is built again.",
        )
        building = Index.objects.building().filter(collection=index.collection_id)
        # One that is only tried does not take its place.
        on_trial = Trial.objects.holding().filter(index__isnull=False)
        copy = building.exclude(pk__in=on_trial.values("index")).first() or Index.objects.create(
            collection_id=index.collection_id,
            state=Index.State.BUILDING,
            progress_total=unfilled_base(index.collection).count(),
            **index.settings,
        )
        Trial.objects.open().filter(index=index).update(index=copy)
        return copy


def drop_retired(before: datetime | None = None, collection: Collection | None = None) -> int:
    """Drop indexes that were retired before a time (or ever), and damaged ones that another
    has replaced; returns how many."""
    retired = Q(state=Index.State.RETIRED)
    if before is not None:
        retired &= Q(retired_at__lt=before)
    replaced = Q(state=Index.State.DAMAGED, collection__live_index__state=Index.State.LIVE)
    indexes = Index.objects.filter(retired | replaced).exclude(pk=F("collection__live_index"))
    if collection is not None:
        indexes = indexes.filter(collection=collection)
    dropped = 0
    for index in indexes.select_related("embedding_model", "collection"):
        drop(index)
        dropped += 1
    return dropped


def drop(index: Index) -> None:
    """Delete an index, its physical collection, and the chunks that no other one uses."""
    # From now on nobody begins to write to it.
    Index.objects.active().filter(pk=index.pk).update(
        state=Index.State.RETIRED, retired_at=timezone.now()
    )
    sync.drop_physical(index)
    others = Index.objects.filter(collection=index.collection_id).exclude(pk=index.pk)
    if index.chunking not in {other.chunking for other in others}:
        rows = Chunk.objects.filter(
            document__collection=index.collection_id, chunking=index.chunking
        )
        while ids := list(rows.values_list("pk", flat=True)[: sync.REPAIR_BATCH]):
            with transaction.atomic():
                forget_chunks(ids)
    Index.objects.filter(pk=index.pk).delete()
    # Whoever was writing has made it again, or sees from now on that the row is gone.
    sync.drop_physical(index)
