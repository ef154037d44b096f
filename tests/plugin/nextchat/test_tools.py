"""/nextchat/…: tools that answer as NextChat needs them, and the files that set it up."""

import json
import re
import uuid

import pytest
from django.core.management import call_command
from django.test import Client
from openapi_spec_validator import validate

from plugin.doctor import Consumer, Severity
from plugin.doctor.sources import Fetched, check_document
from plugin.identity import plugin_id
from plugin.models import PluginIdentity
from plugin.nextchat import errors
from retrieval.exceptions import SearchUnavailable
from retrieval.hidden import switch_chunks
from retrieval.models import ApiKey, Feedback, Search
from tests.plugin.conftest import error_of

pytestmark = pytest.mark.django_db

ORIGIN = "http://localhost:3000"
FILES = ["openapi.json", "plugins.json", "masks.json", "serviceWorkerRegister.js"]
LINK = re.compile(r"\[([^\]]+)\]\((http[^)\s]+)\)")


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


@pytest.fixture
def answer(pages, call):
    return call("/nextchat/search", {"query": "list all running containers"}).json()


def spec_of(client):
    return client.get("/nextchat/openapi.json").json()


# --- What is imported ----------------------------------------------------------------------


def test_the_document_offers_three_tools_below_a_server_of_its_own(client, settings):
    settings.PLUGIN_SERVER_URL = "http://web:8001"
    spec = spec_of(client)
    validate(spec)
    assert spec["servers"] == [{"url": "http://web:8001/nextchat"}]
    tools = {path: methods["post"]["operationId"] for path, methods in spec["paths"].items()}
    assert tools == {
        "/search": "search",
        "/passage": "fetchPassage",
        "/feedback": "submitFeedback",
    }


def test_every_path_of_the_document_answers_below_its_server(client, call):
    for path in spec_of(client)["paths"]:
        assert call(f"/nextchat{path}", {}).json()["error"]["code"] == "invalid_request"


def test_bodies_are_flat_and_described(client):
    required = {"/search": ["query"], "/passage": ["chunk_id"], "/feedback": ["query_id"]}
    for path, methods in spec_of(client)["paths"].items():
        operation = methods["post"]
        assert "parameters" not in operation
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert body["required"] == required[path]
        for field in body["properties"].values():
            assert field["type"] in {"string", "integer"}
            assert field["description"]


@pytest.mark.parametrize("auth", ["bearer", "none"])
def test_the_doctor_finds_nothing_that_nextchat_would_stumble_over(client, settings, auth):
    settings.PLUGIN_AUTH = auth
    data = client.get("/nextchat/openapi.json").content
    report = check_document(Fetched(data, ""), consumers=[Consumer.NEXTCHAT], fetch=None)
    assert [found for found in report.findings if found.severity > Severity.ADVICE] == []
    assert [tool.name for tool in report.tools] == ["search", "fetchPassage", "submitFeedback"]


def test_what_was_changed_of_the_descriptions_is_told_here_too(client):
    PluginIdentity.objects.create(operations={"cited-search": "Find pages of Acme's handbook."})
    search = spec_of(client)["paths"]["/search"]["post"]
    assert search["description"] == "Find pages of Acme's handbook."


# --- Search --------------------------------------------------------------------------------


def test_a_result_brings_all_that_the_visible_answer_needs(answer):
    uuid.UUID(answer["query_id"])
    first = answer["results"][0]
    assert (first["number"], first["title"]) == (1, "docker ps")
    assert "running containers" in first["text"]
    assert first["source"].startswith("[1] [docker ps](http")
    assert "`footer`" in answer["instruction"]
    for result in answer["results"]:
        assert result["source"] in answer["footer"]
    assert answer["feedback_up"] in answer["footer"]
    assert answer["feedback_down"] in answer["footer"]


def test_every_link_of_the_footer_leads_somewhere(answer, client, settings):
    links = LINK.findall(answer["footer"])
    assert len(links) == len(answer["results"]) + 2
    for _text, link in links:
        assert client.get(link.removeprefix(settings.PUBLIC_URL)).status_code == 200


def test_the_footer_speaks_the_language_of_the_question(pages, call):
    assert "**来源**" in call("/nextchat/search", {"query": "解压归档文件"}).json()["footer"]
    assert "**Sources**" in call("/nextchat/search", {"query": "extract files"}).json()["footer"]


def test_a_title_cannot_break_the_link_that_it_stands_in(add, call):
    add("odd.md", "# A [b](http://evil.example) `c` | d\n\nUnmistakable sentence.\n")
    result = call("/nextchat/search", {"query": "unmistakable sentence"}).json()["results"][0]
    assert "evil.example\\" not in result["source"]
    assert result["source"].count("](") == 1 + result["source"].count("\\](")


def test_an_address_with_brackets_stays_one_link(add, call):
    document = add("odd.md", "# Odd\n\nUnmistakable sentence.\n")
    document.url = "https://example.org/a_(b) c"
    document.save()
    result = call("/nextchat/search", {"query": "unmistakable sentence"}).json()["results"][0]
    assert result["source"].endswith("(https://example.org/a_%28b%29%20c)")


