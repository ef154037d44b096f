"""What the tests of /mcp share: JSON-RPC by hand, in both generations of the protocol."""

import json
import os
import shutil
import subprocess
import venv
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from retrieval.embedding import Bundle
from tests.retrieval.installation import Installation, installed

NEW = "2026-07-28"
OLD = "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": NEW,
    "io.modelcontextprotocol/clientCapabilities": {},
}
NAMED = {"tools/call": "name", "resources/read": "uri"}

Rpc = Callable[..., Any]


@pytest.fixture
def post(api_key: str) -> Rpc:
    """POST anything to /mcp with a valid key; returns the response."""
    client = Client(raise_request_exception=False)

    def send(body: Any, *, key: str | None = api_key, **options: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        options.setdefault("content_type", "application/json")
        return client.post("/mcp", data, headers=headers, **options)

    return send


@pytest.fixture
def rpc(post: Rpc) -> Rpc:
    """A request of a revision: rpc("tools/list", {...}, revision=OLD) is its JSON answer."""

    def call(method: str, params: Any = None, *, revision: str = OLD, **options: Any) -> Any:
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, "method": method}
        headers = {"MCP-Protocol-Version": revision} if revision else {}
        if revision == NEW:
            params = {**(params or {}), "_meta": META}
            headers |= {"Mcp-Method": method}
            if method in NAMED and NAMED[method] in params:
                headers["Mcp-Name"] = str(params[NAMED[method]])
        if params is not None:
            body["params"] = params
        response = post(body, headers={**headers, **options.pop("headers", {})}, **options)
        answer = json.loads(response.content)
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == 7
        assert ("result" in answer) != ("error" in answer)
        assert (response.status_code == 200) or (revision == NEW and "error" in answer)
        return answer

    return call


@pytest.fixture
def tool(rpc: Rpc) -> Rpc:
    """tool("search", query="…") is the JSON that the tool answers with, as its text holds it."""

    def call(name: str, *, revision: str = OLD, **arguments: Any) -> Any:
        result = rpc("tools/call", {"name": name, "arguments": arguments}, revision=revision)[
            "result"
        ]
        assert result["isError"] is False, result
        (item,) = result["content"]
        assert item["type"] == "text"
        return json.loads(item["text"])

    return call


@pytest.fixture
def mistake(rpc: Rpc) -> Rpc:
    """What a tool tells the model that called it wrongly."""

    def call(name: str, *, revision: str = OLD, **arguments: Any) -> str:
        result = rpc("tools/call", {"name": name, "arguments": arguments}, revision=revision)[
            "result"
        ]
        assert result["isError"] is True, result
        assert "structuredContent" not in result
        (item,) = result["content"]
        text: str = item["text"]
        return text

    return call


# --- A running server, for clients that are programs of their own ------------------------

ROOT = Path(__file__).resolve().parents[3]
PAGES = {
    "docker.md": "# docker ps\n\nList all running containers.\n",
    "tar.md": "---\ntags: [linux]\n---\n# tar\n\nExtract files from an archive.\n",
    "zh/tar.md": "# 解压归档\n\n用 tar 命令解压归档文件到指定目录。\n",
}
KEY = "kb_test_of_clients_of_mcp"
ISSUE = f"from retrieval.models import ApiKey; ApiKey.issue('mcp', '{KEY}')"


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("mcp")
    for name, text in PAGES.items():
        path = folder / "pages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with installed(folder / "data", bundle) as installation:
        installation.run("shell", "-v", "0", "-c", ISSUE)
        installation.run("ingest", str(folder / "pages"), "--collection", "docs", "--wait")
        yield installation


@pytest.fixture(scope="session")
def url(installation: Installation) -> str:
    """The address of a web process that searches PAGES and knows KEY."""
    return installation.serve()


OLD_SDK = "1.30.0"


@pytest.fixture(scope="session")
def python_with_old_sdk() -> Path:
    """The Python of an environment of its own, kept between runs, with the SDK before 2.0."""
    folder = ROOT / "build" / "mcp1-venv"
    python = folder / "bin" / "python"
    asked = "from importlib.metadata import version; print(version('mcp'))"
    with suppress(OSError):
        found = subprocess.run([python, "-c", asked], capture_output=True, text=True, timeout=60)
        if found.stdout.strip() == OLD_SDK:
            return python
    # Made aside: what was interrupted is never taken for whole.
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        venv.create(aside, with_pip=True, clear=True)
        install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", f"mcp=={OLD_SDK}"]
        made = subprocess.run(
            [aside / "bin" / "python", *install], capture_output=True, text=True, timeout=600
        )
        if made.returncode:
            missing = f"mcp {OLD_SDK} could not be installed: {made.stderr[-300:]}"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return python
