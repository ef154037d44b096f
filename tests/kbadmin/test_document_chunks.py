"""The passages of a document on its page: where they are, how they are found, what becomes of
them when they are kept out or edited."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags

from retrieval import factories
from retrieval.admin.document_text import TEXT_SHOWN
from retrieval.admin.rendering import Span, plain, rendered
from retrieval.collections import create_collection, prepare_model
from retrieval.hidden import switch_chunks
from retrieval.ingest import accept
from retrieval.models import Chunk, Collection, Document, EmbeddingModel, Search
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.conftest import index_everything
from tests.kbadmin.conftest import Add

SWITCH = "/admin/retrieval/document/chunks/switch/"
HEAD = re.compile(r'<a class="kb-chunk-number.*?</a>')
RUN = re.compile(r'<span class="kb-chunk ([^"]*)" data-chunks="([\d ]+)">(.*?)</span>', re.DOTALL)


def url(document: Document, query: str = "") -> str:
    return reverse("admin:retrieval_document_change", args=[document.pk]) + query


def words_of(html: str, key: int) -> str:
    """What is marked as a passage, without tags."""
    runs = [text for _classes, keys, text in RUN.findall(html) if str(key) in keys.split()]
    return unescape(strip_tags("".join(runs)))


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


# --- Marking passages in a text ---------------------------------------------------------------

MARKDOWN = """# Backups

