"""The tools of /mcp: search, fetch and submit_feedback."""

import json
import uuid

import pytest
from jsonschema import validate

from plugin.mcp.tools import FETCHED
from retrieval import search as search_module
from retrieval.collections import create_collection
from retrieval.hidden import switch_chunks
from retrieval.models import Chunk, Collection, Document, Feedback, Search
from retrieval.vector_store import VectorStore
from tests.isolation import free_port
from tests.plugin.mcp.conftest import NEW, OLD

pytestmark = pytest.mark.django_db

QUESTION = "list all running containers"
#: Revisions that know structured results, and those that do not.
STRUCTURED, PLAIN = ["2025-06-18", "2025-11-25", NEW], ["", "2024-11-05", "2025-03-26"]


@pytest.fixture
def listed(rpc):
    def call(revision=OLD):
        tools = rpc("tools/list", revision=revision)["result"]["tools"]
        return {tool["name"]: tool for tool in tools}

    return call


# --- The list ----------------------------------------------------------------------------


def test_a_model_is_offered_search_fetch_and_feedback(collection, listed):
    tools = listed()
    assert list(tools) == ["search", "fetch", "submit_feedback"]
    assert tools["search"]["inputSchema"]["required"] == ["query"]
    assert tools["search"]["inputSchema"]["properties"].keys() == {"query"}
    assert tools["fetch"]["inputSchema"]["required"] == ["id"]
    assert tools["submit_feedback"]["inputSchema"]["required"] == ["query_id"]
    for tool in tools.values():
        assert 50 < len(tool["description"]) <= 1024


def test_annotations_say_which_tools_only_read(collection, listed):
    hints = {name: tool["annotations"] for name, tool in listed().items()}
    assert [hints[name]["readOnlyHint"] for name in hints] == [True, True, False]
    assert not any(hint["destructiveHint"] or hint["openWorldHint"] for hint in hints.values())
    assert all(hint["idempotentHint"] and hint["title"] for hint in hints.values())


@pytest.mark.parametrize("revision", STRUCTURED)
def test_newer_revisions_are_told_what_comes_back(collection, listed, revision):
    assert all({"title", "outputSchema"} <= tool.keys() for tool in listed(revision).values())


@pytest.mark.parametrize("revision", PLAIN)
def test_older_revisions_are_spared_what_they_do_not_know(collection, listed, revision):
    assert not any({"title", "outputSchema"} & tool.keys() for tool in listed(revision).values())


def test_several_collections_are_a_choice(collection, listed):
    create_collection(slug="law", title="Law", description="Contracts and statutes.")
    gone = create_collection(slug="old", title="Old")
    gone.tombstone()
    choice = listed()["search"]["inputSchema"]["properties"]["collection"]
    assert choice["enum"] == ["docs", "law"]
    assert "Contracts and statutes." in choice["description"]
    assert "docs if you leave it out" in choice["description"]


def test_the_list_has_one_page(rpc):
    assert rpc("tools/list", {"cursor": "2"})["error"]["code"] == -32602


# --- search ------------------------------------------------------------------------------


def test_search_answers_as_connectors_expect(pages, tool):
    answer = tool("search", query=QUESTION)
    assert answer.keys() == {"results", "passages", "query_id", "confidence"}
    best = answer["results"][0]
    assert best.keys() == {"id", "title", "url"}
    assert best["title"] == "docker ps"
    assert best["url"].startswith("http://127.0.0.1:8001/source/")
    assert int(best["id"]) == pages["docker.md"].chunks.get().pk
    assert "List all running containers." in answer["passages"][best["id"]]
    assert answer["passages"].keys() == {result["id"] for result in answer["results"]}
    assert answer["confidence"] == "high"


def test_the_address_of_a_passage_shows_it(pages, tool, client):
    page = client.get(tool("search", query=QUESTION)["results"][0]["url"])
    assert page.status_code == 200
    assert "List all running containers." in page.content.decode()


def test_a_document_with_an_address_is_linked_there(pages, tool):
    address = "https://docs.example.org/docker"
    Document.objects.filter(pk=pages["docker.md"].pk).update(url=address)
    (found, *_) = tool("search", query=QUESTION)["results"]
    assert found["url"] == tool("fetch", id=found["id"])["url"] == address


def test_chinese_is_sent_as_it_is(pages, rpc):
    params = {"name": "search", "arguments": {"query": "解压归档文件"}}
    text = rpc("tools/call", params)["result"]["content"][0]["text"]
    assert "解压归档文件到指定目录" in text


