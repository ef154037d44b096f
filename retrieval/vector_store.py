"""The only module that imports chromadb.

Chroma holds ids, vectors and a hash each, nothing else: texts and filters live in the
database. Every error of the client, of httpx and of the server becomes one of ours.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from itertools import islice
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx
import numpy as np
import orjson
from chromadb.api import ClientAPI, ServerAPI
from chromadb.api.client import Client
from chromadb.api.collection_configuration import (
    CreateCollectionConfiguration,
    CreateHNSWConfiguration,
)
from chromadb.api.models.Collection import Collection
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from chromadb.errors import (
    ChromaError,
    InvalidArgumentError,
    InvalidDimensionException,
    NotFoundError,
)
from numpy.typing import NDArray

from retrieval.exceptions import (
    DimensionMismatch,
    VectorCollectionMissing,
    VectorStoreError,
    VectorStoreUnavailable,
)
from retrieval.joined_calls import JoinedCalls
from retrieval.kept_connections import KeptConnections
from retrieval.types import DenseCandidate, is_chunk_id

logger = logging.getLogger(__name__)

#: Records per write and ids per read. The server takes 5461 in a batch and fails with "too
#: many SQL variables" far above; smaller batches keep each request short.
WRITE_BATCH = 500
READ_BATCH = 5000

#: Seconds for which nobody is made to wait for a server that has just let a query time out.
PAUSE = 5.0

#: Queries in one request, and seconds that one waits for the end of another's. A query over a
#: small index takes the server 0.3 ms and its request 1.2 ms. Those of a request it answers one
#: by one, so queries that take longer than the wait go side by side.
TOGETHER = 4
PATIENCE = 0.02

Item = TypeVar("Item")
#: Ids, nearest first, and their distances.
Nearest = tuple[list[str], list[float]]


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """How a physical collection measures and connects its vectors."""

    space: str  #: cosine, ip or l2
    ef_construction: int
    ef_search: int
    max_neighbors: int


@dataclass(frozen=True, slots=True)
class VectorRecord:
    id: str
    hash: str  #: of the embedded text, to recognise a stale vector
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as Chroma holds it, whoever wrote it."""

    id: str
    metadata: Mapping[str, Any]
    document: str  #: a text beside the vector; we write none, a stranger may have
    vector: NDArray[np.float32]  #: of shape (dimension,)

    @property
    def hash(self) -> str:
        return str(self.metadata.get("hash", ""))


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@contextmanager
def translated_errors(name: str = "") -> Iterator[None]:
    """Turn what chromadb raises into our errors, each with a sentence."""
    try:
        yield
    except NotFoundError as error:
        raise VectorCollectionMissing(
            f"Chroma does not hold the index {name}; the worker rebuilds it from the database."
        ) from error
    except (InvalidDimensionException, InvalidArgumentError) as error:
        if "dimension" in str(error).lower():
            raise DimensionMismatch(f"Chroma refused vectors of this dimension: {error}") from error
        raise VectorStoreError(f"Chroma refused the request: {error}") from error
    except ChromaError as error:
        # "does not exist" also comes as a plain InternalError while a collection is dropped.
        if "does not exist" in str(error):
            raise VectorCollectionMissing(f"Chroma does not hold the index {name}.") from error
        raise VectorStoreError(f"Chroma reported an error: {error}") from error
    except (httpx.HTTPError, OSError) as error:
        raise VectorStoreUnavailable(
            f"Chroma does not answer ({type(error).__name__}). It is asked again by itself."
        ) from error
    except ValueError as error:
        raise VectorStoreError(f"The Chroma client refused the request: {error}") from error
    except Exception as error:
        # What is not in Chroma's own words, such as a proxy's 502 or 413, the client raises as
        # a bare Exception that holds the body.
        if type(error) is not Exception:
            raise
        raise VectorStoreUnavailable(
            f"What stands before Chroma refused the request: {str(error)[:200] or 'no reason'}"
        ) from error


