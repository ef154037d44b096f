"""How a text would be cut is shown before it is uploaded."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from kbadmin.pages import preview
from kbadmin.pages.preview import list_cuts, measure
from retrieval import factories
from retrieval.embedding import Bundle
from retrieval.models import Collection, Document, EmbeddingModel
from retrieval.types import ChunkSlice

URL = "/admin/upload/preview/"
LONG = "# Rules\n\n" + " ".join(f"Rule {n} pays within {n} days." for n in range(90))


@pytest.fixture
def collection(bundle: Bundle, collection: Collection) -> Collection:
    """One whose model is really there."""
    EmbeddingModel.objects.update(revision=bundle.revision, runtime=bundle.runtime)
    factories.reset()
    return collection


def ask(page: Client, where: Collection, **data: Any) -> Any:
    return page.post(URL, {"collection": where.pk, **data})


def total(html: str) -> int:
    found = re.search(r"<strong>\s*(\d+) chunk", html)
    assert found is not None
    return int(found[1])


def test_a_text_is_cut_as_its_collection_cuts(page: Client, collection: Collection) -> None:
    html = ask(page, collection, text=LONG).content.decode()
    assert 'data-size="256" data-overlap="0"' in html
    assert "Handbook cuts with size 256 and overlap 0." in html
    assert "Reindex with" not in html
    assert html.count('class="kb-cut"') == total(html) > 2
    assert not Document.objects.exists()


def test_other_sizes_are_tried_at_once(page: Client, collection: Collection) -> None:
    whole = ask(page, collection, text=LONG).content.decode()
    small = ask(page, collection, text=LONG, chunk_size=64, chunk_overlap=16).content.decode()
    assert total(small) > total(whole)
    assert '<mark class="kb-shared">' in small.partition("kb-cuts-frame")[2]
    collection_page = reverse("admin:retrieval_collection_change", args=[collection.pk])
    link = f"{collection_page}?chunk_size=64&amp;chunk_overlap=16#kb-index"
    assert link in small
    assert "Reindex with 64 / 16" in small


def test_the_reindex_form_opens_with_these_sizes(page: Client, collection: Collection) -> None:
    url = reverse("admin:retrieval_collection_change", args=[collection.pk])
    html = page.get(f"{url}?chunk_size=64&chunk_overlap=16").content.decode()
    form = html.partition("kb-card-foot kb-disclosure")[2]
    assert form.startswith('" open>')
    assert re.search(r'name="reindex-chunk_size" value="64"|name="chunk_size" value="64"', form)


def test_a_file_is_read_once(page: Client, collection: Collection) -> None:
    file = SimpleUploadedFile("rules.html", b"<title>Rules</title><h1>A</h1><p>Paid in 14 days.")
    html = ask(page, collection, file=file).content.decode()
    assert 'name="read_title" value="Rules"' in html
    assert "Paid in 14 days." in html
    again = ask(
        page, collection, read_title="Rules", read_text="# A\r\n\r\nPaid in 14 days."
    ).content.decode()
    assert total(again) == total(html) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "Choose a file or paste a text"),
        ({"text": "a", "chunk_size": 8}, "Chunk size: Ensure this value is greater"),
        ({"text": "a", "chunk_size": 32, "chunk_overlap": 32}, "overlap must be smaller"),
        ({"text": "a", "collection": 0}, "Choose a collection."),
        ({"text": "---\na: [\n---\ntext"}, "front matter is not valid YAML"),
    ],
)
def test_what_cannot_be_cut_is_told(
    page: Client, collection: Collection, data: dict[str, Any], words: str
) -> None:
    response = ask(page, collection, **data)
    assert response.status_code == 422
    assert words in response.content.decode()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.pdf", b"no pdf", "its content is something else"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "cannot be read"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "Preview one of them"),
        ("a.md", b"a" * 101, "can be previewed"),
    ],
)
def test_a_file_that_would_fail_says_so_before(
    page: Client,
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    data: bytes,
    words: str,
) -> None:
    monkeypatch.setattr(preview, "FILE_BYTES", 100)
    response = ask(page, collection, file=SimpleUploadedFile(name, data))
    assert response.status_code == 422
    assert words in response.content.decode()


def test_without_its_model_it_says_what_to_do(page: Client, model: EmbeddingModel) -> None:
    EmbeddingModel.objects.update(name="nobody/has-this")
    collection = Collection.objects.create(slug="x", title="X", embedding_model=model)
    response = ask(page, collection, text="a text")
    assert response.status_code == 422
    assert "prepare_model" in response.content.decode()


def test_it_is_for_those_who_may_upload(client: Client, collection: Collection) -> None:
    response = client.post(URL, {"collection": collection.pk, "text": "a"})
    assert (response.status_code, response["HX-Refresh"]) == (204, "true")
    client.force_login(User.objects.create_user("clerk", password="x", is_staff=True))
    assert client.post(URL, {"collection": collection.pk, "text": "a"}).status_code == 403
    assert client.get(URL).status_code == 405


def test_it_costs_the_same_for_a_long_text(
    page: Client, collection: Collection, django_assert_num_queries: Any
) -> None:
    ask(page, collection, text="warm")
    for text in ("short", LONG * 5):
        with django_assert_num_queries(3):
            ask(page, collection, text=text)


def piece(order: int, start: int, end: int) -> ChunkSlice:
    return ChunkSlice(order, start, end, ("A",), "", 5, "")


def test_cuts_tell_what_they_share_and_what_is_left_out() -> None:
    cuts = list_cuts("abcdef\n## H\nghij", [piece(0, 0, 4), piece(1, 2, 6), piece(2, 12, 16)])
    assert [(cut.shared, cut.text, cut.gap) for cut in cuts] == [
        ("", "abcd", ""),
        ("cd", "ef", ""),
        ("", "ghij", "## H"),
    ]


def test_every_chunk_is_in_the_histogram() -> None:
    sizes = measure([1, 16, 17, 256, 256], limit=256)
    assert (sizes.total, sizes.smallest, sizes.median, sizes.largest) == (5, 1, 17, 256)
    assert [bar.count for bar in sizes.bars if bar.count] == [2, 1, 2]
    assert measure([], limit=256).bars == ()
