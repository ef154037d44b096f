"""A knowledge base with a few documents, behind the gateway, with and without an upstream."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plugin.gateway import upstream
from retrieval.models import Document
from tests.fake_model import FakeModel, serve_model

TEXTS = {
    "tar.md": """# Archives with tar

## Extract

Run `tar -xf archive.tar` to extract an archive into the current folder.
On Linux and macOS tar is installed already.

## Windows

On Windows 10 and newer, extract an archive with `tar.exe -xf archive.tar` in PowerShell.
""",
    "docker.md": """# Docker containers

List all running containers with `docker ps`. Add `--all` to see stopped containers too.
Remove a stopped container with `docker rm NAME`.
""",
    "backup.md": """# Backup of the database

A backup of the database is written every night at 02:30 to the folder `/var/backups`.
Restore a backup with the command `restore latest`.
""",
    "zh/backup.md": """# 备份与恢复

每天凌晨两点半自动备份数据库，备份文件保存在备份目录中。
恢复备份请运行恢复命令，并选择最近的备份文件。

## Windows

在 Windows 上，备份文件保存在用户目录的备份文件夹中。
""",
    "zh/account.md": "# 账户\n\n忘记密码时，请点击登录页面上的链接，然后按照邮件重置密码。\n",
}


@pytest.fixture
def pages(add: Callable[..., Document]) -> dict[str, Document]:
    last = list(TEXTS)[-1]
    return {name: add(name, text, index=name == last) for name, text in TEXTS.items()}


@pytest.fixture
def llm(settings: Any) -> Iterator[FakeModel]:
    """The upstream."""
    with serve_model() as server:
        settings.UPSTREAM_URL = server.url
        upstream.forget_models()
        yield server
    upstream.forget_models()


def events_of(response: Any) -> list[dict[str, Any]]:
    """The chunks of a streamed answer, which ends with [DONE]."""
    assert response["Content-Type"] == "text/event-stream"
    body = b"".join(response.streaming_content).decode()
    *events, done, rest = body.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def said_in(chunks: list[dict[str, Any]]) -> str:
    """The text of a streamed answer."""
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )


def openai_error(response: Any, status: int, code: str | None = None) -> dict[str, Any]:
    """The error of an answer, in OpenAI's shape."""
    assert response.status_code == status, response.content[:500]
    body = json.loads(response.content)
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    if code:
        assert error["code"] == code
    return error
