"""Whatever is wrong is said in OpenAI's shape, and with the status that its clients act on."""

import json
import threading

import pytest
from django.test import Client

from plugin.gateway import upstream
from tests.fake_model import Reply, say
from tests.isolation import free_port
from tests.plugin.gateway.conftest import events_of, openai_error, said_in
from tests.plugin.gateway.test_chat import CHAT, ask, content_of

pytestmark = pytest.mark.django_db
HI = {"role": "user", "content": "hi"}
TAR = "How do I extract a tar archive?"


@pytest.fixture
def dead(settings):
    """An upstream that is not there."""
    settings.UPSTREAM_URL = f"http://127.0.0.1:{free_port()}"
    upstream.forget_models()
    yield
    upstream.forget_models()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"", "messages"),
        (b"[]", None),
        (b'{"temperature": NaN}', None),
        (b'"docs"', None),
        (b"[" * 100_000, None),
        ({}, "messages"),
        ({"model": "docs"}, "messages"),
        ({"model": "docs", "messages": []}, "messages"),
        ({"model": "docs", "messages": "hi"}, "messages"),
        ({"model": "docs", "messages": [1]}, "messages[0]"),
        ({"model": "docs", "messages": [{"content": "hi"}]}, "messages[0]"),
        ({"model": "docs", "messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"model": "docs", "messages": [{**HI, "content": ["hi"]}]}, "messages[0].content"),
        ({"model": "docs", "messages": [{"role": "system", "content": "hi"}]}, "messages"),
        ({"model": "docs", "messages": [{"role": "user"}] * 2001}, "messages"),
        ({"messages": [HI]}, "model"),
        ({"model": 7, "messages": [HI]}, "model"),
        ({"model": "docs", "messages": [HI], "kbadmin": 1}, "kbadmin"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused_with_the_field_that_is_wrong(call, collection, body, param):
    error = openai_error(call(CHAT, body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


@pytest.mark.parametrize("key", [None, "kb_unknown_key_0123456789"])
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
def test_without_a_valid_key_nothing_is_answered(call, path, key):
    error = openai_error(call(path, {"model": "docs"}, key=key), 401, "invalid_api_key")
    assert error["type"] == "authentication_error"


def test_what_is_too_large_is_refused(call, collection):
    body = {"model": "docs", "messages": [{"role": "user", "content": "x" * 17_000_000}]}
    openai_error(call(CHAT, body), 413, "body_too_large")


def test_a_picture_is_not_too_large(call, pages, llm):
    picture = {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + "A" * 4_000_000},
    }
    message = {"role": "user", "content": [{"type": "text", "text": TAR}, picture]}
    assert content_of(ask(call, message)).startswith("Hello there.")
    assert llm.last["messages"][-1] == message


def test_half_a_character_breaks_nothing(call, pages, llm):
    body = rb'{"model": "docs", "messages": [{"role": "user", "content": "tar archive \ud83d"}]}'
    assert content_of(call(CHAT, body)).startswith("Hello there.")
    chunks = events_of(call(CHAT, body.replace(b'"docs"', b'"docs:extractive", "stream": true')))
    assert said_in(chunks)


def test_a_picture_without_words_is_not_searched(call, pages, llm):
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    assert content_of(ask(call, {"role": "user", "content": [picture]})) == "Hello there."


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/chat/completions/", "/v1/"])
def test_an_unknown_address_has_the_same_shape(path):
    openai_error(Client().get(path), 404, "not_found")


def test_another_method_has_the_same_shape(api_key):
    client = Client(headers={"Authorization": f"Bearer {api_key}"})
    openai_error(client.get(CHAT), 405, "method_not_allowed")


def test_clients_may_accept_and_send_any_type(call, pages, llm):
    body = {"model": "docs", "messages": [{"role": "user", "content": TAR}], "stream": True}
    response = call(
        CHAT,
        json.dumps(body).encode(),
        headers={"Accept": "text/event-stream"},
        content_type="application/x-www-form-urlencoded",
    )
    assert said_in(events_of(response)).startswith("Hello there.")


def test_browsers_may_call_with_the_library_of_openai():
    asked = "authorization,content-type,x-stainless-os,x-stainless-retry-count,openai-organization"
    response = Client().options(
        CHAT,
        headers={
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        },
    )
    assert response["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert set(asked.split(",")) <= set(response["Access-Control-Allow-Headers"].split(", "))


# --- The upstream --------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_is_down(call, pages, dead, stream):
    error = openai_error(ask(call, TAR, stream=stream), 502, "upstream_unreachable")
    assert error["type"] == "server_error"
    assert "127.0.0.1" not in error["message"]


def test_collections_are_listed_while_the_upstream_is_down(collection, api_key, dead):
    client = Client(headers={"Authorization": f"Bearer {api_key}"})
    listed = json.loads(client.get("/v1/models").content)
    assert [model["id"] for model in listed["data"]] == ["docs", "docs:extractive"]


def test_passages_answer_while_the_upstream_is_down(call, pages, dead):
    assert "tar -xf" in content_of(ask(call, TAR, model="docs:extractive"))


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_is_silent(call, pages, llm, settings, stream):
    settings.UPSTREAM_TIMEOUT = 0.3
    llm.script = lambda body: Reply(["late"], wait=threading.Event())
    openai_error(ask(call, TAR, stream=stream), 504, "upstream_timeout")
    llm.settle()


def test_an_upstream_that_falls_silent_in_the_middle(call, pages, llm, settings):
    settings.UPSTREAM_TIMEOUT = 0.3
    llm.script = say("Well, ", threading.Event(), "never")
    text = said_in(events_of(ask(call, TAR, stream=True)))
    assert text.startswith("Well, \n\n⚠️ The language model broke off here.")
    llm.settle()


def test_the_upstreams_key_is_not_the_clients(call, pages, llm, settings):
    llm.key = "right"
    settings.UPSTREAM_KEY = "wrong"
    error = openai_error(ask(call, TAR), 502, "upstream_key_refused")
    assert "KBADMIN_UPSTREAM_KEY" in error["message"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://llm:8000", "http://llm:8000/v1"),
        ("http://llm:8000/v1", "http://llm:8000/v1"),
        ("https://llm.example/api/paas/v4", "https://llm.example/api/paas/v4"),
    ],
)
def test_an_address_without_a_path_means_v1(settings, url, expected):
    settings.UPSTREAM_URL = url
    assert upstream.base_url() == expected


@pytest.mark.parametrize(
    ("host", "outside"),
    [
        ("127.0.0.1", False), ("10.1.2.3", False), ("::1", False), ("fastchat", False),
        ("host.docker.internal", False), ("api.example.com", True), ("8.8.8.8", True),
    ],
)  # fmt: skip
def test_a_proxy_of_the_machine_is_for_what_lies_outside(host, outside):
    assert upstream._is_outside(host) is outside


def test_the_chosen_model_answers_and_a_collection_goes_before_a_model(call, pages, llm, settings):
    llm.names = ["text-embedding-small", "chatty", "docs"]
    upstream.forget_models()
    content_of(ask(call, TAR))
    assert llm.last["model"] == "chatty"
    settings.UPSTREAM_MODEL = "chosen"
    content_of(ask(call, TAR))
    assert llm.last["model"] == "chosen"


# --- Embeddings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "docs"}, "input"),
        ({"model": "docs", "input": ""}, "input"),
        ({"model": "docs", "input": ["a", " "]}, "input"),
        ({"model": "docs", "input": [1, 2]}, "input"),
        ({"model": "docs", "input": ["a"] * 2049}, "input"),
        ({"model": "docs", "input": "a", "dimensions": 100}, "dimensions"),
        ({"model": "docs", "input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a"}, "model"),
    ],
)
def test_wrong_embeddings_are_refused(call, collection, body, param):
    assert openai_error(call("/v1/embeddings", body), 400)["param"] == param


def test_an_unknown_embedding_model_is_refused_with_the_name_of_ours(call, collection):
    body = {"model": "text-embedding-3-small", "input": "a"}
    error = openai_error(call("/v1/embeddings", body), 404, "model_not_found")
    assert "all-MiniLM-L6-v2" in error["message"]


def test_dimensions_that_are_the_models_own_are_fine(call, collection):
    response = call("/v1/embeddings", {"model": "docs", "input": "a", "dimensions": 384})
    assert response.status_code == 200