def test_nothing_found_says_what_to_tell_the_user(collection, call):
    answer = call("/nextchat/search", {"query": "anything"}).json()
    assert (answer["results"], answer["confidence"]) == ([], "none")
    assert "Say so" in answer["instruction"]
    assert answer["feedback_down"] in answer["footer"]


def test_what_a_model_fills_in_needlessly_does_no_harm(pages, call):
    body = {"query": "containers", "top_k": "2", "collection": "", "filter": "x", "mode": "?"}
    assert len(call("/nextchat/search", body).json()["results"]) == 2


def test_a_search_is_logged_as_nextchats(answer):
    assert Search.objects.get(pk=answer["query_id"]).channel == "nextchat"


# --- Mistakes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "code", "advice"),
    [
        ("search", {}, "invalid_request", "Mend"),
        ("search", {"query": "x", "top_k": 1000}, "invalid_request", "Mend"),
        ("search", {"query": "x", "collection": "nope"}, "collection_not_found", "docs"),
        ("search", b"{", "invalid_json", "JSON object"),
        ("passage", {"chunk_id": 999_999}, "passage_gone", "Search again"),
        ("passage", {"chunk_id": "first"}, "invalid_request", "Mend"),
        ("feedback", {"query_id": "abc", "rating": "up"}, "invalid_request", "Mend"),
        (
            "feedback",
            {"query_id": "00000000-0000-4000-8000-000000000000", "rating": "up"},
            "query_not_found",
            "search again",
        ),
        ("feedback", {"query_id": f"/f/{'a' * 23}.b.c", "rating": "up"}, "link_invalid", "Copy"),
    ],
)
def test_what_a_model_can_mend_is_told_to_it(collection, call, path, body, code, advice):
    response = call(f"/nextchat/{path}", body)
    assert response.status_code == 200
    answer = response.json()
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]
    assert advice in answer["what_to_do"]


def test_a_search_that_fails_for_now_is_told_too(collection, call, monkeypatch):
    def fail(_request):
        raise SearchUnavailable("Neither arm can answer.")

    monkeypatch.setattr("plugin.nextchat.views.search", fail)
    answer = call("/nextchat/search", {"query": "x"}).json()
    assert answer["error"]["code"] == "search_unavailable"
    assert "cannot be searched" in answer["what_to_do"]


def test_a_wrong_key_stays_an_error(collection, call):
    for path in ("search", "passage", "feedback"):
        error_of(call(f"/nextchat/{path}", {"query": "x"}, key="kb_wrong"), 401)
        error_of(call(f"/nextchat/{path}", {"query": "x"}, key=None), 401)


def test_every_advice_is_for_a_code_that_there_is(collection):
    assert "docs" in errors.what_to_do("collection_not_found")


# --- Reading on ----------------------------------------------------------------------------

LONG = "# Handbook\n\n" + "\n\n".join(
    f"## Part {n}\n\n" + f"Rule {n} of the handbook says {n} things. " * 60 for n in range(6)
)


@pytest.fixture
def result(add, call):
    add("handbook.md", LONG)
    query = {"query": "rule 3 of the handbook", "top_k": 1}
    return call("/nextchat/search", query).json()["results"][0]


@pytest.mark.parametrize("mount", ["", "/nextchat"])
def test_a_passage_comes_with_its_neighbours(result, call, mount):
    one = call(f"{mount}/passage", {"chunk_id": result["chunk_id"]}).json()
    assert one["text"] == result["text"]
    assert one["before"]
    assert one["after"]
    more = call(f"{mount}/passage", {"chunk_id": result["chunk_id"], "context": 3}).json()
    assert more["before"].endswith(one["before"])
    assert more["after"].startswith(one["after"])
    assert len(more["before"]) > len(one["before"])
    none = call(f"{mount}/passage", {"chunk_id": result["chunk_id"], "context": 0}).json()
    assert (none["before"], none["after"]) == ("", "")
    assert none["has_more_before"]


def test_the_neighbours_and_the_passage_are_the_text_of_the_document(result, call):
    whole = call("/passage", {"chunk_id": result["chunk_id"], "context": 10}).json()
    together = whole["before"] + whole["text"] + whole["after"]
    squeezed = re.sub(r"\s+|#+ Part \d", "", together)
    source = re.sub(r"\s+|#+ Part \d|# Handbook", "", LONG)
    assert squeezed in source
    assert len(squeezed) > len(source) / 2


def test_a_hidden_passage_is_no_longer_handed_out(result, call):
    switch_chunks([result["chunk_id"]], enabled=False)
    error_of(call("/passage", {"chunk_id": result["chunk_id"]}), 410, "passage_gone")


# --- Feedback ------------------------------------------------------------------------------


def test_a_model_votes_by_the_id_of_the_search(answer, call):
    body = {"query_id": answer["query_id"], "rating": "down", "correction": "Use podman."}
    assert call("/nextchat/feedback", body).json()["status"] == "recorded"
    row = Feedback.objects.get()
    assert (row.rating, row.correction, row.channel) == (-1, "Use podman.", "nextchat")


