"""POST /mcp: the protocol itself, in both of its generations."""

import json

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from plugin.mcp.view import MAX_BATCH
from retrieval.models import ApiKey
from tests.plugin.mcp.conftest import META, NEW, OLD
from tests.plugin.test_search_view import anything

pytestmark = pytest.mark.django_db

HANDSHAKE = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def error_of(response, status, code):
    assert response.status_code == status, response.content[:300]
    assert response["Content-Type"] == "application/json"
    answer = json.loads(response.content)
    assert answer.keys() == {"jsonrpc", "id", "error"}
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]
    return answer


# --- The revisions of 2024 and 2025 ------------------------------------------------------


@pytest.mark.parametrize("revision", HANDSHAKE)
def test_initialize_agrees_on_the_revision_of_the_client(rpc, revision):
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t"}}
    result = rpc("initialize", params, revision="")["result"]
    assert result["protocolVersion"] == revision
    assert result["capabilities"] == {"tools": {}, "resources": {}}
    assert result["serverInfo"]["name"] == "kbadmin"
    assert result["serverInfo"]["version"]
    assert "submit_feedback" in result["instructions"]


@pytest.mark.parametrize("wanted", ["2023-01-01", "2026-07-28", "", None, 5])
def test_initialize_offers_the_newest_that_has_it_to_others(rpc, wanted):
    result = rpc("initialize", {"protocolVersion": wanted}, revision="")["result"]
    assert result["protocolVersion"] == "2025-11-25"


def test_no_session_is_begun_and_a_ping_needs_none(post, rpc):
    response = post({**PING, "method": "initialize", "params": {"protocolVersion": OLD}})
    assert "Mcp-Session-Id" not in response
    assert not response.cookies
    assert rpc("ping")["result"] == {}
    assert rpc("ping", revision="")["result"] == {}


@pytest.mark.parametrize("id", [0, 1, -5, 1.5, "", "a", "中文", 2**60])
def test_the_id_comes_back_as_it_was(post, id):
    assert json.loads(post({**PING, "id": id}).content) == {
        "jsonrpc": "2.0",
        "id": id,
        "result": {},
    }


@pytest.mark.parametrize(
    "method", ["notifications/initialized", "notifications/cancelled", "notifications/nonsense"]
)
@pytest.mark.parametrize("revision", ["", *HANDSHAKE, NEW])
def test_a_notification_is_accepted_without_an_answer(post, method, revision):
    headers = {"MCP-Protocol-Version": revision} if revision else {}
    response = post({"jsonrpc": "2.0", "method": method}, headers=headers)
    assert (response.status_code, response.content) == (202, b"")


def test_an_answer_that_nobody_asked_for_is_accepted(post):
    response = post({"jsonrpc": "2.0", "id": 1, "result": {}})
    assert (response.status_code, response.content) == (202, b"")


@pytest.mark.parametrize("revision", ["", "2024-11-05", "2025-03-26"])
def test_old_revisions_may_send_several_messages_at_once(post, revision):
    headers = {"MCP-Protocol-Version": revision} if revision else {}
    batch = [
        PING,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {**PING, "id": "two", "method": "tools/list"},
        {**PING, "id": 3, "method": "nothing"},
        {**PING, "id": 4, "method": "initialize"},
        {"id": 5},
        6,
    ]
    answers = json.loads(post(batch, headers=headers).content)
    assert [answer["id"] for answer in answers] == [1, "two", 3, 4, 5, None]
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes == [None, None, -32601, -32600, -32600, -32600]


def test_a_batch_of_notifications_needs_no_answer(post):
    response = post([{"jsonrpc": "2.0", "method": "notifications/initialized"}] * 2)
    assert (response.status_code, response.content) == (202, b"")


@pytest.mark.parametrize("batch", [[], [PING] * (MAX_BATCH + 1)], ids=["empty", "too many"])
def test_a_batch_has_bounds(post, batch):
    error_of(post(batch), 400, -32600)


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25", NEW])
def test_newer_revisions_have_no_batches(post, revision):
    error_of(post([PING], headers={"MCP-Protocol-Version": revision}), 400, -32600)


# --- The revision of 2026 ----------------------------------------------------------------


