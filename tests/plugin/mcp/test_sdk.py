"""The official SDK against a running server: version 2 in both of its modes, and version 1."""

import json
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.plugin.mcp.conftest import KEY

pytestmark = pytest.mark.timeout(900)

MODES = {"auto": "2026-07-28", "legacy": "2025-11-25"}
QUESTION = "list all running containers"


@pytest.fixture(params=MODES)
def run(request: Any, url: str) -> Callable[[Callable[[Client], Awaitable[Any]]], Any]:
    """Do something with a connected client; returns what that returned."""

    def go(work: Callable[[Client], Awaitable[Any]], key: str = KEY) -> Any:
        async def connected() -> Any:
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
                transport = streamable_http_client(f"{url}/mcp", http_client=http)
                async with Client(transport, mode=request.param) as client:
                    assert client.protocol_version == MODES[request.param]
                    return await work(client)

        return anyio.run(connected)

    return go


def answered(result: Any) -> Any:
    """The JSON that a tool answered with; the same twice."""
    assert not result.is_error, result
    (item,) = result.content
    assert item.type == "text"
    answer = json.loads(item.text)
    assert result.structured_content == answer
    return answer


def test_it_says_who_it_is(run):
    async def work(client):
        return client.server_info, client.server_capabilities, client.instructions

    info, capabilities, instructions = run(work)
    assert info.name == "kbadmin"
    assert capabilities.tools is not None
    assert capabilities.resources is not None
    assert "knowledge base" in instructions


def test_its_tools_are_listed(run):
    async def work(client):
        return (await client.list_tools()).tools

    tools = run(work)
    assert [tool.name for tool in tools] == ["search", "fetch", "submit_feedback"]
    assert tools[0].annotations.read_only_hint is True
    assert all(tool.output_schema for tool in tools)


def test_a_question_is_answered_read_on_and_voted_on(run, installation):
    async def work(client):
        found = answered(await client.call_tool("search", {"query": QUESTION}))
        best = found["results"][0]
        read = answered(await client.call_tool("fetch", {"id": best["id"]}))
        vote = {"query_id": found["query_id"], "rating": "up", "comment": "很好"}
        return found, read, answered(await client.call_tool("submit_feedback", vote))

    found, read, vote = run(work)
    assert found["results"][0]["title"] == read["title"] == "docker ps"
    assert "List all running containers." in read["text"]
    assert vote["status"] == "recorded"
    ((channel, comment),) = installation.rows(
        f"SELECT channel, comment FROM retrieval_feedback WHERE id = {vote['feedback_id']}"
    )
    assert (channel, comment) == ("mcp", "很好")


def test_chinese_arrives_whole(run):
    async def work(client):
        return answered(await client.call_tool("search", {"query": "怎么解压归档文件"}))

    found = run(work)
    assert found["results"][0]["title"] == "解压归档"
    assert "用 tar 命令" in found["passages"][found["results"][0]["id"]]


def test_a_mistake_is_a_result_that_a_model_can_act_on(run):
    async def work(client):
        return await client.call_tool("search", {"query": "x", "collection": "nothing"})

    result = run(work)
    assert result.is_error
    assert "docs" in result.content[0].text


def test_what_there_is_not_is_an_error(run):
    async def work(client):
        codes = []
        for call in (
            lambda: client.call_tool("nothing", {}),
            lambda: client.read_resource("kbadmin://documents/99999999"),
            lambda: client.list_resources(cursor="x"),
            lambda: client.list_prompts(),
        ):
            with pytest.raises(MCPError) as caught:
                await call()
            codes.append(caught.value.code)
        return client.protocol_version, codes

    version, codes = run(work)
    gone = -32602 if version == MODES["auto"] else -32002
    assert codes == [-32602, gone, -32602, -32601]


def test_documents_are_listed_and_read(run):
    async def work(client):
        resources = (await client.list_resources()).resources
        texts = {one.name: await client.read_resource(one.uri) for one in resources}
        return resources, texts, await client.list_resource_templates()

    resources, texts, templates = run(work)
    assert {one.name for one in resources} == {"docker.md", "tar.md", "zh/tar.md"}
    assert texts["tar.md"].contents[0].text == "# tar\n\nExtract files from an archive."
    assert "用 tar 命令" in texts["zh/tar.md"].contents[0].text
    assert len(templates.resource_templates) == 2


def test_without_a_key_there_is_no_connection(run):
    async def work(client):
        return None

    with pytest.raises(ExceptionGroup) as caught:
        run(work, key="kb_wrong")
    assert caught.value.subgroup(MCPError)


# --- Version 1, by a program of its own --------------------------------------------------

PROGRAM = """
import asyncio, json, sys
import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError

async def main(url, key):
    told = {}
    http = httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    async with http, streamable_http_client(url, http_client=http) as (reading, writing, _):
        async with ClientSession(reading, writing) as session:
            begun = await session.initialize()
            told["revision"] = begun.protocolVersion
            told["server"] = begun.serverInfo.name
            await session.send_ping()
            told["tools"] = [tool.name for tool in (await session.list_tools()).tools]
            found = await session.call_tool("search", {"query": "怎么解压归档文件"})
            told["found"] = json.loads(found.content[0].text)
            told["same"] = found.structuredContent == told["found"]
            best = told["found"]["results"][0]["id"]
            read = await session.call_tool("fetch", {"id": best})
            told["read"] = json.loads(read.content[0].text)
            vote = {"query_id": told["found"]["query_id"], "rating": "down"}
            voted = await session.call_tool("submit_feedback", vote)
            told["vote"] = json.loads(voted.content[0].text)
            wrong = await session.call_tool("search", {})
            told["mistake"] = [wrong.isError, wrong.content[0].text]
            told["codes"] = []
            for call in (session.list_prompts, lambda: session.read_resource("kbadmin://x/1")):
                try:
                    await call()
                except McpError as error:
                    told["codes"].append(error.error.code)
            resources = (await session.list_resources()).resources
            told["resources"] = [one.name for one in resources]
            first = await session.read_resource(resources[0].uri)
            told["text"] = first.contents[0].text
    print(json.dumps(told))

asyncio.run(main(*sys.argv[1:]))
"""


def test_version_1_of_the_sdk_does_it_all(url, python_with_old_sdk):
    done = subprocess.run(
        [python_with_old_sdk, "-c", PROGRAM, f"{url}/mcp", KEY],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["revision"], told["server"]) == ("2025-11-25", "kbadmin")
    assert told["tools"] == ["search", "fetch", "submit_feedback"]
    assert told["found"]["results"][0]["title"] == told["read"]["title"] == "解压归档"
    assert told["same"] is True
    assert told["vote"]["status"] == "recorded"
    assert told["mistake"][0] is True
    assert "query" in told["mistake"][1]
    assert told["codes"] == [-32601, -32002]
    assert told["resources"] == ["docker.md", "tar.md", "zh/tar.md"]
    assert told["text"] == "# docker ps\n\nList all running containers."
