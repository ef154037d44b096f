"""deploy/mcp: the programs that pass messages from stdio on to /mcp, and the ready files."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.isolation import free_port
from tests.plugin.mcp.conftest import KEY, META, ROOT
from tests.plugin.mcp.test_sdk import MODES, QUESTION, answered
from tests.web_server import serve

FOLDER = ROOT / "deploy" / "mcp"
PROGRAMS = {
    "python": [sys.executable, str(FOLDER / "kbadmin_mcp.py")],
    "node": ["node", str(FOLDER / "kbadmin_mcp.mjs")],
}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HELLO = {
    **PING,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}},
}


@pytest.fixture(params=PROGRAMS)
def command(request: Any) -> list[str]:
    if request.param == "node" and not shutil.which("node") and not os.environ.get("CI"):
        pytest.skip("node is not installed")
    return PROGRAMS[request.param]


@pytest.fixture
def talk(command: list[str]) -> Callable[..., Any]:
    """Write lines to a bridge and close; returns its answers as JSON, and its log."""

    def go(*lines: Any, address: str = "", key: str = KEY, **options: Any) -> Any:
        environment = {name: value for name, value in os.environ.items() if "KBADMIN" not in name}
        environment |= {"KBADMIN_API_KEY": key} if key else {}
        given = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines]
        done = subprocess.run(
            [*command, "--url", address, *options.pop("arguments", [])],
            input=b"\n".join(given) + options.pop("end", b"\n"),
            capture_output=True,
            timeout=60,
            env=environment,
        )
        assert done.returncode == options.pop("status", 0), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()

    return go


@pytest.fixture
def away() -> str:
    return f"http://127.0.0.1:{free_port()}"


def by_id(answers):
    return {answer["id"]: answer for answer in answers}


# --- The SDK's own client of stdio -------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_client_of_stdio_does_it_all(url, command, mode):
    async def work():
        program = StdioServerParameters(
            command=command[0],
            args=[*command[1:], "--url", url],
            env={"KBADMIN_API_KEY": KEY, "PATH": os.environ["PATH"]},
        )
        async with Client(program, mode=mode) as client:
            assert client.protocol_version == MODES[mode]
            tools = (await client.list_tools()).tools
            found = answered(await client.call_tool("search", {"query": "怎么解压归档文件"}))
            best = found["results"][0]["id"]
            read = answered(await client.call_tool("fetch", {"id": best}))
            vote = {"query_id": found["query_id"], "rating": "up"}
            voted = answered(await client.call_tool("submit_feedback", vote))
            resources = (await client.list_resources()).resources
            text = (await client.read_resource(resources[-1].uri)).model_dump_json()
            async with anyio.create_task_group() as group:
                for _ in range(12):
                    group.start_soon(client.call_tool, "search", {"query": QUESTION})
            return tools, read, voted, text

    tools, read, voted, text = anyio.run(work)
    assert [tool.name for tool in tools] == ["search", "fetch", "submit_feedback"]
    assert read["title"] == "解压归档"
    assert "用 tar 命令" in read["text"]
    assert voted["status"] in {"recorded", "updated"}
    assert "用 tar 命令" in text


# --- Lines by hand -----------------------------------------------------------------------


def test_every_request_is_one_line_and_a_notification_none(url, talk):
    answers, _ = talk(
        HELLO,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        b"",
        {**PING, "id": "two", "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 9, "result": {}},
        {**PING, "id": 3},
        address=url,
        end=b"",  # the last line may lack its end
    )
    assert by_id(answers).keys() == {1, "two", 3}
    assert answers[0]["result"]["protocolVersion"] == "2025-11-25"
    # The revision of the handshake goes along with what follows.
    assert "outputSchema" in by_id(answers)["two"]["result"]["tools"][0]


def test_what_is_no_message_is_answered_and_the_rest_goes_on(url, talk):
    answers, _ = talk(b"{", b"5", {"id": 2}, b"\xff\xfe", {**PING, "id": 4}, address=url)
    codes = sorted((one.get("error", {}).get("code", 0), str(one["id"])) for one in answers)
    assert codes == [(-32700, "None"), (-32700, "None"), (-32600, "2"), (-32600, "None"), (0, "4")]


def test_a_batch_is_one_line_both_ways(url, talk):
    (answer,), _ = talk([PING, {**PING, "id": 2}], address=url)
    assert [one["id"] for one in answer] == [1, 2]


def test_headers_of_the_stateless_revision_are_added(url, talk):
    called = {"name": "搜索", "_meta": META}
    answers, _ = talk(
        {**PING, "method": "tools/call", "params": called},
        {**PING, "id": 2, "method": "server/discover", "params": {"_meta": META}},
        address=url,
    )
    found = by_id(answers)
    assert (found[1]["error"]["code"], "搜索" in found[1]["error"]["message"]) == (-32602, True)
    assert found[2]["result"]["resultType"] == "complete"


@pytest.mark.parametrize("tail", ["", "/", "/mcp", "/mcp/"])
def test_the_address_may_name_the_endpoint(url, talk, tail):
    ((answer,), _) = talk(PING, address=url + tail)
    assert answer["result"] == {}


def test_a_server_that_is_away_is_an_error_for_each_request(talk, away):
    answers, log = talk(
        HELLO,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {**PING, "id": 2},
        [{**PING, "id": 3}, {"jsonrpc": "2.0", "method": "notifications/x"}],
        address=away,
    )
    flat = [one for answer in answers for one in (answer if isinstance(answer, list) else [answer])]
    assert by_id(flat).keys() == {1, 2, 3}
    for one in flat:
        assert one["error"]["code"] == -32000
        assert away in one["error"]["message"]
        assert "Is it running?" in one["error"]["message"]
    assert away in log


def test_a_server_that_comes_back_is_used_again(command):
    process = subprocess.Popen(
        [*command, "--url", f"http://127.0.0.1:{(port := free_port())}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None

    def ask() -> Any:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(PING).encode() + b"\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    assert "Is it running?" in ask()["error"]["message"]
    with serve(port) as site:
        site.page("/mcp", json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}))
        assert ask()["result"] == {}
    assert "Is it running?" in ask()["error"]["message"]
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()


@pytest.mark.parametrize(("key", "told"), [("kb_wrong", "is not valid"), ("", "is missing")])
def test_a_key_that_is_refused_is_named(url, talk, key, told):
    ((answer,), log) = talk(PING, address=url, key=key)
    assert told in answer["error"]["message"]
    assert "kb_wrong" not in log + answer["error"]["message"]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"<html>Welcome</html>", "no message of MCP"),
        (404, b'{"error": {"code": "not_found"}}', "status 404"),
        (502, b"Bad gateway", "status 502"),
        (200, b"", "answered nothing"),
        (302, b"", "leads to https://elsewhere.example"),
    ],
)
def test_another_server_is_told_from_ours(talk, status, body, told):
    with serve() as site:
        site.pages["/mcp"] = (status, {"Location": "https://elsewhere.example/"}, body)
        ((answer,), _) = talk(PING, address=site.url)
    assert answer["id"] == 1
    assert told in answer["error"]["message"]


def test_a_slow_server_is_given_up(talk):
    with serve() as site:
        ((answer,), _) = talk(PING, address=f"{site.url}/bad-silence", arguments=["--timeout", "1"])
    assert answer["error"]["code"] == -32000


def test_a_cancelled_request_is_not_answered(command):
    with serve() as site:
        process = subprocess.Popen(
            [*command, "--url", f"{site.url}/bad-silence", "--timeout", "3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(PING).encode() + b"\n")
        process.stdin.flush()
        time.sleep(0.5)
        cancelled = {"method": "notifications/cancelled", "params": {"requestId": 1}}
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **cancelled}).encode() + b"\n")
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == b""


@pytest.mark.parametrize("address", ["kb.example.org", "ftp://127.0.0.1", "http://", "http:///x"])
def test_what_is_no_address_is_said_at_once(talk, address):
    answers, log = talk(PING, address=address, status=2)
    assert not answers
    assert "is no address" in log


def test_check_says_whether_it_would_work(url, talk, away):
    assert "search, fetch, submit_feedback" in talk(address=url, arguments=["--check"])[1]
    assert "not valid" in talk(address=url, key="x", arguments=["--check"], status=1)[1]
    assert "Is it running?" in talk(address=away, arguments=["--check"], status=1)[1]


# --- The ready files ---------------------------------------------------------------------

FILES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_ready_file_names_what_there_is(path: Path):
    content = json.loads(path.read_text())
    servers = content.get("mcpServers") or content["servers"]
    (server,) = servers.values()
    if "command" in server:
        (program,) = server["args"]
        assert (FOLDER / Path(program).name).is_file()
        assert server["env"].keys() == {"KBADMIN_URL", "KBADMIN_API_KEY"}
    else:
        address = server.get("url") or server["serverUrl"]
        assert address == "http://127.0.0.1:8001/mcp"
        assert server["headers"]["Authorization"].startswith("Bearer ")


def test_the_readme_leads_to_every_file():
    named = set(re.findall(r"\]\(([^)#:]+)\)", (FOLDER / "README.md").read_text()))
    assert named == {path.name for path in FOLDER.iterdir() if path.is_file()} - {"README.md"}


def test_the_python_program_needs_no_package(url):
    command = [sys.executable, "-I", "-S", PROGRAMS["python"][1], "--url", url, "--key", KEY]
    done = subprocess.run([*command, "--check"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
