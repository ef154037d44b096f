"""Manifest, OpenAPI document, logo and legal page."""

import re
from urllib.parse import urlsplit

import pytest
import yaml
from django.test import Client
from openapi_spec_validator import validate

from tests.plugin.conftest import error_of

pytestmark = pytest.mark.django_db

MANIFESTS = ["/.well-known/ai-plugin.json", "/ai-plugin.json"]
DOCUMENTS = [*MANIFESTS, "/openapi.json", "/openapi.yaml", "/logo.png"]


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


@pytest.fixture
def schema(client):
    return client.get("/openapi.json").json()


def parts_of(node):
    yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from parts_of(child)


# --- Manifest ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", MANIFESTS)
def test_the_manifest_has_what_clients_require_within_their_limits(client, path):
    response = client.get(path)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    body = response.json()
    assert body["schema_version"] == "v1"
    assert re.fullmatch(r"[A-Za-z0-9_]{1,50}", body["name_for_model"])
    assert 1 <= len(body["name_for_human"]) <= 20
    assert 1 <= len(body["description_for_human"]) <= 100
    assert 1 <= len(body["description_for_model"]) <= 8000
    assert body["api"]["type"] == "openapi"
    assert "@" in body["contact_email"]
    for url in (body["api"]["url"], body["logo_url"], body["legal_info_url"]):
        assert urlsplit(url).scheme in {"http", "https"}
        assert urlsplit(url).netloc


def test_every_address_of_the_manifest_answers(client):
    body = client.get("/ai-plugin.json").json()
    for url in (body["api"]["url"], body["logo_url"], body["legal_info_url"]):
        assert client.get(urlsplit(url).path).status_code == 200, url


def test_both_paths_give_the_same_manifest(client):
    first, second = (client.get(path) for path in MANIFESTS)
    assert first.content == second.content


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("none", {"type": "none"}),
        (
            "bearer",
            {"type": "service_http", "authorization_type": "bearer", "verification_tokens": {}},
        ),
    ],
)
def test_the_manifest_says_how_to_authenticate(client, settings, auth, expected):
    settings.PLUGIN_AUTH = auth
    assert client.get("/ai-plugin.json").json()["auth"] == expected


def test_the_manifest_names_the_public_address(client, settings):
    settings.PUBLIC_URL = "https://kb.example.com/base"
    body = client.get("/ai-plugin.json").json()
    assert body["api"]["url"] == "https://kb.example.com/base/openapi.yaml"
    assert body["legal_info_url"] == "https://kb.example.com/base/legal"


# --- OpenAPI -----------------------------------------------------------------------------


def test_the_document_is_valid_openapi(schema):
    validate(schema)
    assert schema["openapi"].startswith("3.0")


def test_yaml_and_json_say_the_same(client, schema):
    response = client.get("/openapi.yaml")
    assert "yaml" in response["Content-Type"]
    assert yaml.safe_load(response.content) == schema


