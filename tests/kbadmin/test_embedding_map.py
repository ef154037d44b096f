"""The map of the embeddings: how it is laid out, and what is told of it."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from retrieval import embedding_map
from retrieval.models import Attribute, Chunk, Document, Index, IndexReport
from retrieval.vector_store import VectorStore
from tests.kbadmin.conftest import make_report

Fill = Callable[..., list[Chunk]]
MAP = IndexReport.Kind.MAP


def url(name: str, index: Index, /, **query: object) -> str:
    page = reverse(f"admin:inspector_{name}", args=[index.collection_id])
    return page + "?" + "&".join(f"{key}={value}" for key, value in query.items())


def points(page: Client, index: Index, by: str = "document") -> Any:
    return page.get(url("points", index, by=by)).json()


def test_the_plane_shows_the_directions_of_most_variance() -> None:
    generator = np.random.default_rng(0)
    spread = np.zeros((200, 16))
    spread[:, 3] = generator.normal(0, 10, 200)
    spread[:, 7] = generator.normal(0, 3, 200)
    spread += generator.normal(0, 0.1, spread.shape)
    found, shares = embedding_map.plane(spread.astype(np.float32))
    assert np.abs(found).max() == pytest.approx(1)
    for axis, column in ((0, 3), (1, 7)):
        correlation = np.corrcoef(found[:, axis], spread[:, column])[0, 1]
        assert correlation == pytest.approx(1, abs=0.01)  # not -1: the sign is fixed
    assert shares[0] == pytest.approx(100 / 109, abs=0.05)
    assert shares.sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_vectors_have_a_place_too(number: int) -> None:
    found, shares = embedding_map.plane(np.eye(number, 8, dtype=np.float32))
    assert found.shape == (number, 2)
    assert np.isfinite(found).all()
    assert np.isfinite(shares).all()


def test_chunks_are_chosen_evenly() -> None:
    chosen = embedding_map.evenly(list(range(10_000)), 2000)
    assert len(chosen) == len(set(chosen)) == 2000
    assert (chosen[0], chosen[-1]) == (0, 9999)
    assert np.diff(chosen).max() <= 6
    assert embedding_map.evenly([4, 5], 2000) == [4, 5]


def test_it_is_made_by_a_worker_and_drawn_from_what_is_stored(
    page: Client, index: Index, fill: Fill
) -> None:
    chunks = fill(documents=3, chunks=2)
    html = page.get(url("map", index)).content.decode()
    assert "No map yet" in html
    assert "map-canvas" not in html
    make_report(index, MAP)
    html = page.get(url("map", index)).content.decode()
    assert 'id="map-canvas"' in html
    assert "6 of 6 searchable chunks" in html
    answer = points(page, index)
    assert len(answer["points"]) == 6
    assert [group["size"] for group in answer["legend"]] == [2, 2, 2]
    first = answer["points"][0]
    assert "says of apples" in first["text"]
    assert page.get(first["url"]).context["chunk"] == chunks[0]


def test_more_than_are_drawn_are_sampled(
    page: Client, index: Index, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(documents=6)
    monkeypatch.setattr(embedding_map, "MOST_POINTS", 4)
    make_report(index, MAP)
    assert "4 of 6 searchable chunks" in page.get(url("map", index)).content.decode()


def test_what_chroma_does_not_hold_is_counted(
    page: Client, index: Index, fill: Fill, chroma_store: VectorStore
) -> None:
    chunks = fill(documents=3)
    chroma_store.delete(index.physical_name, [chunks[0].vector_id])
    make_report(index, MAP)
    assert "1 chunk was missing in Chroma." in page.get(url("map", index)).content.decode()
    assert len(points(page, index)["points"]) == 2


def test_what_was_deleted_since_is_not_told(page: Client, index: Index, fill: Fill) -> None:
    gone, disabled, left = fill(documents=3)
    make_report(index, MAP)
    gone.document.tombstone()
    Chunk.objects.filter(pk=disabled.pk).update(enabled=False)
    (point,) = points(page, index)["points"]
    assert point["title"] == str(left.document)


def test_it_is_coloured_by_source_and_by_front_matter(
    page: Client, index: Index, fill: Fill
) -> None:
    one, two, three = fill(documents=3)
    Document.objects.filter(pk=one.document_id).update(source="/notes/en")
    Attribute.objects.create(document=two.document, key="tags", string="linux")
    Attribute.objects.create(document=two.document, key="tags", string="backup")
    Attribute.objects.create(document=three.document, key="year", number=2024)
    make_report(index, MAP)
    choices = [value for value, _ in page.get(url("map", index)).context["choices"]]
    assert {"document", "source", "key:tags", "key:year"} <= set(choices)

    def names(by: str) -> list[str]:
        return [point["name"] for point in points(page, index, by)["points"]]

    assert names("source") == ["/notes/en", "uploaded", "uploaded"]
    assert names("key:tags") == ["without", "linux", "without"]
    assert names("key:year") == ["without", "without", "2024"]
    response = page.get(url("points", index, by="moon"))
    assert response.status_code == 400
    assert "cannot be coloured" in json.loads(response.content)["error"]


def test_beyond_eight_groups_the_rest_share_a_colour(
    page: Client, index: Index, fill: Fill
) -> None:
    fill(documents=11)
    make_report(index, MAP)
    legend = points(page, index)["legend"]
    assert len(legend) == 9
    assert legend[-1] == {"name": "others", "size": 3}


def test_the_points_are_listed_for_those_who_cannot_see_them(
    page: Client, index: Index, fill: Fill
) -> None:
    chunks = fill(documents=2, chunks=30)
    make_report(index, MAP)
    seen: list[int] = []
    query: dict[str, object] = {"from": 0}
    response = page.get(url("map", index, **query))
    seen += [chunk.pk for chunk, _ in response.context["listed"]]
    response = page.get(url("map", index) + response.context["after_url"][1:])
    seen += [chunk.pk for chunk, _ in response.context["listed"]]
    assert seen == [chunk.pk for chunk in chunks]
    assert not response.context["after_url"]


def test_logged_out_the_script_is_told_so(client: Client, index: Index) -> None:
    response = client.get(url("points", index))
    assert response.status_code == 403
    assert "logged out" in response.json()["error"]


def test_it_costs_the_same_with_many_points(page: Client, index: Index, fill: Fill) -> None:
    counts: list[int] = []
    for documents in (2, 40):
        fill(documents=documents, name=f"n{documents}")
        make_report(index, MAP)
        for name, by in (("map", ""), ("points", "document"), ("points", "key:tags")):
            with CaptureQueriesContext(connection) as queries:
                page.get(url(name, index, by=by))
            counts.append(len(queries))
    assert counts[:3] == counts[3:]
    assert max(counts) <= 25