def test_discover_says_what_there_is(rpc):
    result = rpc("server/discover", revision=NEW)["result"]
    assert result["supportedVersions"][0] == NEW
    assert set(result["supportedVersions"]) == {NEW, *HANDSHAKE}
    assert result["capabilities"] == {"tools": {}, "resources": {}}
    assert result["resultType"] == "complete"
    assert result["ttlMs"] > 0
    assert result["cacheScope"] == "private"
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "kbadmin"


@pytest.mark.parametrize("method", ["tools/list", "resources/list", "resources/templates/list"])
def test_every_list_says_how_long_it_may_be_kept(rpc, method):
    result = rpc(method, revision=NEW)["result"]
    assert (result["resultType"], result["cacheScope"]) == ("complete", "private")
    assert result["ttlMs"] >= 0
    assert not {"resultType", "ttlMs", "cacheScope", "_meta"} & rpc(method)["result"].keys()


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "nothing"])
def test_what_this_revision_has_not_is_not_found(post, method):
    body = {**PING, "method": method, "params": {"_meta": META}}
    headers = {"MCP-Protocol-Version": NEW, "Mcp-Method": method}
    error_of(post(body, headers=headers), 404, -32601)


def test_older_revisions_know_nothing_of_discover(rpc):
    assert rpc("server/discover")["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("headers", "meta", "code"),
    [
        ({"Mcp-Method": None}, META, -32020),
        ({"Mcp-Method": "tools/list"}, META, -32020),
        ({"Mcp-Name": None}, META, -32020),
        ({"Mcp-Name": "fetch"}, META, -32020),
        ({"Mcp-Name": "=?base64?!!!?="}, META, -32020),
        ({"MCP-Protocol-Version": None}, META, -32020),
        ({"MCP-Protocol-Version": OLD}, META, -32020),
        ({"MCP-Protocol-Version": "2027-01-01"}, META, -32020),
        ({}, None, -32602),
        ({}, {}, -32602),
        ({}, {"io.modelcontextprotocol/protocolVersion": NEW}, -32602),
        ({}, {**META, "io.modelcontextprotocol/protocolVersion": OLD}, -32020),
        ({}, {**META, "io.modelcontextprotocol/protocolVersion": 5}, -32020),
    ],
)
def test_headers_and_body_must_say_the_same(post, headers, meta, code):
    params = {"name": "search", "arguments": {"query": "x"}, "_meta": meta}
    right = {"MCP-Protocol-Version": NEW, "Mcp-Method": "tools/call", "Mcp-Name": "search"}
    sent = {name: value for name, value in {**right, **headers}.items() if value is not None}
    body = {**PING, "method": "tools/call", "params": params}
    assert error_of(post(body, headers=sent), 400, code)["id"] == 1


def test_a_name_that_is_not_ascii_comes_in_base64(post):
    body = {**PING, "method": "tools/call", "params": {"name": "搜索", "_meta": META}}
    headers = {"MCP-Protocol-Version": NEW, "Mcp-Method": "tools/call"}
    right = post(body, headers={**headers, "Mcp-Name": "=?base64?5pCc57Si?="})
    assert "搜索" in error_of(right, 400, -32602)["error"]["message"]


@pytest.mark.parametrize("revision", ["2027-01-01", "1.0", "draft"])
def test_an_unknown_revision_is_told_which_are_known(post, revision):
    answer = error_of(post(PING, headers={"MCP-Protocol-Version": revision}), 400, -32022)
    data = answer["error"]["data"]
    assert data["requested"] == revision
    assert {NEW, OLD} <= set(data["supported"])


# --- What is no request ------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b" ", b"{", b"{'a': 1}", b"\xff\xfe", b'{"id": NaN}', b"[" * 100_000, b"1" * 5000],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_json_is_a_parse_error(post, body):
    assert error_of(post(body), 400, -32700)["id"] is None


@pytest.mark.parametrize(
    "body",
    [None, True, 5, "ping", {}, {"jsonrpc": "2.0"}, {**PING, "jsonrpc": "1.0"},
     {**PING, "jsonrpc": None}, {**PING, "method": 5}, {**PING, "id": None}, {**PING, "id": True},
     {**PING, "id": [1]}, {**PING, "id": {}}],
    ids=str,
)  # fmt: skip
def test_what_is_no_request_is_an_invalid_one(post, body):
    error_of(post(body), 400, -32600)