@pytest.mark.parametrize("copied", ["{link}", "[👎 No]({link})", "see {link}.", "{token}"])
def test_a_turn_later_it_votes_by_the_link_that_is_still_visible(answer, call, copied):
    link = answer["feedback_down"]
    text = copied.format(link=link, token=link.rsplit("/", 1)[1])
    body = {"query_id": text, "rating": "down"}
    assert call("/nextchat/feedback", body).json()["status"] == "recorded"
    assert str(Feedback.objects.get().search_id) == answer["query_id"]


def test_what_a_model_and_a_button_record_of_one_answer_is_one_vote(answer, call, client):
    call("/nextchat/feedback", {"query_id": answer["query_id"], "rating": "up"})
    token = answer["feedback_up"].rsplit("/", 1)[1]
    client.post("/f", {"token": token, "rating": "down"}, "application/json")
    assert Feedback.objects.get().rating == -1


# --- The files -----------------------------------------------------------------------------


def test_the_plugin_is_known_by_its_content(client, settings):
    settings.PUBLIC_URL = "https://kb.example.org"
    (plugin,) = client.get("/nextchat/plugins.json").json()
    assert plugin == {
        "id": plugin_id(),
        "name": "Knowledge base",
        "schema": "https://kb.example.org/nextchat/openapi.json",
    }
    PluginIdentity.objects.create(name_for_human="Acme")
    (changed,) = client.get("/nextchat/plugins.json").json()
    assert changed["id"] != plugin["id"]
    assert changed["name"] == "Acme"


def test_the_first_mask_begins_with_the_plugin_on(client):
    masks = client.get("/nextchat/masks.json").json()
    assert masks.keys() == {"cn", "tw", "en"}
    (plugin,) = client.get("/nextchat/plugins.json").json()
    first = [*masks["cn"], *masks["tw"], *masks["en"]][0]
    assert first["plugin"] == [plugin["id"]]
    assert first["lang"] == "en"
    fields = {
        "avatar", "name", "context", "modelConfig", "lang", "builtin", "createdAt", "plugin",
        "syncGlobalConfig", "hideContext",
    }  # fmt: skip
    config = {
        "model", "providerName", "temperature", "max_tokens", "presence_penalty",
        "frequency_penalty", "sendMemory", "historyMessageCount", "compressMessageLengthThreshold",
    }  # fmt: skip
    for mask in masks["en"]:
        assert mask.keys() == fields
        assert mask["modelConfig"].keys() == config


def test_a_model_that_is_set_is_the_masks_own(client, settings):
    assert client.get("/nextchat/masks.json").json()["en"][0]["syncGlobalConfig"] is True
    settings.NEXTCHAT_MODEL = "docs"
    mask = client.get("/nextchat/masks.json").json()["en"][0]
    assert (mask["modelConfig"]["model"], mask["syncGlobalConfig"]) == ("docs", False)


@pytest.mark.parametrize("name", FILES)
def test_browsers_of_nextchat_may_fetch_and_keep_what_has_not_changed(client, name):
    response = client.get(f"/nextchat/{name}", headers={"Origin": ORIGIN})
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    assert response["Cache-Control"] == "no-cache"
    again = client.get(f"/nextchat/{name}", headers={"If-None-Match": response["ETag"]})
    assert again.status_code == 304
    assert not response.cookies


def test_no_secret_is_in_what_everybody_may_fetch(client, api_key):
    for name in FILES:
        assert api_key.encode() not in client.get(f"/nextchat/{name}").content


# --- The same as files ---------------------------------------------------------------------


def written(folder, *options):
    call_command("nextchat_files", str(folder), *options)
    return {path.name: path for path in folder.iterdir()}


def test_the_command_writes_what_is_served(client, tmp_path):
    files = written(tmp_path / "public")
    assert files.keys() == {"plugins.json", "masks.json", "serviceWorkerRegister.js"}
    for name, path in files.items():
        assert path.read_bytes() == client.get(f"/nextchat/{name}").content
        assert path.stat().st_mode & 0o444 == 0o444


def test_a_key_of_its_own_is_made_once_and_kept(tmp_path, collection, call):
    files = written(tmp_path, "--with-key")
    (plugin,) = json.loads(files["plugins.json"].read_text())
    assert (plugin["authType"], plugin["authLocation"]) == ("bearer", "header")
    key = plugin["authToken"]
    assert call("/nextchat/search", {"query": "x"}, key=key).status_code == 200
    mask = json.loads(files["masks.json"].read_text())["en"][0]
    assert mask["plugin"] == [plugin["id"]]
    written(tmp_path, "--with-key")
    assert json.loads(files["plugins.json"].read_text()) == [plugin]
    assert ApiKey.objects.filter(name="NextChat").count() == 1


def test_a_revoked_key_is_replaced_and_browsers_learn_of_it(tmp_path, db):
    files = written(tmp_path, "--with-key")
    (before,) = json.loads(files["plugins.json"].read_text())
    ApiKey.objects.get(name="NextChat").delete()
    written(tmp_path, "--with-key")
    (after,) = json.loads(files["plugins.json"].read_text())
    assert after["authToken"] != before["authToken"]
    assert after["id"] != before["id"]