Copy the *whole* folder with `rsync`, then check [the log](https://example.org/log).

- first **item**
- second item
  1. deep

| Name | Price |
|------|-------|
| disk | 3 EUR |

```sh
# not a heading
rsync -a <src> /dst
```

> Quoted advice.

---

Last words."""


@pytest.mark.parametrize("size", [7, 20, 50, 150])
@pytest.mark.parametrize("overlap", [0, 5])
def test_every_passage_is_marked_with_its_own_words(size: int, overlap: int) -> None:
    spans = [
        Span(pk, pk, start, min(start + size + overlap, len(MARKDOWN)), True)
        for pk, start in enumerate(range(0, len(MARKDOWN), size), start=1)
    ]
    assert unescape(strip_tags(HEAD.sub("", plain(MARKDOWN, spans)))) == MARKDOWN
    for span in spans:
        whole = MARKDOWN[span.start : span.end]
        assert "".join(words_of(plain(MARKDOWN, spans), span.pk).split()) == "".join(whole.split())
    html = rendered(MARKDOWN, spans)
    without = rendered(MARKDOWN, [])
    words = strip_tags(HEAD.sub("", html)).split()
    assert words == strip_tags(without).split(), "marks change no words"
    for tag in ("<h1>", "<li>", "<table>", "<pre>", "<blockquote>", "<hr>"):
        assert html.count(tag) == without.count(tag), f"marks change no {tag}"


def test_passages_that_follow_blocks_are_marked_exactly() -> None:
    starts = [MARKDOWN.index(words) for words in ("# Back", "- first", "| Name", "```sh", "> Q")]
    spans = [
        Span(pk, pk, start, end, True)
        for pk, (start, end) in enumerate(
            zip(starts, [*starts[1:], len(MARKDOWN)], strict=True), start=1
        )
    ]
    html = rendered(MARKDOWN, spans)
    for span, words in zip(
        spans,
        ("Backupscopythewholefolder", "firstitemseconditemdeep", "NamePricedisk3EUR",
         "notaheadingrsyncasrcdst", "QuotedadviceLastwords"),
        strict=True,
    ):  # fmt: skip
        assert letters(words_of(html, span.pk)).lower().startswith(words.lower())


def test_overlap_and_hidden_passages_are_told_apart() -> None:
    html = plain("one two three", [Span(5, 1, 0, 7, True), Span(6, 2, 4, 13, False)])
    shared = [keys for classes, keys, _ in RUN.findall(html) if "kb-chunk-shared" in classes]
    off = [keys for classes, keys, _ in RUN.findall(html) if "kb-chunk-off" in classes]
    assert (shared, off) == (["5 6"], ["6"])
    tints = {keys: re.findall(r"kb-tint-\d", classes) for classes, keys, _ in RUN.findall(html)}
    assert tints["5"] != tints["6"]


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "![x](https://evil.example/pixel.png)",
        '[x](https://a.example "x-data onclick")',
        '<div x-init="alert(1)" hx-get="/admin/">',
        "[x](https://a.example/\">'<b>)",
        "\U000f0000\U000f0010\U000f0001 a mark of ours",
        "\U000f0000\U000f001f\U000f001f\U000f0001",
    ],
)
def test_nothing_in_a_text_runs_or_is_loaded(hostile: str) -> None:
    for spans in ([], [Span(1, 1, 0, 4, True), Span(2, 2, 4, len(hostile), True)]):
        for html in (plain(hostile, spans), rendered(hostile, spans)):
            tags = re.findall(r"<(\w+)([^>]*)>", html)
            assert {tag for tag, _ in tags} <= {"p", "a", "span", "em"}
            attributes = {name for _, given in tags for name in re.findall(r"([\w-]+)=\"", given)}
            assert attributes <= {"class", "data-chunks", "data-chunk", "id", "href", "rel"}
            assert 'href="javascript' not in html


def test_a_line_without_end_is_shown_as_it_stands() -> None:
    assert rendered("[" * 20_000, []).startswith('<div class="kb-text">[[')


# --- The page ---------------------------------------------------------------------------------


def test_the_switch_leads_to_the_source_and_back(page: Client, add: Add) -> None:
    document = add(chunks=0)
    document.revisions.update(text="# Title\n\n**bold** <b>raw</b>")
    html = page.get(url(document)).content.decode()
    assert "<h1>Title</h1>" in html
    assert "<strong>bold</strong> &lt;b&gt;raw&lt;/b&gt;" in html
    html = page.get(url(document, "?view=source")).content.decode()
    assert "# Title\n\n**bold** &lt;b&gt;" in html


def cut(document: Document, size: int) -> list[Chunk]:
    """Cuts the text of a document into passages of so many characters."""
    index = document.collection.live_index
    revision = document.live_revision
    assert index is not None
    assert revision is not None
    document.chunks.all().delete()
    return Chunk.objects.bulk_create(
        Chunk(
            document=document,
            revision=revision,
            chunking=index.chunking,
            order=order,
            start=start,
            end=min(start + size, len(revision.text)),
            heading_path=["Chapter"],
            text=revision.text[start : start + size],
            token_count=9,
            text_hash="0",
        )
        for order, start in enumerate(range(0, len(revision.text), size))
    )


@pytest.fixture
def long(add: Add) -> tuple[Document, list[Chunk]]:
    document = add("long.md", chunks=0)
    lines = "\n".join(f"Line {n} of a long text." for n in range(3000))
    document.revisions.update(text=lines)
    document.refresh_from_db()
    return document, cut(document, 500)


def test_any_passage_of_a_long_text_can_be_reached(
    page: Client, long: tuple[Document, list[Chunk]]
) -> None:
    document, chunks = long
    for chunk in (chunks[0], chunks[39], chunks[40], chunks[41], chunks[-1]):
        for view in ("", "&view=source"):
            response = page.get(url(document, f"?chunk={chunk.pk}{view}"))
            html = response.content.decode()
            assert response.context["selected"].pk == chunk.pk
            assert f'id="chunk-{chunk.pk}"' in html
            assert words_of(html, chunk.pk).split()[:5] == chunk.text.split()[:5]
    assert chunks[40].start == TEXT_SHOWN
    seen = ""
    following = url(document, "?view=source")
    for _ in range(20):
        response = page.get(following)
        seen += response.context["shown"].text
        following = response.context["next_url"]
        if not following:
            break
    assert f"Part {response.context['part']} of" in response.content.decode()
    for number in range(3000):
        assert f"Line {number} of" in seen


def test_a_part_may_begin_inside_of_a_code_fence(page: Client, add: Add) -> None:
    document = add(chunks=0)
    code = "\n".join(f"x{n} = '**no**'" for n in range(3000))
    document.revisions.update(text=f"```python\n{code}\n```\n\n**Bold** at last.")
    html = page.get(url(document, "?part=3")).content.decode()
    assert "**no**" in html
    assert "<strong>no</strong>" not in html
    assert "<strong>Bold</strong>" in html


@pytest.mark.parametrize(
    "query", ["?part=0", "?part=-1", "?part=99999999999", "?part=x", "?part=999", "?view=x"]
)
def test_an_address_that_says_nothing_shows_the_text(page: Client, add: Add, query: str) -> None:
    response = page.get(url(add(), query))
    assert response.status_code == 200
    assert "The text" in strip_tags(response.content.decode())


@pytest.mark.parametrize("chunk", ["x", "0", "99999999999999999999", "-1"])
def test_a_passage_that_is_gone_is_said(page: Client, add: Add, chunk: str) -> None:
    response = page.get(url(add(), f"?chunk={chunk}"))
    assert "belongs to another version" in response.content.decode()


def test_a_passage_of_another_document_is_not_shown(page: Client, add: Add) -> None:
    mine, other = add("a.md"), add("b.md")
    response = page.get(url(mine, f"?chunk={other.chunks.get().pk}"))
    assert response.context["selected"] is None


def test_a_passage_of_an_earlier_index_leads_to_the_one_that_is_there_now(
    page: Client, long: tuple[Document, list[Chunk]]
) -> None:
    document, chunks = long
    old = Chunk.objects.get(pk=chunks[3].pk)
    old.pk, old.chunking = None, "before"
    old.save()
    response = page.get(url(document, f"?chunk={old.pk}"))
    assert response.context["selected"].pk == chunks[3].pk


def test_it_counts_how_often_a_passage_was_found(
    page: Client, add: Add, collection: Collection
) -> None:
    document = add(chunks=2)
    first, second = document.chunks.order_by("order")
    for results in ([first, second], [first], []):
        Search.objects.create(
            collection=collection,
            query="q",
            channel="api",
            top_k=4,
            confidence="high",
            results=[{"chunk_id": chunk.pk, "rank": 1} for chunk in results],
        )
    response = page.get(url(document, f"?chunk={first.pk}"))
    assert [passage["found"] for passage in response.context["passages"]] == [2, 1]
    assert "in the newest 3 searches of this collection" in response.content.decode()


def test_the_page_costs_the_same_with_many_passages(
    page: Client, add: Add, long: tuple[Document, list[Chunk]]
) -> None:
    document, _chunks = long
    counts = []
    for address in (
        url(add("small.md")),
        url(document, "?part=3"),
        url(document, "?part=1000"),
    ):
        page.get(address)
        with CaptureQueriesContext(connection) as queries:
            page.get(address)
        counts.append(len(queries))
    assert counts[0] == counts[1] < 30
    assert counts[2] <= counts[1] + 1, "beyond the end it looks once more"


# --- Keeping passages out -----------------------------------------------------------------------


def test_a_passage_is_kept_out_and_brought_back_from_the_message(page: Client, add: Add) -> None:
    chunk = add().chunks.get()
    response = page.post(SWITCH, {"chunks": chunk.pk, "enabled": ""}, follow=True)
    assert not Chunk.objects.live().exists()
    html = response.content.decode()
    assert "1 passage is kept out of search from now on." in html
    assert "kb-chunk-off" in html
    form = re.search(r'<form class="kb-undo".*?</form>', html, re.DOTALL)
    assert form is not None
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[0]))
    assert fields["csrfmiddlewaretoken"]
    page.post(SWITCH, fields)
    assert Chunk.objects.live().exists()


def test_the_list_of_chunks_offers_to_undo(page: Client, add: Add) -> None:
    keys = sorted(add(chunks=3).chunks.values_list("pk", flat=True))
    data = {"action": "disable", "_selected_action": keys}
    html = page.post(reverse("admin:retrieval_chunk_changelist"), data, follow=True)
    fields = re.search(r'name="chunks" value="([\d,]+)"', html.content.decode())
    assert fields is not None
    assert sorted(map(int, fields[1].split(","))) == keys


def test_switching_needs_permission_and_a_post(client: Client, add: Add) -> None:
    chunk = add().chunks.get()
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_document"))
    client.force_login(clerk)
    assert client.get(SWITCH).status_code == 405
    assert client.post(SWITCH, {"chunks": chunk.pk}).status_code == 403
    edit = reverse("admin:retrieval_document_edit_chunk", args=[chunk.pk])
    assert client.post(edit, {"text": "x"}).status_code == 403
    html = client.get(url(chunk.document, f"?chunk={chunk.pk}")).content.decode()
    assert "Keep out of search" not in html
    assert 'data-href="edit"' not in html
    chunk.refresh_from_db()
    assert chunk.enabled


@pytest.mark.parametrize("chunks", ["", "x", "0", "99999999999999999999"])
def test_nothing_to_switch_is_not_found(page: Client, add: Add, chunks: str) -> None:
    add()
    assert page.post(SWITCH, {"chunks": chunks}).status_code == 404


# --- For real -------------------------------------------------------------------------------------

PAGE = """---
title: Refunds
tags: [money]
---

# Refunds

Refunds are paid within fourteen days of the return. They go to the account or the card that
the order was paid from, and the fee for sending it is part of them. Who returns only a part of
an order gets back what that part was worth on the day of the order, with its share of the fee.
Goods that were made to measure, and food, cannot be returned at all once they have been sent,
unless they arrived broken.

## Gift cards

Gift cards are never paid out in cash, only in kind.
"""


MORE = """
## Help

Ask the desk for help. It is open from nine to five on every day but Sunday, and answers letters
within a week. Have the number of your order at hand, which is on the bill and in the letter that
came with the parcel.
"""


class Handbook:
    """A collection that is indexed and searched for real."""

    def __init__(self, slug: str = "docs", **options: Any) -> None:
        self.collection = create_collection(slug=slug, title=slug.title(), **options)

    def take(self, text: str = PAGE, name: str = "refunds.md") -> Document:
        accepted = accept(
            self.collection,
            external_id=name,
            filename=name,
            data=text.encode(),
            origin=Document.Origin.UPLOAD,
        )
        index_everything()
        return Document.objects.get(pk=accepted.document.pk)

    def found(self, question: str, mode: str = "hybrid") -> str:
        answer = search(
            SearchRequest(query=question, collection=self.collection.slug, mode=mode, top_k=50)
        )
        return "\n".join(hit.text for hit in answer.hits)


@pytest.fixture
def model(db: None, bundle: Any, settings: Any) -> EmbeddingModel:
    factories.reset()
    return prepare_model(settings.EMBEDDING_MODEL, lambda line: None)


@pytest.fixture
def handbook(model: EmbeddingModel, chroma: str) -> Handbook:
    return Handbook(chunk_size=40)


def chunk_with(document: Document, words: str) -> Chunk:
    document.refresh_from_db()
    assert document.live_revision is not None
    return Chunk.objects.get(revision=document.live_revision, text__contains=words)


def edit(page: Client, chunk: Chunk, text: str) -> Any:
    return page.post(
        reverse("admin:retrieval_document_edit_chunk", args=[chunk.pk]), {"text": text}
    )


def test_an_edited_passage_is_searched_and_outlives_the_same_file(
    page: Client, handbook: Handbook
) -> None:
    document = handbook.take()
    chunk = chunk_with(document, "fourteen")
    response = edit(page, chunk, chunk.text.replace("fourteen", "thirty"))
    assert response.status_code == 302
    assert "fourteen" in handbook.found("when are refunds paid"), "until the new one is indexed"
    index_everything()
    assert "thirty days" in handbook.found("when are refunds paid")
    assert "fourteen" not in handbook.found("when are refunds paid")
    document.refresh_from_db()
    live = document.live_revision
    assert live is not None
    assert (live.number, live.title, live.metadata) == (
        2,
        "Refunds",
        {"title": "Refunds", "tags": ["money"]},
    )
    before = document.revisions.get(number=1).text
    assert live.text == before.replace("fourteen", "thirty")
    handbook.take()
    assert "thirty days" in handbook.found("when are refunds paid"), "the source has not changed"
    handbook.take(PAGE.replace("fourteen", "sixty"))
    assert "sixty days" in handbook.found("when are refunds paid")
    assert "boss" in page.get(url(document)).content.decode()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("  \r\n ", "needs some text"), (None, "Nothing was changed"), ("", "This field is required")],
)
def test_an_edit_that_says_nothing_is_refused(
    page: Client, add: Add, text: str | None, sentence: str
) -> None:
    chunk = add().chunks.get()
    response = edit(page, chunk, chunk.text if text is None else text)
    assert response.status_code == 400
    assert sentence in response.content.decode()


def test_an_edit_waits_for_a_version_that_is_in_work(page: Client, add: Add) -> None:
    document = add()
    accept(
        document.collection,
        external_id=document.external_id,
        filename="refunds.md",
        data=b"newer",
        origin=Document.Origin.UPLOAD,
    )
    response = edit(page, document.chunks.get(), "Other words.")
    assert "is not indexed yet" in response.content.decode()
    assert document.revisions.count() == 2


def test_a_table_is_edited_as_the_text_that_was_read_from_it(
    page: Client, handbook: Handbook
) -> None:
    document = handbook.take("name,price\ndisk,3\ncable,5\n", "prices.csv")
    chunk = chunk_with(document, "disk")
    edit(page, chunk, chunk.text.replace("disk", "hard drive"))
    index_everything()
    document.refresh_from_db()
    assert document.live_revision is not None
    assert (document.live_revision.number, document.title) == (2, "prices")
    assert "hard drive" in handbook.found("hard drive price")


def test_what_is_kept_out_stays_out_of_a_new_version_and_a_new_index(
    page: Client, handbook: Handbook
) -> None:
    from retrieval import reindex

    document = handbook.take()
    page.post(SWITCH, {"chunks": chunk_with(document, "never paid").pk, "enabled": ""})
    for mode in ("hybrid", "dense", "lexical"):
        assert "never paid" not in handbook.found("gift cards in cash", mode)
    handbook.take(PAGE.replace("fourteen", "thirty") + MORE)
    answer = handbook.found("refunds gift cards cash desk")
    assert "thirty" in answer
    assert "Ask the desk" in answer
    assert "never paid" not in answer
    handbook.collection.refresh_from_db()
    index = reindex.start(handbook.collection, chunk_size=200)
    while reindex.step(index):
        pass
    assert "never paid" not in handbook.found("gift cards in cash")
    handbook.collection.refresh_from_db()
    assert handbook.collection.live_index == index
    hidden = Chunk.objects.filter(chunking=index.chunking, enabled=False)
    switch_chunks(hidden.values_list("pk", flat=True), enabled=True)
    assert "never paid" in handbook.found("gift cards in cash")
    assert not Chunk.objects.filter(document=document, enabled=False).exists()


# --- Moving, for real -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [40, 120])
def test_a_document_moves_and_is_found_all_the_time(
    page: Client, handbook: Handbook, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval import moving

    document = handbook.take()
    other = Handbook("other", chunk_size=size)
    page.post(SWITCH, {"chunks": chunk_with(document, "never paid").pk, "enabled": ""})
    moving.request_move(Document.objects.filter(pk=document.pk), other.collection)
    seen = []
    really: Callable[..., list[int]] = moving._switch

    def switch(*args: Any) -> list[int]:
        seen.append((handbook.found("refunds paid"), other.found("refunds paid")))
        return really(*args)

    monkeypatch.setattr(moving, "_switch", switch)
    assert moving.step()
    assert not moving.step()
    (before,) = seen
    assert "fourteen" in before[0]
    assert before[1] == ""
    for mode in ("hybrid", "dense", "lexical"):
        assert handbook.found("refunds paid", mode) == ""
        assert "fourteen" in other.found("refunds paid", mode)
        assert "never paid" not in other.found("gift cards in cash", mode)
    document.refresh_from_db()
    assert (document.collection, document.moving_to) == (other.collection, None)
    assert document.revisions.get().state == "indexed"


def test_chroma_holds_nothing_of_what_has_moved(handbook: Handbook) -> None:
    from retrieval import moving, sync

    document = handbook.take()
    other = Handbook("other", chunk_size=40)
    moving.request_move(Document.objects.filter(pk=document.pk), other.collection)
    moving.step()
    cuts = document.chunks.count()
    for collection, records in ((handbook.collection, 0), (other.collection, cuts)):
        collection.refresh_from_db()
        assert collection.live_index is not None
        drift = sync.compare(collection.live_index)
        assert (drift.is_clean, drift.found) == (True, records)


def test_a_move_that_cannot_be_is_said_on_the_document(page: Client, handbook: Handbook) -> None:
    from retrieval import moving

    document = handbook.take()
    other = Handbook("other")
    moving.request_move(Document.objects.filter(pk=document.pk), other.collection)
    other.take("Another text.")
    moving.step()
    document.refresh_from_db()
    assert (document.moving_to, document.collection) == (None, handbook.collection)
    assert "fourteen" in handbook.found("refunds paid")
    html = page.get(url(document)).content.decode()
    assert "It was not moved." in html
    assert "holds another document with the external id refunds.md" in html