@pytest.mark.parametrize("revision", [*STRUCTURED, *PLAIN])
@pytest.mark.parametrize("name", ["search", "fetch", "submit_feedback"])
def test_structured_content_is_the_same_json_and_keeps_its_schema(
    pages, rpc, tool, listed, revision, name
):
    found = tool("search", query=QUESTION)
    arguments = {
        "search": {"query": QUESTION},
        "fetch": {"id": found["results"][0]["id"]},
        "submit_feedback": {"query_id": found["query_id"], "rating": "up"},
    }[name]
    params = {"name": name, "arguments": arguments}
    result = rpc("tools/call", params, revision=revision)["result"]
    assert ("structuredContent" in result) == (revision in STRUCTURED)
    if revision in STRUCTURED:
        assert result["structuredContent"] == json.loads(result["content"][0]["text"])
        validate(result["structuredContent"], listed(revision)[name]["outputSchema"])


def test_a_search_is_logged_as_one_over_mcp(pages, tool):
    row = Search.objects.get(pk=tool("search", query=QUESTION)["query_id"])
    assert (row.query, row.channel) == (QUESTION, "mcp")


def test_search_may_name_a_collection(collection, tool):
    create_collection(slug="law", title="Law")
    query_id = tool("search", query="anything", collection="law")["query_id"]
    assert Search.objects.get(pk=query_id).collection.slug == "law"


def test_search_takes_what_the_endpoint_takes(pages, tool):
    answer = tool("search", q="archive", top_k=1, filter={"tags": ["linux"]})
    assert len(answer["results"]) == 1
    assert answer["results"][0]["title"] == "tar"


def test_nothing_found_is_no_error(collection, tool):
    answer = tool("search", query="anything")
    assert (answer["results"], answer["confidence"]) == ([], "none")


def test_without_chroma_words_answer_and_it_says_so(pages, tool, monkeypatch):
    store = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=1)
    monkeypatch.setattr(search_module, "query_store", lambda: store)
    answer = tool("search", query=QUESTION)
    assert answer["results"][0]["title"] == "docker ps"
    assert answer["degraded"] == "vector_store_unavailable"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "query"),
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"query": ["x"]}, "query"),
        ({"query": "x" * 5000}, "4000"),
        ({"query": "x", "top_k": 1000}, "top_k"),
        ({"query": "x", "collection": "nothing"}, "docs"),
        ({"query": "x", "filter": {"date": {"near": 1}}}, "near"),
    ],
    ids=str,
)
@pytest.mark.parametrize("revision", [OLD, NEW])
def test_a_mistake_is_told_to_the_model(collection, mistake, arguments, named, revision):
    assert named in mistake("search", revision=revision, **arguments)


def test_a_part_that_is_away_is_told_to_the_model(collection, mistake):
    Collection.objects.update(live_index=None)
    assert "Try again" in mistake("search", query="anything")


@pytest.mark.parametrize(
    "params",
    [{}, {"name": "nothing"}, {"name": 5}, {"name": "search", "arguments": []},
     {"name": "search", "arguments": "x"}],
    ids=str,
)  # fmt: skip
def test_a_call_of_no_tool_is_an_error_of_the_protocol(collection, rpc, params):
    assert rpc("tools/call", params)["error"]["code"] == -32602


# --- fetch -------------------------------------------------------------------------------

LONG = "# Manual\n\n" + "\n\n".join(
    f"## Part {number}\n\nThis is what part {number} says about its matter. {'Words. ' * 60}"
    for number in range(100)
)


def test_fetch_reads_the_document_of_a_passage(pages, tool):
    result = tool("search", query=QUESTION)["results"][0]
    answer = tool("fetch", id=result["id"])
    assert answer.keys() == {"id", "title", "text", "url", "metadata"}
    assert (answer["id"], answer["title"]) == (result["id"], "docker ps")
    assert answer["text"] == "# docker ps\n\nList all running containers."
    assert answer["metadata"] == {
        "tags": ["containers"], "source": "docker.md", "collection": "docs",
        "complete": True, "headings": "docker ps",
    }  # fmt: skip


@pytest.mark.parametrize("form", [int, str, " {} ".format])
def test_an_id_may_come_as_a_number(pages, tool, form):
    chunk = pages["docker.md"].chunks.get()
    assert tool("fetch", id=form(chunk.pk))["title"] == "docker ps"