@pytest.mark.parametrize("params", [[], [1], "x", 5, None])
def test_parameters_must_be_an_object(post, params):
    assert error_of(post({**PING, "params": params}), 400, -32602)["id"] == 1


@pytest.mark.parametrize(
    "method", ["", "nothing", "prompts/list", "resources/subscribe", "tools/list/x", "中文"]
)
def test_an_unknown_method_is_not_found(rpc, method):
    assert rpc(method)["error"]["code"] == -32601


def test_a_body_has_a_limit(post, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    error_of(post({**PING, "params": {"x": "y" * 1000}}), 413, -32010)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_it_rejects_other_content_types(post, kind):
    error_of(post(PING, content_type=kind), 415, -32010)


@pytest.mark.parametrize("method", ["get", "delete", "put", "patch"])
def test_it_takes_nothing_but_posts(api_key, method):
    headers = {"Authorization": f"Bearer {api_key}", "Accept": "text/event-stream"}
    response = getattr(Client(), method)("/mcp", headers=headers)
    error_of(response, 405, -32010)
    assert response["Allow"] == "POST"


def test_a_bug_is_an_error_that_tells_nothing_of_it(rpc, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("plugin.mcp.methods._result", broken)
    error = rpc("tools/list")["error"]
    assert error["code"] == -32603
    assert "secret" not in json.dumps(error)


@settings(max_examples=150)
@given(body=anything)
def test_no_body_breaks_it(post, body):
    assert post(body).status_code in {200, 202, 400}


@settings(max_examples=150)
@given(
    method=st.sampled_from(["initialize", "tools/list", "tools/call", "resources/list",
                            "resources/read", "server/discover"]),
    params=st.dictionaries(
        st.sampled_from(["name", "arguments", "uri", "cursor", "protocolVersion", "_meta"]),
        st.one_of(anything, st.sampled_from(["search", "fetch", "submit_feedback"])),
    ),
)  # fmt: skip
def test_no_parameters_break_it(collection, post, method, params):
    answer = json.loads(post({**PING, "method": method, "params": params}).content)
    assert answer.get("error", {}).get("code") != -32603


# --- Who may call ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer kb_wrong"},
     {"Authorization": "Basic YTpi"}],
    ids=str,
)  # fmt: skip
def test_without_a_valid_key_it_asks_for_one(post, headers):
    response = post(PING, key=None, headers=headers)
    error_of(response, 401, -32010)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_key_is_none(post, api_key):
    ApiKey.objects.update(revoked_at="2024-01-01T00:00Z")
    error_of(post(PING), 401, -32010)


@pytest.mark.parametrize("key", [None, "anything"])
def test_without_authentication_any_key_or_none_will_do(post, settings, key):
    settings.PLUGIN_AUTH = "none"
    assert post(PING, key=key).status_code == 200


def test_the_use_of_a_key_is_remembered(post):
    post(PING)
    assert ApiKey.objects.get().last_used_at is not None


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "http://127.0.0.1:8001", "http://testserver", "http://testserver:80",
     "https://kb.example.org", "HTTPS://KB.example.org:443"],
)  # fmt: skip
def test_pages_that_may_call_the_plugin_may_call_this(post, settings, origin):
    settings.PUBLIC_URL = "https://kb.example.org"
    assert post(PING, headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://localhost:3000", "http://localhost:3001", "null", "", "x",
     "http://127.0.0.1:8001.evil.example", "file://", "http://127.0.0.1:99999"],
)  # fmt: skip
def test_other_pages_may_not(post, settings, origin):
    settings.PLUGIN_AUTH = "none"
    response = post(PING, headers={"Origin": origin})
    error_of(response, 403, -32010)
    assert "Access-Control-Allow-Origin" not in response


def test_all_pages_may_where_the_operator_says_so(post, settings):
    settings.CORS_ALLOW_ALL_ORIGINS = True
    assert post(PING, headers={"Origin": "http://anywhere.example"}).status_code == 200


def test_a_page_may_send_the_headers_of_the_protocol():
    response = Client().options(
        "/mcp",
        headers={
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,mcp-protocol-version",
        },
    )
    allowed = response["Access-Control-Allow-Headers"]
    for name in ("authorization", "mcp-protocol-version", "mcp-method", "mcp-name"):
        assert name in allowed


def test_answers_are_not_kept_by_what_lies_between(post):
    assert post(PING)["Cache-Control"] == "no-store"
