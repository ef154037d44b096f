"""/healthz and /readyz."""

import pytest
from django.db import DatabaseError
from django.test import Client

from plugin import health
from retrieval import factories, status
from retrieval.vector_store import VectorStore
from tests.isolation import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


def test_healthz_says_that_the_process_answers(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_readyz_is_ready_when_every_part_works(client, pages):
    response = client.get("/readyz")
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ready"
    assert body["checks"] == {name: {"status": "ok"} for name in ("database", "chroma", "model")}


def test_readyz_is_ready_with_an_empty_collection(client, collection):
    assert client.get("/readyz").status_code == 200


def failing(response):
    assert response.status_code == 503
    body = response.json()
    assert body["status"] == "not ready"
    return {
        name: check["code"] for name, check in body["checks"].items() if check["status"] != "ok"
    }


def test_readyz_names_chroma_when_it_is_away(client, pages, monkeypatch):
    store = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr(status, "query_store", lambda: store)
    assert failing(client.get("/readyz")) == {"chroma": "vector_store_unavailable"}


def test_readyz_names_an_index_that_chroma_lost(client, pages, collection):
    collection.refresh_from_db()
    factories.vector_store().drop(collection.live_index.physical_name)
    factories.query_store().forget(collection.live_index.physical_name)
    assert failing(client.get("/readyz")) == {"chroma": "vector_collection_missing"}


def test_readyz_names_a_model_that_is_not_prepared(client, pages, settings, tmp_path):
    factories.reset()
    settings.MODEL_DIR = tmp_path
    assert failing(client.get("/readyz")) == {"model": "model_not_ready"}


def test_readyz_without_any_collection_says_what_to_do(client, chroma):
    response = client.get("/readyz")
    assert failing(response)["model"] == "model_not_ready"
    assert "setup" in response.json()["checks"]["model"]["message"]


def test_readyz_names_the_database(client, pages, monkeypatch):
    def broken():
        raise DatabaseError("secret address")

    monkeypatch.setattr(health, "_check_database", broken)
    response = client.get("/readyz")
    assert failing(response) == {"database": "database_unavailable"}
    assert b"secret" not in response.content


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_they_reject_post(client, path):
    assert client.post(path).status_code == 405
