"""What the tests of plugin/ share: a client that calls as chat programs do."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from django.http import HttpResponseBase
from django.test import Client
from hypothesis import HealthCheck
from hypothesis import settings as profiles
from hypothesis.configuration import set_hypothesis_home_dir

from retrieval import chunking, embedding
from retrieval.models import Document
from tests.isolation import DATA_DIR

set_hypothesis_home_dir(DATA_DIR / "hypothesis")
profiles.register_profile(
    "kbadmin-plugin",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
profiles.load_profile("kbadmin-plugin")

Call = Callable[..., HttpResponseBase]


@pytest.fixture(scope="session", autouse=True)
def loaded_once() -> Iterator[None]:
    """The same model and the same chunker are made once for all tests; they hold no state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "load", cache(embedding.load))
        patch.setattr(chunking, "Chunker", cache(chunking.Chunker))
        yield


@pytest.fixture(autouse=True)
def any_number_of_votes(settings: Any) -> None:
    """Most tests vote more often than people do; how often is possible has tests of its own."""
    settings.FEEDBACK_RATE = ""


@pytest.fixture
def call(api_key: str) -> Call:
    """POST a body as JSON with a valid key: call("/search", {...}) or call("/search", b"raw")."""
    client = Client(raise_request_exception=False)

    def post(path: str, body: Any, *, key: str | None = api_key, **options: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        options.setdefault("content_type", "application/json")
        return client.post(path, data, headers=headers, **options)

    return post


@pytest.fixture
def pages(add: Callable[..., Document]) -> dict[str, Document]:
    texts = {
        "tar.md": "---\ntags: [archive, linux]\n---\n# tar\n\nExtract files from an archive.\n",
        "docker.md": "---\ntags: [containers]\n---\n# docker ps\n\nList all running containers.\n",
        "zh/tar.md": "---\nlang: zh\n---\n# tar\n\n解压归档文件到指定目录。\n",
    }
    last = list(texts)[-1]
    return {name: add(name, text, index=name == last) for name, text in texts.items()}


def error_of(response: Any, status: int, code: str | None = None) -> dict[str, Any]:
    """The error of an answer, after a check of its status and of the one error shape."""
    assert response.status_code == status, response.content[:500]
    assert response["Content-Type"] == "application/json"
    body = json.loads(response.content)
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"code", "message", "details"}
    assert isinstance(error["code"], str)
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["details"], dict)
    if code:
        assert error["code"] == code
    return error
