"""The list of chunks: what it shows, and what is found in it."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from retrieval.lexical import lexical_index
from retrieval.models import Chunk, Collection, Document
from retrieval.types import LexicalEntry

pytestmark = pytest.mark.django_db
LIST = "/admin/retrieval/chunk/"


def listed(page: Client, query: str = "") -> list[str]:
    answer = page.get(f"{LIST}?{query}")
    assert answer.status_code == 200
    return [chunk.text for chunk in answer.context["cl"].result_list]


def index_words(*documents: Document) -> None:
    for document in documents:
        index = document.collection.live_index
        assert index is not None
        chunks = Chunk.objects.filter(document=document)
        lexical_index().add(
            index.scope, [LexicalEntry(chunk.pk, "", "", chunk.text) for chunk in chunks]
        )


def test_chunks_stand_by_document_in_the_order_of_the_text(
    page: Client, add: Callable[..., Document]
) -> None:
    add("b.md", chunks=2)
    add("a.md", chunks=2)
    names = ("b.md", "a.md")
    assert listed(page) == [f"passage {n} of {name}" for name in names for n in (0, 1)]


def test_words_of_the_text_are_found(page: Client, add: Callable[..., Document]) -> None:
    index_words(add("apples.md", chunks=2), add("pears.md"))
    assert listed(page, "q=PASSAGE+pears.md") == ["passage 0 of pears.md"]
    assert listed(page, "q=passage+1") == ["passage 1 of apples.md"]
    assert listed(page, "q=plums") == []


def test_words_are_looked_for_in_the_collection_that_was_chosen(
    page: Client, add: Callable[..., Document], collection: Collection
) -> None:
    here = add("here.md")
    there = Collection.objects.create(
        slug="other", title="Other", embedding_model=collection.embedding_model
    )
    there.open_first_index()
    moved = add("there.md")
    Document.objects.filter(pk=moved.pk).update(collection=there)
    index_words(here, Document.objects.get(pk=moved.pk))
    assert listed(page, f"q=passage&collection={there.pk}") == ["passage 0 of there.md"]
    assert len(listed(page, "q=passage")) == 2


def test_what_is_kept_out_of_search_has_a_list_of_its_own(
    page: Client, add: Callable[..., Document]
) -> None:
    document = add(chunks=2)
    Chunk.objects.filter(document=document, order=1).update(enabled=False)
    assert listed(page, "enabled=0") == ["passage 1 of refunds.md"]
    assert len(listed(page)) == 2


def test_chunks_of_a_version_that_was_replaced_are_not_shown(
    page: Client, add: Callable[..., Document]
) -> None:
    document = add()
    chunk = Chunk.objects.get(document=document)
    Document.objects.filter(pk=document.pk).update(live_revision=None)
    document.revisions.update(retired_at=timezone.now())
    assert listed(page) == []
    assert page.get(f"{LIST}{chunk.pk}/change/").status_code == 302


def test_who_did_something_is_made_inactive_instead_of_deleted(page: Client, boss: User) -> None:
    other = User.objects.create_user("new")
    assert page.get(f"/admin/auth/user/{other.pk}/delete/").status_code == 200
    page.post(f"/admin/auth/user/{other.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=other.pk).exists()
    # Now boss has an entry in the log.
    assert page.get(f"/admin/auth/user/{boss.pk}/delete/").status_code == 403