class _Client(Client):
    """chromadb's client without the I/O of its constructor, which knows no timeout and goes
    through whatever proxy the environment names."""

    def __init__(self, url: str, headers: dict[str, str], timeout: float) -> None:
        parts = urlsplit(url)
        ssl = parts.scheme == "https"
        options: dict[str, Any] = {
            "_env_file": None,  # what is named here also wins over the environment
            "anonymized_telemetry": False,
            "chroma_api_impl": "chromadb.api.fastapi.FastAPI",
            "chroma_server_host": url if parts.path else str(parts.hostname),
            "chroma_server_http_port": parts.port or (443 if ssl else 80),
            "chroma_server_ssl_enabled": ssl,
            "chroma_server_headers": headers,
            "chroma_client_auth_provider": None,
        }
        SharedSystemClient.__init__(self, Settings(**options))
        self.tenant, self.database = DEFAULT_TENANT, DEFAULT_DATABASE
        server: Any = self._system.instance(ServerAPI)  # type: ignore[type-abstract]  # the class that the settings name
        self._server = server
        server._session.close()
        server._session = httpx.Client(
            timeout=timeout,
            headers=server._session.headers,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
            trust_env=False,
        )


class VectorStore:
    """One Chroma server. Connects on first use; safe to share between threads."""

    def __init__(self, url: str, *, timeout: float, token: str = "") -> None:
        """`timeout` in seconds, for every single request."""
        self._url = url
        self._timeout = timeout
        self._token = token
        self._client: ClientAPI | None = None
        self._collections: dict[str, Collection] = {}
        self._lock = threading.Lock()
        self._paused_until = 0.0
        parts = urlsplit(url)
        self._path = f"{parts.path}/api/v2/tenants/{DEFAULT_TENANT}/databases/{DEFAULT_DATABASE}"
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._connections = KeptConnections(url, timeout=timeout, headers=headers)
        self._queries = JoinedCalls(self._query_together, most=TOGETHER, patience=PATIENCE)

    def _connect(self) -> ClientAPI:
        with self._lock:
            if self._client is None:
                self._client = self._build_client()
            return self._client

    def _build_client(self) -> ClientAPI:
        """The server is asked first, so that a wrong address is told from a busy server."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        # trust_env: a proxy for the outside world must not come between us and Chroma.
        with httpx.Client(timeout=self._timeout, headers=headers, trust_env=False) as probe:
            response = probe.get(f"{self._url}/api/v2/heartbeat")
            if response.status_code != 200:
                raise VectorStoreUnavailable(
                    f"Chroma at {self._url} answered {response.status_code}. "
                    "Check KBADMIN_CHROMA_URL and KBADMIN_CHROMA_TOKEN."
                )
        return _Client(self._url, headers, self._timeout)

    def _collection(self, name: str) -> Collection:
        client = self._connect()
        collection = self._collections.get(name)
        if collection is None:
            collection = client.get_collection(name, embedding_function=None)
            self._collections[name] = collection
        return collection

    @contextmanager
    def _using(self, name: str) -> Iterator[Collection]:
        """A physical collection by name; its id is looked up anew after it was replaced."""
        try:
            with translated_errors(name):
                yield self._collection(name)
        except VectorStoreError:
            self._collections.pop(name, None)
            raise

    def ensure(self, name: str, space: VectorSpace) -> bool:
        """Make the physical collection if it is not there; returns whether it was made."""
        with translated_errors(name):
            client = self._connect()
            if name in self._collections:
                return False
            try:
                self._collections[name] = client.get_collection(name, embedding_function=None)
            except NotFoundError:
                # Two threads or two workers may find it missing at the same time.
                self._collections[name] = client.get_or_create_collection(
                    name,
                    configuration=CreateCollectionConfiguration(
                        hnsw=CreateHNSWConfiguration(
                            space=cast("Any", space.space),
                            ef_construction=space.ef_construction,
                            ef_search=space.ef_search,
                            max_neighbors=space.max_neighbors,
                        )
                    ),
                    embedding_function=None,
                )
                return True
            return False

    def forget(self, name: str) -> None:
        """Look the collection up anew on its next use."""
        self._collections.pop(name, None)

    def drop(self, name: str) -> None:
        """Delete a physical collection; one that is not there is no error."""
        self._collections.pop(name, None)
        try:
            with translated_errors(name):
                self._connect().delete_collection(name)
        except VectorCollectionMissing:
            logger.debug("index %s was already gone from Chroma", name)

    def replace(self, name: str, records: Sequence[VectorRecord]) -> None:
        """Write records, in place of any with the same ids.

        Delete and add: `upsert` costs three times as much, and `add` silently keeps the old.
        """
        with self._using(name) as collection:
            for batch in batches(records, WRITE_BATCH):
                ids = [record.id for record in batch]
                collection.delete(ids=ids)
                collection.add(
                    ids=ids,
                    embeddings=np.stack([record.vector for record in batch]),
                    metadatas=[{"hash": record.hash} for record in batch],
                )

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records; ids that are not there are no error."""
        with self._using(name) as collection:
            for batch in batches(ids, WRITE_BATCH):
                collection.delete(ids=batch)

    def count(self, name: str) -> int:
        with self._using(name) as collection:
            return int(collection.count())

    def hashes(self, name: str) -> Mapping[str, str]:
        """Id → hash of every record."""
        found: dict[str, str] = {}
        with self._using(name) as collection:
            while True:
                page = collection.get(limit=READ_BATCH, offset=len(found), include=["metadatas"])
                for id_, metadata in zip(page["ids"], page["metadatas"] or [], strict=True):
                    found[id_] = str((metadata or {}).get("hash", ""))
                if len(page["ids"]) < READ_BATCH:
                    return found

    def fetch(self, name: str, ids: Sequence[str]) -> dict[str, StoredRecord]:
        """Whole records by id; ids that Chroma does not hold are left out."""
        found: dict[str, StoredRecord] = {}
        with self._using(name) as collection:
            for batch in batches(ids, WRITE_BATCH):
                page: Any = collection.get(
                    ids=batch, include=["metadatas", "documents", "embeddings"]
                )
                columns = (page["ids"], page["metadatas"], page["documents"], page["embeddings"])
                for id_, metadata, document, vector in zip(*columns, strict=True):
                    found[id_] = StoredRecord(
                        id=id_,
                        metadata=metadata or {},
                        document=document or "",
                        vector=np.asarray(vector, dtype=np.float32),
                    )
        return found

    def query(self, name: str, vector: NDArray[np.float32], k: int) -> list[DenseCandidate]:
        """The k nearest records of a vector of shape (dimension,), nearest first.

        Raises VectorStoreUnavailable at once while the server has just let another query time
        out: searches that all wait for it would leave no thread for anything else.
        """
        self._refuse_while_paused()
        try:
            with self._using(name) as collection:
                nearest = self._queries.ask(
                    (str(collection.id), k), orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
                )
                if nearest is None:
                    answer: Any = collection.query(
                        query_embeddings=vector.reshape(1, -1), n_results=k, include=["distances"]
                    )
                    nearest = answer["ids"][0], answer["distances"][0]
        except VectorStoreUnavailable as error:
            if isinstance(error.__cause__, httpx.TimeoutException):
                self._pause()
            raise
        return [
            DenseCandidate(chunk_id=int(id_), distance=float(distance))
            for id_, distance in zip(*nearest, strict=True)
            if is_chunk_id(id_)
        ]

    def _query_together(
        self, key: tuple[str, int], vectors: Sequence[bytes]
    ) -> Sequence[Nearest | None]:
        """The request that every search makes, without the client's checks and models, which
        take as long as the server. `key` is a collection's id and k, `vectors` are JSON. None for
        all if the server does not answer with 200: then the client is asked, which knows what it
        means, and for each alone, as one of them may be at fault."""
        self._refuse_while_paused()
        collection_id, k = key
        body = {
            "query_embeddings": [orjson.Fragment(vector) for vector in vectors],
            "n_results": k,
            "include": ["distances"],
        }
        try:
            status, answer = self._connections.post(
                f"{self._path}/collections/{collection_id}/query", orjson.dumps(body)
            )
        except TimeoutError as error:
            self._pause()
            raise httpx.ReadTimeout(str(error)) from error
        except (OSError, HTTPException) as error:
            raise httpx.ConnectError(str(error)) from error
        if status != 200:
            return [None] * len(vectors)
        found = orjson.loads(answer)
        return list(zip(found["ids"], found["distances"], strict=True))

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE

    def _refuse_while_paused(self) -> None:
        if time.monotonic() < self._paused_until:
            raise VectorStoreUnavailable("Chroma did not answer in time; it is asked again soon.")

    def heartbeat(self) -> None:
        """Raises VectorStoreUnavailable if the server does not answer."""
        with translated_errors():
            self._connect().heartbeat()
