from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from retrieval import maintenance
from retrieval.models import Chunk, Collection, Document, Index
from tests.conftest import index_everything

pytestmark = pytest.mark.django_db


def long_ago(document: Document) -> None:
    document.tombstone()
    index_everything()
    Document.objects.filter(pk=document.pk).update(deleted_at=timezone.now() - timedelta(days=365))


def test_rows_and_originals_go_after_the_grace_period(add):
    kept, gone = add("kept.md", "# Kept"), add("gone.md", "# Gone")
    original = gone.latest_revision.original.name
    long_ago(gone)
    assert maintenance.purge() == 1
    assert list(Document.objects.all()) == [kept]
    assert not default_storage.exists(original)
    assert default_storage.exists(kept.latest_revision.original.name)


def test_what_was_deleted_lately_can_still_be_brought_back(add):
    document = add("a.md", "# A")
    document.tombstone()
    index_everything()
    assert maintenance.purge() == 0
    add("a.md", "# A")
    document.refresh_from_db()
    assert document.deleted_at is None
    assert document.live_revision is not None


def test_an_original_that_another_document_uses_stays(add, collection):
    gone = add("a.md", "# Same")
    add("b.md", "# Same")  # kept as a duplicate of the first
    original = gone.latest_revision.original.name
    long_ago(gone)
    maintenance.purge()
    assert default_storage.exists(original)


def test_it_waits_until_chroma_has_let_go(add):
    document = add("a.md", "# A")
    document.tombstone()
    Document.objects.update(deleted_at=timezone.now() - timedelta(days=365))
    assert maintenance.purge() == 0


def test_a_deleted_collection_leaves_chroma_at_once_and_the_database_later(add, collection, store):
    document = add("a.md", "# A")
    name = collection.live_index.physical_name
    collection.tombstone()
    assert maintenance.clean_deleted_collections() == 1
    assert not Index.objects.exists()
    assert not Chunk.objects.exists()
    store.forget(name)
    store.drop(name)
    assert Document.objects.filter(pk=document.pk).exists()
    Collection.objects.update(deleted_at=timezone.now() - timedelta(days=365))
    assert maintenance.purge() == 1
    assert not Collection.objects.exists()