def test_the_document_names_the_tools_and_nothing_else(schema):
    operations = {
        (path, method): operation["operationId"]
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    assert operations == {("/search", "post"): "search", ("/feedback", "post"): "submitFeedback"}


def test_no_schema_is_a_reference(client):
    assert b"$ref" not in client.get("/openapi.json").content
    assert b"$ref" not in client.get("/openapi.yaml").content


def test_no_path_ends_in_a_slash(schema):
    assert schema["paths"]
    assert not [path for path in schema["paths"] if path.endswith("/")]


def test_the_server_is_an_absolute_address_without_a_slash(schema, settings):
    (server,) = schema["servers"]
    assert server["url"] == settings.PLUGIN_SERVER_URL
    assert urlsplit(server["url"]).scheme in {"http", "https"}
    assert not server["url"].endswith("/")


def test_descriptions_fit_into_gpt_actions(schema):
    for methods in schema["paths"].values():
        for operation in methods.values():
            assert 20 < len(operation["description"]) <= 300
    for part in parts_of(schema):
        if isinstance(part, dict) and isinstance(part.get("description"), str):
            assert len(part["description"]) <= 700


def test_bodies_are_flat_json_objects_with_described_fields(schema):
    for path, methods in schema["paths"].items():
        content = methods["post"]["requestBody"]["content"]
        assert list(content) == ["application/json"], path
        body = content["application/json"]["schema"]
        assert body["type"] == "object"
        assert body.get("required", []) == (["query"] if path == "/search" else [])
        for name, field in body["properties"].items():
            assert field.get("description"), name
        assert "parameters" not in methods["post"]


def test_no_header_is_asked_for_beside_authorization(schema):
    assert not [
        part for part in parts_of(schema) if isinstance(part, dict) and part.get("in") == "header"
    ]


def test_a_key_is_part_of_the_document_only_where_one_is_asked(client, settings):
    settings.PLUGIN_AUTH = "bearer"
    with_key = client.get("/openapi.json").json()
    schemes = with_key["components"]["securitySchemes"]
    assert [scheme["scheme"] for scheme in schemes.values()] == ["bearer"]
    assert with_key["paths"]["/search"]["post"]["security"] == [{name: [] for name in schemes}]
    settings.PLUGIN_AUTH = "none"
    without = client.get("/openapi.json").json()
    validate(without)
    assert "securitySchemes" not in str(without)


def test_real_answers_are_as_the_document_says(schema, pages, call):
    import jsonschema

    def check(path, response):
        responses = schema["paths"][path]["post"]["responses"]
        described = responses.get(str(response.status_code)) or responses["4XX"]
        body = response.json()
        jsonschema.validate(body, described["content"]["application/json"]["schema"])
        return body

    answer = check("/search", call("/search", {"query": "list running containers"}))
    assert answer["results"]
    check("/search", call("/search", {}))
    check("/search", call("/search", {"query": "x", "collection": "none"}))
    vote = {"query_id": answer["query_id"], "rating": "up"}
    check("/feedback", call("/feedback", vote))
    check("/feedback", call("/feedback", vote))
    check("/feedback", call("/feedback", {}))


# --- All of them -------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS)
def test_what_has_not_changed_is_not_sent_again(client, path):
    first = client.get(path)
    assert first.status_code == 200
    assert first["ETag"]
    again = client.get(path, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]
    other = client.get(path, headers={"If-None-Match": '"something else"'})
    assert other.content == first.content


@pytest.mark.parametrize("path", [*DOCUMENTS, "/legal"])
def test_no_key_is_needed_to_read(client, path):
    assert client.get(path).status_code == 200
    assert client.head(path).status_code == 200


@pytest.mark.parametrize("path", [*DOCUMENTS, "/legal"])
def test_they_reject_post(client, path):
    assert client.post(path, {}, content_type="application/json").status_code == 405


def test_a_change_gives_another_etag(client, settings):
    before = client.get("/ai-plugin.json")["ETag"]
    settings.CONTACT_EMAIL = "other@example.com"
    assert client.get("/ai-plugin.json")["ETag"] != before


def test_the_logo_is_a_png(client):
    response = client.get("/logo.png")
    assert response["Content-Type"] == "image/png"
    assert response.content.startswith(b"\x89PNG")


def test_the_legal_page_names_whom_to_write_to(client, settings):
    settings.CONTACT_EMAIL = "legal@example.com"
    response = client.get("/legal")
    assert response["Content-Type"].startswith("text/html")
    assert b"legal@example.com" in response.content


@pytest.mark.parametrize("path", [*DOCUMENTS, "/legal"])
def test_public_pages_allow_no_script(client, path):
    policy = client.get(path)["Content-Security-Policy"]
    assert "script-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_wrong_host_gets_the_one_error_shape(client, path):
    error_of(client.get(path, headers={"Host": "evil.example"}), 400, "host_not_allowed")
