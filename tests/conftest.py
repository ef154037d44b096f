"""Real parts for every test: a Chroma server, the exported model, a database."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.test import override_settings

from benchmarks.system import MODEL_CACHE
from retrieval import embedding, factories, indexing
from retrieval.collections import create_collection, prepare_model
from retrieval.embedding import Bundle
from retrieval.ingest import accept
from retrieval.models import ApiKey, Collection, Document, EmbeddingModel
from tests.isolation import CHROMA_PORT, DATA_DIR, alone

pytest_plugins = ["tests.count_guard", "tests.tiny_model"]

#: Files whose tests wait for minutes, the longest first: begun last, one process would run them
#: while the others have nothing left to do.
FIRST = ("test_postgres.py", "test_drill.py", "test_accessibility.py", "test_flat_pages.py")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the rest stays in its order."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))


def start_chroma(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A Chroma server of its own, answering."""
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("chroma")),
            *("run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=2).is_success:
                return process
        except httpx.HTTPError:
            assert process.poll() is None, "chroma did not start"
            time.sleep(0.1)
    process.kill()
    raise AssertionError("chroma did not answer within a minute")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def immediate_query_log(settings: Any) -> None:
    """A thread would not see what a test's transaction holds, nor the test what it writes."""
    settings.QUERY_LOG_BESIDE = False


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """A password is hashed slowly on purpose: a quarter of a second for every user of a test."""
    quick = "django.contrib.auth.hashers.MD5PasswordHasher"
    with override_settings(PASSWORD_HASHERS=[quick, *settings.PASSWORD_HASHERS]):
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """SQLite in a file, as in production: in memory, threads lock each other's tables out."""
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        test = settings.DATABASES["default"].setdefault("TEST", {})
        test["NAME"] = str(DATA_DIR / "test.sqlite3")


@pytest.fixture(scope="session")
def chroma() -> Iterator[str]:
    """The address of a running Chroma server that the settings point at."""
    process = start_chroma(DATA_DIR / "chroma", CHROMA_PORT)
    yield str(settings.CHROMA_URL)
    stop(process)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The default model, exported for real, in the data folder of the tests."""
    with alone(MODEL_CACHE):
        made = embedding.prepare(settings.EMBEDDING_MODEL, MODEL_CACHE, lambda line: None)
    target = settings.MODEL_DIR / made.folder.name
    if not target.exists():
        settings.MODEL_DIR.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made.folder, target)
    found = embedding.find(settings.MODEL_DIR, settings.EMBEDDING_MODEL)
    assert found is not None
    return found


@pytest.fixture
def model(db: None, bundle: Bundle) -> Iterator[EmbeddingModel]:
    yield prepare_model(settings.EMBEDDING_MODEL, lambda line: None)
    # Rows of the next test have other keys.
    factories.reset()


@pytest.fixture
def collection(model: EmbeddingModel, chroma: str) -> Collection:
    """An empty collection `docs`, ready to take documents."""
    return create_collection(slug="docs", title="Docs")


@pytest.fixture
def api_key(db: None) -> str:
    _, key = ApiKey.issue("test")
    return key


def index_everything() -> None:
    """What a worker does until nothing is due, in this process and transaction."""
    while revisions := indexing.claim("test"):
        indexing.process("test", revisions)
    while indexing.clean_up():
        pass


@pytest.fixture
def add(collection: Collection) -> Callable[..., Document]:
    """Accept and index one document: add("tar.md", "# tar …") returns its row."""

    def add_document(external_id: str, text: str | bytes, index: bool = True) -> Document:
        data = text.encode() if isinstance(text, str) else text
        accept(
            collection,
            external_id=external_id,
            filename=external_id,
            data=data,
            origin=Document.Origin.UPLOAD,
        )
        if index:
            index_everything()
        return Document.objects.get(collection=collection, external_id=external_id)

    return add_document
