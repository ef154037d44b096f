"""Passages: what is read back, what is said once, and which neighbours join."""

import pytest

from retrieval.exceptions import InvalidRequest
from retrieval.models import Chunk, Document
from retrieval.search import search
from retrieval.types import RetrievalSettings, SearchRequest

pytestmark = pytest.mark.django_db

PARTS = [
    "The pelican nests on cliffs above the northern harbour every spring.",
    "Its eggs are chalky white and hatch after about thirty days of care.",
    "Fishermen count the birds in autumn and report them to the museum.",
    "In winter the colony moves south along the coast to warmer water.",
    "The oldest ringed bird was seen there for twenty-seven years.",
]


def ask(query, **options):
    return search(SearchRequest(query=query, collection="docs", **options))


@pytest.fixture
def birds(collection, add):
    """One document in five chunks, a paragraph each."""
    collection.live_index.chunk_size = 24
    collection.live_index.save()
    document = add("birds.md", "\n\n".join(PARTS))
    assert Chunk.objects.live().filter(document=document).count() == len(PARTS)
    return document


def test_without_context_a_passage_is_its_chunk(birds):
    hit = ask("when do fishermen count birds?", top_k=1).hits[0]
    assert hit.text == PARTS[2]
    assert hit.chunk_ids == (hit.chunk_id,)


def test_neighbours_join_in_the_order_of_the_document(birds):
    hit = ask("when do fishermen count birds?", top_k=1, context=1).hits[0]
    assert hit.text == "\n\n".join(PARTS[1:4])
    assert hit.chunk_ids == tuple(
        Chunk.objects.live().order_by("order").values_list("pk", flat=True)[1:4]
    )
    assert Chunk.objects.get(pk=hit.chunk_id).text == PARTS[2]


def test_passages_that_meet_become_one_in_the_place_of_the_better(birds):
    alone = ask("museum winter coast", top_k=4)
    assert {hit.text for hit in alone.hits} > {PARTS[2], PARTS[3]}
    merged = ask("museum winter coast", top_k=4, context=4)
    (hit,) = merged.hits
    assert hit.text == "\n\n".join(PARTS)
    assert hit.score == alone.hits[0].score
    assert hit.rank == 1


def test_a_disabled_chunk_is_a_border(birds):
    Chunk.objects.filter(text=PARTS[1]).update(enabled=False)
    hit = ask("when do fishermen count birds?", top_k=1, context=4).hits[0]
    assert hit.text == "\n\n".join(PARTS[2:])


def test_the_first_and_the_last_chunk_have_fewer_neighbours(birds):
    hit = ask("pelican nests on cliffs", top_k=1, context=2).hits[0]
    assert hit.text == "\n\n".join(PARTS[:3])


def test_text_that_neighbours_share_is_said_once(collection, add):
    collection.live_index.chunk_size = 24
    collection.live_index.chunk_overlap = 8
    collection.live_index.save()
    text = " ".join(f"Sentence number {n} tells of heron {n}." for n in range(12))
    document = add("herons.md", text)
    assert Chunk.objects.live().filter(document=document).count() > 2
    hit = ask("heron", top_k=1, context=10).hits[0]
    assert hit.text == text


def test_context_keeps_the_number_of_queries(birds, django_assert_max_num_queries):
    ask("birds")
    with django_assert_max_num_queries(7):
        ask("birds", context=2)


def test_what_is_nearly_the_same_is_said_once(add):
    text = "Restart the pump, wait until the green light is steady, then open the valve slowly."
    add("a.md", text)
    add("b.md", text + "!")
    add("c.md", text.replace("pump", "compressor and its fan"))
    found = [hit.external_id for hit in ask("restart the pump", top_k=5).hits]
    assert found in (["a.md", "c.md"], ["b.md", "c.md"])
    everything = RetrievalSettings(duplicate_share=2)
    assert len(ask("restart the pump", top_k=5, settings=everything).hits) == 3


def test_texts_that_differ_in_a_number_are_two(add):
    text = "The annual licence for the workshop costs {} euros and is paid in advance."
    add("2024.md", text.format(120))
    add("2025.md", text.format(130))
    assert len(ask("what does the licence cost?", top_k=5).hits) == 2


def test_a_better_duplicate_that_is_gone_leaves_the_other(add):
    text = "Restart the pump, wait until the green light is steady, then open the valve."
    add("a.md", text)
    add("b.md", text + "!")
    gone = ask("restart the pump").hits[0].external_id
    Document.objects.get(external_id=gone).tombstone()
    (hit,) = ask("restart the pump").hits
    assert hit.external_id != gone


@pytest.mark.parametrize("context", [-1, 11])
def test_a_context_out_of_range_is_refused(birds, context):
    with pytest.raises(InvalidRequest, match="context"):
        ask("birds", context=context)
