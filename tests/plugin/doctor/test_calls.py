"""A real, signed call of the search, and of nothing else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from plugin.doctor import Finding, Severity, calls
from plugin.doctor.calls import KEY_NAME
from plugin.doctor.examine import understand
from plugin.doctor.probes import Probed, probe_address, probe_own
from plugin.doctor.samples import QUESTION, search_call
from retrieval.models import ApiKey, Search
from tests.plugin.doctor.plugins import BEARER, ORIGIN, good_plugin
from tests.web_server import Site, serve

TOKEN = 'secret "of" nobody else'


@pytest.fixture
def site(settings: Any) -> Iterator[Site]:
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    with serve() as site:
        good_plugin(site)
        yield site


def probe(site: Site, token: str = TOKEN) -> Probed:
    return probe_address(f"{site.url}/ai-plugin.json", token=token)


def live(probed: Probed) -> list[Finding]:
    return [one for one in probed.report.findings if one.rule.startswith("KB7")]


def only(probed: Probed) -> Finding:
    [found] = live(probed)
    return found


def spec_of(site: Site) -> Any:
    return yaml.safe_load(site.pages["/openapi.yaml"][2])


def write_spec(site: Site, spec: Any) -> None:
    status, headers, _ = site.pages["/openapi.yaml"]
    site.pages["/openapi.yaml"] = (status, headers, yaml.safe_dump(spec).encode())


def test_the_search_is_called_with_the_key_that_was_given(site: Site) -> None:
    probed = probe(site)
    assert live(probed) == []
    [(path, headers, body)] = site.calls
    assert (path, headers["Authorization"]) == ("/search", f"Bearer {TOKEN}")
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"query": QUESTION}


def test_the_key_stands_nowhere_afterwards(site: Site) -> None:
    echoed = json.dumps({"you": TOKEN}) + TOKEN
    site.answer("/search", echoed, status=401)
    probed = probe(site)
    call = next(one for one in probed.exchanges if one.what == "call")
    assert "Authorization: Bearer •••" in call.raw
    assert QUESTION in call.raw
    everything = repr(probed) + "".join(one.raw for one in probed.exchanges)
    assert "nobody else" not in everything


def test_without_a_key_a_plugin_that_wants_one_is_not_called(site: Site) -> None:
    assert live(probe(site, token="")) == []
    assert site.calls == []


def test_a_plugin_that_wants_none_is_called_without(site: Site) -> None:
    good_plugin(site, auth={"type": "none"})
    assert live(probe(site)) == []
    [(_path, headers, _body)] = site.calls
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("auth", "token", "header"),
    [
        ({**BEARER, "authorization_type": "basic"}, "abc", "Basic abc"),
        ({**BEARER, "authorization_type": "basic"}, "me:pw", "Basic bWU6cHc="),
        ({"type": "user_http", "authorization_type": "bearer"}, "abc", "Bearer abc"),
        ({"type": "oauth"}, "abc", "Bearer abc"),
    ],
)
def test_the_key_goes_as_the_manifest_says(
    site: Site, auth: dict[str, Any], token: str, header: str
) -> None:
    good_plugin(site, auth=auth)
    probed = probe(site, token)
    [(_path, headers, _body)] = site.calls
    assert headers["Authorization"] == header
    call = next(one for one in probed.exchanges if one.what == "call")
    assert header.split()[1] not in call.raw


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, "X-Key"),
        ({"type": "apiKey", "in": "query", "name": "api key"}, None),
    ],
)
def test_an_openapi_document_alone_says_how_the_key_goes(
    site: Site, scheme: dict[str, str], name: str | None
) -> None:
    spec = spec_of(site)
    spec["components"]["securitySchemes"]["key"] = scheme
    write_spec(site, spec)
    site.answer("/search?api+key=a%2Fb", "{}")
    probed = probe_address(f"{site.url}/openapi.yaml", token="a/b")
    assert not [one for one in live(probed) if one.rule in {"KB714", "KB715"}]
    [(path, headers, _body)] = site.calls
    if name:
        assert headers[name] == "a/b"
    else:
        assert path == "/search?api+key=a%2Fb"
    call = next(one for one in probed.exchanges if one.what == "call")
    assert "a/b" not in call.raw
    assert "a%2Fb" not in call.raw


@pytest.mark.parametrize(
    ("answer", "rule", "severity", "said"),
    [
        ({"body": "who?", "status": 401}, "KB714", 3, "answered with 401: who?"),
        ({"body": "", "status": 403}, "KB714", 3, "answered with 403: nothing"),
        ({"body": "{}", "status": 500}, "KB715", 3, "answered with 500"),
        ({"body": "{}", "status": 404}, "KB715", 3, "answered with 404"),
        ({"body": "{}", "status": 422}, "KB715", 2, "answered with 422"),
        ({"body": "", "status": 307}, "KB715", 3, "led on to"),
        ({"body": "<p>Hello", "kind": "text/html"}, "KB716", 2, "no JSON, but text/html"),
        ({"body": json.dumps("a" * 100_001)}, "KB718", 3, "100,003 characters"),
        ({"body": json.dumps("a" * 3_000_000)}, "KB718", 3, "more than 2 MB"),
    ],
)
def test_a_call_that_fails_is_told(
    site: Site, answer: dict[str, Any], rule: str, severity: int, said: str
) -> None:
    site.answer("/search", **answer)
    found = only(probe(site))
    assert (found.rule, found.severity) == (rule, severity)
    assert found.pointer == "/paths/~1search/post"
    assert found.line == 9
    assert said in found.message


def test_a_search_that_takes_long_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SLOW", 0.0)
    found = only(probe(site))
    assert (found.rule, found.severity) == ("KB717", Severity.WARNING)
    monkeypatch.setattr(calls, "TIMEOUT", 0.7)
    spec = spec_of(site)
    spec["paths"] = {"/bad-silence": {"get": spec["paths"]["/search"]["post"]}}
    spec["paths"]["/bad-silence"]["get"].pop("requestBody")
    spec["paths"]["/bad-silence"]["get"]["parameters"] = [
        {"name": "q", "in": "query", "schema": {"type": "string"}, "description": "What"}
    ]
    write_spec(site, spec)
    found = only(probe(site))
    assert (found.rule, found.severity) == ("KB717", Severity.ERROR)
    assert "within 0.7 seconds" in found.message


def test_a_server_that_is_away_is_told(site: Site) -> None:
    spec = spec_of(site)
    spec["servers"] = [{"url": "http://127.0.0.1:1"}]
    write_spec(site, spec)
    found = {(one.rule, one.severity) for one in live(probe(site))}
    assert found == {("KB713", Severity.ERROR)}


def test_the_key_is_not_sent_to_a_server_of_another_domain(site: Site, settings: Any) -> None:
    settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
    spec = spec_of(site)
    spec["servers"] = [{"url": f"http://localhost:{site.port}"}]
    write_spec(site, spec)
    found = only(probe(site))
    assert (found.rule, found.severity) == ("KB719", Severity.ADVICE)
    assert site.calls == []


def test_a_redirect_does_not_carry_the_key_away(site: Site) -> None:
    spec = spec_of(site)
    operation = spec["paths"]["/search"].pop("post")
    operation.pop("requestBody")
    operation["parameters"] = [
        {"name": "q", "in": "query", "schema": {"type": "string"}, "description": "What"}
    ]
    spec["paths"]["/search"]["get"] = operation
    write_spec(site, spec)
    site.leads("/search?q=What+can+you+tell+me%3F", "/elsewhere")
    assert "led on to /elsewhere (302)" in only(probe(site)).message
    assert [path for path, _headers, _body in site.calls] == ["/search?q=What+can+you+tell+me%3F"]


def test_the_command_takes_the_key(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"{site.url}/ai-plugin.json"
    call_command("validate_manifest", address, "--token", "abc", "--consumer", "nextchat")
    assert site.calls[0][1]["Authorization"] == "Bearer abc"
    assert "abc" not in capsys.readouterr().out


# --- Which operation, and what it is asked ----------------------------------------------------


def call_of(paths: Any, **more: Any) -> Any:
    spec = {"openapi": "3.0.3", "servers": [{"url": "https://a.com/v1/"}], "paths": paths, **more}
    subject, _main = understand(json.dumps(spec), address="https://a.com/openapi.json")
    return search_call(subject)


def body(**properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"content": {"application/json": {"schema": schema}}}


STRING = {"type": "string"}


@pytest.mark.parametrize(
    ("path", "method", "name"),
    [
        ("/search", "post", "createSearchIndex"),
        ("/delete", "post", "searchAndDelete"),
        ("/notes", "post", "addNote"),
        ("/feedback", "post", "submitFeedback"),
        ("/query", "post", "runQuery"),
        ("/sql/query", "put", "query"),
        ("/search", "delete", "search"),
        ("/send", "get", "getAndSend"),
        ("/order", "post", ""),
        ("/chat", "post", "chat"),
    ],
)
def test_what_is_not_clearly_a_search_is_never_called(path: str, method: str, name: str) -> None:
    operation = {"operationId": name, "requestBody": body(query=STRING)}
    assert call_of({path: {method: operation}}) is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/search", "search"),
        ("/query", "query_query_post"),
        ("/v2/documents", "searchDocuments"),
        ("/find-notes", ""),
        ("/sub/query", "query_main_sub_query_post"),
        ("/lookup", "Lookup"),
    ],
)
def test_a_search_is_known_by_its_name(path: str, name: str) -> None:
    operation = {"operationId": name, "requestBody": body(query=STRING)}
    found = call_of(
        {"/add": {"post": operation | {"operationId": "add"}}, path: {"post": operation}}
    )
    assert (found.method, found.url) == ("POST", f"https://a.com/v1{path}")
    assert json.loads(found.body) == {"query": QUESTION}


def test_the_question_fits_what_is_asked_for() -> None:
    query = {"type": "object", "required": ["query"], "properties": {"query": STRING}}
    asked = body(
        queries={"type": "array", "items": {"$ref": "#/components/schemas/Query"}},
        top_k={"type": "integer", "minimum": 3},
        mode={"enum": ["fast", "slow"]},
        deep={"type": "boolean"},
        space={"anyOf": [{"type": "null"}, {"const": "all"}]},
    )
    found = call_of(
        {"/query": {"post": {"operationId": "query", "requestBody": asked}}},
        components={"schemas": {"Query": query}},
    )
    assert json.loads(found.body) == {
        "queries": [{"query": QUESTION}],
        "top_k": 3,
        "mode": "fast",
        "deep": False,
        "space": "all",
    }


def test_what_nobody_can_guess_is_not_asked() -> None:
    empty: dict[str, Any] = {"content": {}}
    for asked in (body(query=STRING, tenant=STRING), empty, body(number={"type": "x"})):
        operation = {"operationId": "search", "requestBody": asked}
        assert call_of({"/search": {"post": operation}}) is None
    circle = {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/c"}}}
    operation = {"operationId": "search", "requestBody": body(a={"$ref": "#/c"})}
    assert call_of({"/search": {"post": operation}}, c=circle) is None


def test_a_reading_get_will_do_where_there_is_no_search() -> None:
    parameters = [
        {"name": "id", "in": "path", "required": True, "schema": {**STRING, "example": "a/b"}},
        {"name": "page", "in": "query", "required": True, "schema": {"type": "integer"}},
    ]
    paths = {"/notes/{id}": {"get": {"operationId": "getNote", "parameters": parameters}}}
    found = call_of(paths)
    assert (found.method, found.url) == ("GET", "https://a.com/v1/notes/a%2Fb?page=1")
    del parameters[0]["schema"]["example"]  # type: ignore[attr-defined]
    assert call_of(paths) is None


# --- Our own ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("auth", ["bearer", "none"])
def test_our_own_is_called_with_a_key_that_is_gone_afterwards(
    live_server: Any, settings: Any, auth: str
) -> None:
    settings.PLUGIN_AUTH = auth
    settings.PUBLIC_URL = live_server.url
    # Chat servers call another name of it, as from inside a container.
    settings.PLUGIN_SERVER_URL = live_server.url.replace("localhost", "127.0.0.1")
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    ApiKey.issue("Chat")
    probed = probe_own()
    call = next(one for one in probed.exchanges if one.what == "call")
    # There is no collection here: what counts is that it was let in.
    assert call.status not in {0, 401, 403}
    assert [key.name for key in ApiKey.objects.all()] == ["Chat"]
    assert "kb_check_" not in call.raw


@pytest.mark.django_db
def test_what_the_doctor_asks_is_nobodys_question(client: Client, monkeypatch: Any) -> None:
    asked: list[Any] = []

    def search(request: Any) -> None:
        asked.append(request)
        raise ZeroDivisionError

    monkeypatch.setattr("plugin.views.search", search)
    with calls.own_key() as key:
        assert ApiKey.objects.get().name == KEY_NAME
        for sent in (key, ApiKey.issue("Chat")[1]):
            with pytest.raises(ZeroDivisionError):
                client.post(
                    "/search",
                    {"query": "x"},
                    "application/json",
                    headers={"Authorization": f"Bearer {sent}"},
                )
    assert [request.is_logged for request in asked] == [False, True]
    assert not Search.objects.exists()
    response = client.post(
        "/search", {"query": "x"}, "application/json", headers={"Authorization": f"Bearer {key}"}
    )
    assert response.status_code == 401