def test_of_a_long_document_it_reads_what_is_around_the_passage(add, tool):
    document = add("manual.md", LONG)
    result = tool("search", query="what part 50 says", mode="lexical")["results"][0]
    answer = tool("fetch", id=result["id"])
    assert "part 50 says" in answer["text"]
    assert "part 49 says" in answer["text"] and "part 51 says" in answer["text"]
    assert FETCHED / 2 < len(answer["text"]) <= FETCHED
    assert answer["metadata"]["complete"] is False
    onward = answer["metadata"]["continue_with"]
    assert onward.startswith(f"kbadmin://documents/{document.pk}?from=")


def test_a_long_document_can_be_read_to_its_end(add, tool):
    document = add("manual.md", LONG)
    texts, onward = [], f"kbadmin://documents/{document.pk}"
    while onward:
        answer = tool("fetch", id=onward)
        texts.append(answer["text"])
        onward = answer["metadata"].get("continue_with")
    assert len(texts) > 2
    assert "".join("\n\n".join(texts).split()) == "".join(LONG.split())


def test_what_is_hidden_is_not_read(add, tool, mistake):
    add("manual.md", LONG)
    hidden = Chunk.objects.get(text__contains="part 50 says")
    beside = Chunk.objects.get(text__contains="part 51 says")
    switch_chunks([hidden.pk], enabled=False)
    text = tool("fetch", id=str(beside.pk))["text"]
    assert "part 49 says" in text
    assert "part 50" not in text.lower()
    assert "Search again" in mistake("fetch", id=str(hidden.pk))


def test_what_is_deleted_is_not_read(pages, mistake):
    chunk = pages["docker.md"].chunks.get()
    pages["docker.md"].tombstone()
    assert "Search again" in mistake("fetch", id=str(chunk.pk))
    assert "no document" in mistake("fetch", id=f"kbadmin://documents/{pages['docker.md'].pk}")


def test_what_was_replaced_is_not_read(add, mistake, tool):
    old = add("page.md", "# Page\n\nThe price is ten.").chunks.get()
    add("page.md", "# Page\n\nThe price is twelve.")
    assert "Search again" in mistake("fetch", id=str(old.pk))
    assert "twelve" in tool("fetch", id=tool("search", query="price")["results"][0]["id"])["text"]


@pytest.mark.parametrize(
    "id",
    [None, "", " ", "x", "-1", "1.5", True, [1], {}, "９", 10**30, "99999999", "kbadmin://other/1",
     "kbadmin://documents/x", "kbadmin://documents/1?from=x", "https://example.org/1", "http://["],
    ids=str,
)  # fmt: skip
def test_an_id_that_is_none_is_told_to_the_model(pages, mistake, id):
    assert mistake("fetch", **({} if id is None else {"id": id}))


# --- submit_feedback ---------------------------------------------------------------------


@pytest.fixture
def found(pages, tool):
    return tool("search", query=QUESTION)


def test_a_vote_is_recorded_once_and_then_updated(found, tool):
    query_id = found["query_id"]
    first = tool("submit_feedback", query_id=query_id, rating="up", comment="helped")
    assert first["status"] == "recorded"
    second = tool("submit_feedback", query_id=query_id, rating="down", correction="Use podman.")
    assert second == {"feedback_id": first["feedback_id"], "status": "updated"}
    row = Feedback.objects.get()
    assert (row.rating, row.comment, row.correction) == (-1, "", "Use podman.")
    assert (row.question, row.channel) == (QUESTION, "mcp")


def test_the_result_at_fault_may_be_named(found, tool):
    wrong = found["results"][0]["id"]
    tool("submit_feedback", query_id=found["query_id"], rating="down", passage_id=wrong)
    assert Feedback.objects.get().chunk_id == int(wrong)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"rating": "up"}, "query_id"),
        ({"query_id": "no uuid", "rating": "up"}, "query_id"),
        ({"query_id": str(uuid.UUID(int=0)), "rating": "up"}, "query_id"),
        ({"query_id": "found"}, "rating"),
        ({"query_id": "found", "rating": "sideways"}, "sideways"),
        ({"query_id": "found", "rating": "up", "passage_id": "99999999"}, "passage_id"),
        ({"query_id": "found", "rating": "up", "passage_id": "x"}, "passage_id"),
        ({"query_id": "found", "comment": "x" * 5000}, "4000"),
    ],
    ids=str,
)
def test_a_vote_that_says_nothing_usable_is_told_to_the_model(found, mistake, arguments, named):
    if arguments.get("query_id") == "found":
        arguments = {**arguments, "query_id": found["query_id"]}
    assert named in mistake("submit_feedback", **arguments)
    assert not Feedback.objects.exists()
