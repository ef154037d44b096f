"""Settings compared from the page of evaluation, and changes that wait for the golden set."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from retrieval import trials
from retrieval.collections import prepare_model
from retrieval.models import Collection, Document, EmbeddingModel, Index, Judgment, Trial
from retrieval.search import search
from retrieval.types import SearchRequest
from tests.conftest import add, collection, model
from tests.retrieval.test_trials import drain

__all__ = ["add", "collection", "model"]

pytestmark = pytest.mark.django_db

URL = "/admin/evaluation/"
TEXTS = {
    "tar.md": "Extract files from an archive into a directory.",
    "docker.md": "List all running containers.",
}
#: Nothing reaches such a score: every question is lost.
LOSING = {"min_score": 1.0}


@pytest.fixture
def golden(add: Callable[..., Document], collection: Collection) -> Collection:
    for name, text in TEXTS.items():
        document = add(name, f"# {name}\n\n{text}")
        Judgment.objects.create(collection=collection, question=text, document=document)
    return Collection.objects.select_related("live_index").get(pk=collection.pk)


def sides(golden: Collection, **changed: Any) -> dict[str, Any]:
    """The form as it is shown, with other values."""
    index = golden.live_index
    assert index is not None
    given = {
        **{f"reindex-{name}": value for name, value in index.settings.items()},
        "reindex-embedding_model": index.embedding_model_id,
        "b-mode": "hybrid",
        "b-min_score": 0,
        "b-context": 0,
        "trial-name": "small chunks",
        "collection": "docs",
        "try": "1",
    }
    return given | changed


def act(page: Client, name: str, **data: str) -> Any:
    return page.post(f"{URL}trials/{Trial.objects.get().pk}/{name}/", data, follow=True)


def html_of(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


def found(question: str) -> str:
    return search(SearchRequest(question, "docs")).hits[0].external_id


def test_two_settings_are_compared_and_b_is_switched_to(
    page: Client, golden: Collection, add: Callable[..., Document]
) -> None:
    assert "Compare A with B" in html_of(page.get(URL))
    answer = page.post(URL, sides(golden, **{"reindex-chunk_size": 64}), follow=True)
    html = html_of(answer)
    assert "0 of 2 documents" in html
    assert "Compare A with B" not in html
    assert "trial" in LogEntry.objects.latest("pk").change_message
    trial = Trial.objects.get()
    built = trial.index
    assert built is not None
    bar = page.get(f"{URL}trials/{trial.pk}/?state=measuring")
    assert "every 2s" in html_of(bar)

    drain()
    assert page.get(f"{URL}trials/{trial.pk}/?state=measuring")["HX-Refresh"] == "true"
    html = html_of(page.get(URL))
    assert "0 won, 0 lost, 2 unchanged" in html
    assert "Switch to B" in html
    assert "Measure again" in html
    trial.refresh_from_db()
    compared = html_of(page.get(f"{URL}compare/?before={trial.before_id}&after={trial.after_id}"))
    assert "256 tokens, 0 overlap → 64 tokens, 0 overlap" in compared
    assert "Switch to B" in compared

    add("late.md", "# late\n\nA zebra arrived.")
    html = html_of(act(page, "adopt"))
    assert "is searched with the new settings from now on" in html
    golden.refresh_from_db()
    assert (golden.live_index, golden.chunk_size) == (built, 64)
    assert found("zebra") == "late.md"
    assert "trial_adopt" in LogEntry.objects.latest("pk").change_message
    assert "Roll back" in html_of(page.get(f"/admin/retrieval/collection/{golden.pk}/change/"))
    assert "was decided already" in html_of(act(page, "adopt"))


def test_two_embedding_models_are_compared_and_b_is_discarded(
    page: Client, golden: Collection, tiny_model: Any
) -> None:
    other = prepare_model(str(tiny_model), lambda line: None)
    page.post(URL, sides(golden, **{"reindex-embedding_model": other.pk}))
    drain()
    trial = Trial.objects.get()
    assert trial.state == "waiting"
    assert trial.after is not None
    assert trial.after.settings["model"]["name"] == other.name
    assert other.name in html_of(page.get(URL))
    assert "stays as it is" in html_of(act(page, "discard"))
    drain()
    assert Index.objects.get() == golden.live_index
    assert "Compare A with B" in html_of(page.get(URL))


def test_settings_of_search_need_no_second_index(page: Client, golden: Collection) -> None:
    page.post(URL, sides(golden, **{"b-mode": "lexical"}))
    drain()
    assert Index.objects.count() == 1
    assert "The same index, searched with other settings" in html_of(page.get(URL))
    act(page, "adopt", back="collection")
    golden.refresh_from_db()
    assert golden.retrieval_settings == {"mode": "lexical"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "Change one of them"),
        ({"reindex-chunk_size": 2}, "greater than or equal to 16"),
        ({"reindex-chunk_size": 64, "reindex-chunk_overlap": 64}, "smaller than the chunk size"),
        ({"reindex-embedding_model": 0}, "Select a valid choice"),
        ({"b-mode": "psychic"}, "psychic"),
    ],
)
def test_what_cannot_be_compared_is_told(
    page: Client, golden: Collection, changed: dict[str, Any], said: str
) -> None:
    answer = page.post(URL, sides(golden, **changed))
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert not Trial.objects.exists()
    assert Index.objects.count() == 1


def test_permissions_are_asked(client: Client, golden: Collection) -> None:
    trial = trials.start(golden, retrieval_settings=LOSING)
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    bar = f"{URL}trials/{trial.pk}/?state=measuring"
    assert client.get(bar)["HX-Refresh"] == "true"
    for codename in ("view_evaluationrun", "add_evaluationrun", "view_collection"):
        clerk.user_permissions.add(Permission.objects.get(codename=codename))
    assert "Cancel" not in html_of(client.get(bar))
    assert client.post(URL, sides(golden)).status_code == 403
    for name in ("adopt", "discard", "again"):
        assert client.post(f"{URL}trials/{trial.pk}/{name}/").status_code == 403
        assert client.get(f"{URL}trials/{trial.pk}/{name}/").status_code == 405
    clerk.user_permissions.add(Permission.objects.get(codename="change_collection"))
    assert client.post(f"{URL}trials/{trial.pk}/other/").status_code == 404
    assert client.post(f"{URL}trials/{trial.pk}/discard/").status_code == 302
    client.logout()
    assert client.get(bar)["HX-Refresh"] == "true"


class TestGate:
    @pytest.fixture(autouse=True)
    def gated(self, golden: Collection) -> None:
        Collection.objects.update(is_gated=True)
        golden.refresh_from_db()

    def reindex(self, page: Client, golden: Collection) -> Any:
        given = {name: value for name, value in sides(golden).items() if "reindex" in name}
        given["reindex-chunk_size"] = 64
        address = f"/admin/retrieval/collection/{golden.pk}/reindex/"
        return page.post(address, given, follow=True)

    def test_a_reindex_that_is_not_worse_goes_live_by_itself(
        self, page: Client, golden: Collection
    ) -> None:
        html = html_of(self.reindex(page, golden))
        assert "goes live if the golden set is not answered worse" in html
        assert "New settings wait for the golden set" in html
        drain()
        golden.refresh_from_db()
        assert golden.chunk_size == 64

    def test_one_that_is_worse_waits_where_it_is_seen(
        self, page: Client, golden: Collection
    ) -> None:
        change = f"/admin/retrieval/collection/{golden.pk}/change/"
        trials.start(golden, index={"chunk_size": 64}, retrieval_settings=LOSING, is_gate=True)
        drain()
        for address in (URL, change, "/admin/"):
            html = html_of(page.get(address))
            assert "MRR@10 changes by -1.000" in html, address
            assert "more than the 0.010 by which it may fall" in html
        html = html_of(page.get(change))
        assert "Make it live anyway" in html
        assert "Reindex…" not in html
        act(page, "discard", back="collection")
        drain()
        html = html_of(page.get(change))
        assert "Make it live anyway" not in html
        assert "Reindex…" in html
        assert "wait for a decision" not in html_of(page.get("/admin/"))
        golden.refresh_from_db()
        assert golden.chunk_size == 256

    def test_settings_saved_on_the_collection_are_tried_first(
        self, page: Client, golden: Collection
    ) -> None:
        address = f"/admin/retrieval/collection/{golden.pk}/change/"
        given = {
            "title": "Renamed",
            "default_top_k": 4,
            "is_gated": "on",
            "gate_tolerance": "0.01",
            "retrieval_settings": '{"min_score": 1.0}',
            "front_matter_schema": "{}",
        }
        html = html_of(page.post(address, given, follow=True))
        assert "are tried on the golden set first" in html
        drain()
        golden.refresh_from_db()
        assert (golden.title, golden.retrieval_settings) == ("Renamed", {})
        assert Trial.objects.get().state == "waiting"
        # A second change would overtake the first.
        answer = page.post(address, given)
        assert "being tried already" in answer.content.decode()
        trials.discard(Trial.objects.get().pk)
        html_of(page.post(address, given | {"retrieval_settings": '{"context": 1}'}, follow=True))
        drain()
        golden.refresh_from_db()
        assert golden.retrieval_settings == {"context": 1}

    def test_settings_saved_in_the_playground_are_tried_first(
        self, page: Client, golden: Collection
    ) -> None:
        tried = {"collection": "docs", "a-min_score": "1", "a-top_k": "7", "save": "1"}
        html = html_of(page.post("/admin/playground/?collection=docs", tried, follow=True))
        assert "are tried on the golden set first" in html
        golden.refresh_from_db()
        assert (golden.retrieval_settings, golden.default_top_k) == ({}, 7)
        assert Trial.objects.get().retrieval_settings == LOSING

    def test_without_questions_nothing_changes_and_it_is_said(
        self, page: Client, golden: Collection
    ) -> None:
        Judgment.objects.all().delete()
        assert "golden set of docs is empty" in html_of(self.reindex(page, golden))
        assert not Trial.objects.exists()
        assert Index.objects.count() == 1


def test_the_pages_ask_the_same_number_of_queries_whatever_was_tried_before(
    page: Client, golden: Collection
) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            page.get(URL)
        return len(captured)

    page.get(URL)
    before = count()
    for _ in range(5):
        trials.discard(trials.start(golden, retrieval_settings=LOSING).pk)
    assert count() == before


def test_models_that_are_not_there_are_no_choice(page: Client, golden: Collection) -> None:
    names = set(EmbeddingModel.objects.values_list("name", flat=True))
    html = html_of(page.get(URL))
    assert all(name in html for name in names)
