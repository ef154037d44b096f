import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
import pytest

from retrieval.exceptions import (
    DimensionMismatch,
    VectorCollectionMissing,
    VectorStoreError,
    VectorStoreUnavailable,
)
from retrieval.vector_store import VectorRecord, VectorSpace, VectorStore, batches
from tests.conftest import start_chroma, stop
from tests.isolation import CHROMA_PORT, free_port

DIMENSION = 8


def space(name="cosine"):
    return VectorSpace(space=name, ef_construction=200, ef_search=100, max_neighbors=16)


def record(number, vector=None, digest=None):
    if vector is None:
        vector = np.random.default_rng(number).normal(size=DIMENSION)
    return VectorRecord(
        id=str(number), hash=digest or f"h{number}", vector=np.asarray(vector, dtype=np.float32)
    )


def unit(axis):
    vector = np.zeros(DIMENSION, dtype=np.float32)
    vector[axis] = 1
    return vector


@pytest.fixture
def name(store):
    """A physical collection of this test, empty."""
    name = f"test-{uuid.uuid4().hex}"
    store.ensure(name, space())
    yield name
    store.drop(name)


@pytest.fixture
def silent_port():
    """A server that accepts connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(32)
        held = []
        done = threading.Event()
        server.settimeout(0.1)

        def accept():
            while not done.is_set():
                try:
                    held.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        done.set()
        thread.join()
        for connection in held:
            connection.close()


def test_ensure_makes_a_collection_once(store):
    name = f"test-{uuid.uuid4().hex}"
    assert store.ensure(name, space()) is True
    assert store.ensure(name, space()) is False
    another = VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=10)
    assert another.ensure(name, space()) is False
    store.drop(name)


@pytest.mark.parametrize(
    ("kind", "expected"), [("cosine", 1 - 0.6), ("ip", 1 - 0.6 * 2), ("l2", 2**2 + 1 - 2 * 2 * 0.6)]
)
def test_distances_are_those_of_the_space(store, kind, expected):
    name = f"test-{uuid.uuid4().hex}"
    store.ensure(name, space(kind))
    vector = np.zeros(DIMENSION, dtype=np.float32)
    vector[:2] = 1.2, 1.6  # length 2
    store.replace(name, [record(1, vector)])
    (hit,) = store.query(name, unit(0), 1)
    assert hit.chunk_id == 1
    assert hit.distance == pytest.approx(expected, abs=1e-5)
    store.drop(name)


@pytest.mark.parametrize("kind", ["cosine", "ip", "l2"])
def test_the_nearest_of_many_are_those_of_the_formula(store, kind):
    """Chroma searches approximately; with a few hundred records it has no excuse."""
    name = f"test-{uuid.uuid4().hex}"
    store.ensure(name, space(kind))
    random = np.random.default_rng(3)
    vectors = random.normal(size=(400, DIMENSION)).astype(np.float32)
    asked = random.normal(size=DIMENSION).astype(np.float32)
    store.replace(name, [record(number, vector) for number, vector in enumerate(vectors)])
    products = vectors @ asked
    expected = {
        "cosine": 1 - products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked),
        "ip": 1 - products,
        "l2": ((vectors - asked) ** 2).sum(axis=1),
    }[kind]
    hits = store.query(name, asked, 10)
    assert [hit.chunk_id for hit in hits] == np.argsort(expected)[:10].tolist()
    assert [hit.distance for hit in hits] == pytest.approx(np.sort(expected)[:10], abs=1e-4)
    store.drop(name)


def test_a_collection_keeps_the_space_it_was_made_with(store, name):
    another = VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=10)
    assert another.ensure(name, space("l2")) is False
    another.replace(name, [record(1, unit(0))])
    (hit,) = another.query(name, 3 * unit(0), 1)
    assert hit.distance == pytest.approx(0, abs=1e-5)


def test_ids_are_strings_in_chroma_and_numbers_in_hits(store, name):
    large = 10**17
    store.replace(name, [record(7, unit(0)), record(large, unit(1))])
    assert set(store.hashes(name)) == {"7", str(large)}
    assert [hit.chunk_id for hit in store.query(name, unit(1), 2)] == [large, 7]
    store.delete(name, [str(large)])
    assert [hit.chunk_id for hit in store.query(name, unit(1), 2)] == [7]


@pytest.mark.parametrize("id", ["strange", "-1", "1.5", "0x1", "9" * 30])
def test_ids_that_are_no_chunks_are_no_hits_but_are_reported_and_deleted(store, name, id):
    stranger = VectorRecord(id=id, hash="h", vector=unit(0))
    store.replace(name, [record(1, unit(1)), stranger])
    assert [hit.chunk_id for hit in store.query(name, unit(0), 5)] == [1]
    assert set(store.hashes(name)) == {"1", id}
    store.delete(name, [id])
    assert set(store.hashes(name)) == {"1"}


def test_the_nearest_come_first(store, name):
    store.replace(name, [record(axis, unit(axis) + 0.1 * unit(0)) for axis in range(DIMENSION)])
    hits = store.query(name, unit(3), 4)
    assert len(hits) == 4
    assert hits[0].chunk_id == 3
    assert [hit.distance for hit in hits] == sorted(hit.distance for hit in hits)


def test_more_neighbours_than_records_are_no_error(store, name):
    store.replace(name, [record(1), record(2)])
    assert len(store.query(name, unit(0), 50)) == 2


def test_an_empty_collection_answers_nothing(store, name):
    assert store.count(name) == 0
    assert store.hashes(name) == {}
    assert store.query(name, unit(0), 5) == []


def test_records_are_replaced_not_kept_or_doubled(store, name):
    store.replace(name, [record(1, unit(0), "old"), record(2, unit(1))])
    store.replace(name, [record(1, unit(5), "new")])
    assert store.hashes(name) == {"1": "new", "2": "h2"}
    assert store.query(name, unit(5), 1)[0].distance == pytest.approx(0, abs=1e-5)


def test_the_same_records_again_change_nothing(store, name):
    records = [record(number) for number in range(20)]
    store.replace(name, records)
    before = store.query(name, unit(0), 20)
    store.replace(name, records)
    assert store.count(name) == 20
    assert {hit.chunk_id: hit.distance for hit in store.query(name, unit(0), 20)} == pytest.approx(
        {hit.chunk_id: hit.distance for hit in before}
    )


def test_deleted_records_are_gone_and_missing_ones_no_error(store, name):
    store.replace(name, [record(number) for number in range(5)])
    store.delete(name, ["1", "3", "77"])
    store.delete(name, [])
    store.delete(name, ["1"])
    assert set(store.hashes(name)) == {"0", "2", "4"}
    assert store.count(name) == 3


def test_nothing_to_write_is_no_error(store, name):
    store.replace(name, [])
    assert store.count(name) == 0


def test_more_records_than_chroma_takes_at_once(store, name):
    count = 5600
    vectors = np.random.default_rng(1).normal(size=(count, DIMENSION)).astype(np.float32)
    store.replace(name, [record(n, vector) for n, vector in enumerate(vectors)])
    assert store.count(name) == count
    assert store.hashes(name) == {str(n): f"h{n}" for n in range(count)}
    store.delete(name, [str(n) for n in range(count - 1)])
    assert store.hashes(name) == {str(count - 1): f"h{count - 1}"}


def test_batches_lose_nothing():
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []


@pytest.mark.parametrize(
    "use",
    [
        lambda store, name: store.count(name),
        lambda store, name: store.hashes(name),
        lambda store, name: store.query(name, unit(0), 1),
        lambda store, name: store.replace(name, [record(1)]),
        lambda store, name: store.delete(name, ["1"]),
    ],
    ids=["count", "hashes", "query", "replace", "delete"],
)
class TestEveryUse:
    def test_of_a_missing_collection_is_named(self, store, use):
        with pytest.raises(VectorCollectionMissing) as caught:
            use(store, "kb-never-made")
        assert "kb-never-made" in caught.value.message
        assert caught.value.retryable

    def test_of_a_collection_dropped_behind_its_back_is_named(self, store, name, use):
        store.replace(name, [record(1)])
        VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=10).drop(name)
        with pytest.raises(VectorCollectionMissing):
            use(store, name)

    def test_recovers_after_the_collection_was_made_again(self, store, name, use):
        store.replace(name, [record(1)])
        other = VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=10)
        other.drop(name)
        other.ensure(name, space())
        with pytest.raises(VectorCollectionMissing):
            use(store, name)  # the id of the old one was remembered …
        use(store, name)  # … and is looked up anew

    def test_of_a_dead_server_fails_at_once(self, use):
        store = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=5)
        began = time.monotonic()
        with pytest.raises(VectorStoreUnavailable) as caught:
            use(store, "kb-any")
        assert time.monotonic() - began < 2
        assert caught.value.retryable

    def test_of_a_silent_server_ends_in_time(self, silent_port, use):
        store = VectorStore(f"http://127.0.0.1:{silent_port}", timeout=0.5)
        began = time.monotonic()
        with pytest.raises(VectorStoreUnavailable):
            use(store, "kb-any")
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.ensure("kb-any", space()),
        lambda store: store.drop("kb-any"),
        lambda store: store.heartbeat(),
    ],
    ids=["ensure", "drop", "heartbeat"],
)
class TestWithoutServer:
    def test_a_dead_one_is_named_at_once(self, use):
        store = VectorStore(f"http://127.0.0.1:{free_port()}", timeout=5)
        began = time.monotonic()
        with pytest.raises(VectorStoreUnavailable):
            use(store)
        assert time.monotonic() - began < 2

    def test_a_silent_one_is_given_up_in_time(self, silent_port, use):
        store = VectorStore(f"http://127.0.0.1:{silent_port}", timeout=0.5)
        began = time.monotonic()
        with pytest.raises(VectorStoreUnavailable):
            use(store)
        assert time.monotonic() - began < 3


def test_a_server_that_falls_silent_later_is_given_up_in_time(store, name, silent_port):
    """The client was connected before: its own requests need a timeout too."""
    quick = VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=0.5)
    quick.replace(name, [record(1)])
    server = quick._connect()._server  # type: ignore[attr-defined]
    server._api_url = server._api_url.replace(str(CHROMA_PORT), str(silent_port))
    quick._connections._port = silent_port
    for use in (lambda: quick.count(name), lambda: quick.query(name, unit(0), 1)):
        began = time.monotonic()
        with pytest.raises(VectorStoreUnavailable):
            use()
        assert time.monotonic() - began < 3


def test_a_wrong_dimension_is_named(store, name):
    store.replace(name, [record(1)])
    with pytest.raises(DimensionMismatch):
        store.query(name, np.ones(DIMENSION + 1, dtype=np.float32), 1)
    with pytest.raises(DimensionMismatch):
        store.replace(name, [record(2, np.ones(3))])


def test_what_was_refused_can_be_written_with_the_right_dimension(store, name):
    store.replace(name, [record(1), record(2)])
    with pytest.raises(DimensionMismatch):
        store.replace(name, [record(1, np.ones(DIMENSION - 1), "new")])
    store.replace(name, [record(1, unit(4), "new")])
    assert store.hashes(name) == {"1": "new", "2": "h2"}
    assert store.query(name, unit(4), 1)[0].chunk_id == 1


@pytest.mark.parametrize(
    "records",
    [
        [record(1), record(1)],
        [record(1, np.full(DIMENSION, np.nan))],
        [record(1, np.full(DIMENSION, np.inf))],
        [record(1), record(2, np.ones(3))],
        [VectorRecord(id="", hash="h", vector=unit(0))],
    ],
    ids=["twice the same id", "nan", "infinity", "mixed dimensions", "no id"],
)
def test_records_that_cannot_be_written_are_our_error(store, name, records):
    with pytest.raises(VectorStoreError):
        store.replace(name, records)
    store.replace(name, [record(1)])
    assert store.count(name) == 1


def test_a_question_that_is_no_vector_is_our_error(store, name):
    store.replace(name, [record(1)])
    with pytest.raises(VectorStoreError):
        store.query(name, np.full(DIMENSION, np.nan, dtype=np.float32), 1)
    assert len(store.query(name, np.zeros(DIMENSION, dtype=np.float32), 1)) == 1


def test_a_name_that_chroma_refuses_is_our_error(store):
    with pytest.raises(VectorStoreError):
        store.ensure("x", space())


def test_dropping_what_is_not_there_is_no_error(store):
    store.drop("kb-never-made")


def test_a_dropped_collection_can_be_made_again(store, name):
    store.replace(name, [record(1)])
    store.drop(name)
    assert store.ensure(name, space()) is True
    assert store.count(name) == 0


def test_ensure_sees_that_it_was_dropped_behind_its_back(store, name):
    VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=10).drop(name)
    store.forget(name)
    assert store.ensure(name, space()) is True


def test_the_heartbeat_of_a_living_server_is_no_error(store):
    store.heartbeat()


def test_an_address_that_is_not_chroma_is_named(live_server):
    with pytest.raises(VectorStoreUnavailable, match="KBADMIN_CHROMA_URL"):
        VectorStore(f"{live_server.url}/nothing", timeout=5).heartbeat()


def test_many_threads_share_one_store(store, name):
    store.replace(name, [record(n) for n in range(50)])
    shared = VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=10)
    failures = []

    def ask():
        try:
            for axis in range(DIMENSION):
                assert len(shared.query(name, unit(axis), 5)) == 5
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_questions_asked_at_the_same_time_get_their_own_answers(store, name, monkeypatch):
    store.replace(name, [record(axis, unit(axis)) for axis in range(DIMENSION)])
    shared = VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=10)
    shared.query(name, unit(0), 1)
    asked = []
    post = shared._connections.post

    def counted(path, body):
        asked.append(len(orjson.loads(body)["query_embeddings"]))
        return post(path, body)

    monkeypatch.setattr(shared._connections, "post", counted)
    vectors = [unit(axis % DIMENSION) for axis in range(400)]
    vectors[100] = np.zeros(DIMENSION + 1, dtype=np.float32)

    def nearest(vector):
        try:
            return [hit.chunk_id for hit in shared.query(name, vector, 1)]
        except DimensionMismatch:
            return "refused"

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(nearest, vectors))
    # One that Chroma refuses is nobody else's fault.
    assert answers[100] == "refused"
    answers[100] = [100 % DIMENSION]
    assert answers == [[axis % DIMENSION] for axis in range(400)]
    assert sum(asked) == 400
    assert max(asked) > 1


def test_it_ignores_a_proxy_of_the_environment(store, name, monkeypatch):
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    fresh = VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=5)
    assert fresh.count(name) == 0


def test_it_ignores_what_chroma_itself_reads_from_the_environment(store, name, monkeypatch):
    monkeypatch.setenv("CHROMA_SERVER_HOST", "elsewhere.example")
    monkeypatch.setenv("CHROMA_SERVER_HTTP_PORT", "1")
    monkeypatch.setenv("CHROMA_CLIENT_AUTH_PROVIDER", "no.such.Provider")
    fresh = VectorStore(f"http://127.0.0.1:{CHROMA_PORT}", timeout=5)
    assert fresh.count(name) == 0


def test_a_server_that_dies_and_comes_back_is_used_again(tmp_path):
    port = free_port()
    process = start_chroma(tmp_path, port)
    store = VectorStore(f"http://127.0.0.1:{port}", timeout=10)
    store.ensure("kb-lasting", space())
    store.replace("kb-lasting", [record(1), record(2)])
    assert store.query("kb-lasting", record(2).vector, 1)[0].chunk_id == 2
    stop(process)
    with pytest.raises(VectorStoreUnavailable):
        store.count("kb-lasting")
    process = start_chroma(tmp_path, port)
    try:
        assert store.query("kb-lasting", record(2).vector, 1)[0].chunk_id == 2
        assert store.count("kb-lasting") == 2
    finally:
        stop(process)


def test_it_sends_its_token(tmp_path):
    """Through a stand-in for the reverse proxy that guards Chroma."""
    import http.server

    seen = []

    class Guard(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guard)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(VectorStoreUnavailable, match="401"):
            VectorStore(url, timeout=5, token="s3cret").count("kb-any")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert seen == ["Bearer s3cret"]


def test_after_a_timeout_nobody_else_waits_for_a_while(silent_port, monkeypatch):
    store = VectorStore(f"http://127.0.0.1:{silent_port}", timeout=0.5)
    with pytest.raises(VectorStoreUnavailable):
        store.query("kb-any", record(1).vector, 1)
    began = time.monotonic()
    with pytest.raises(VectorStoreUnavailable, match="asked again soon"):
        store.query("kb-any", record(1).vector, 1)
    assert time.monotonic() - began < 0.4
    monkeypatch.setattr("retrieval.vector_store.PAUSE", 0)
    store._paused_until = 0
    for _ in range(2):
        with pytest.raises(VectorStoreUnavailable, match="does not answer"):
            store.query("kb-any", record(1).vector, 1)


@pytest.mark.parametrize("status", [401, 413, 429, 502, 503])
def test_the_words_of_a_proxy_are_not_an_internal_error(status):
    """A proxy that lets the heartbeat through and refuses the rest in HTML."""
    import http.server

    class Proxy(http.server.BaseHTTPRequestHandler):
        def answer(self, code, body):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if self.path.endswith("/heartbeat"):
                self.answer(200, b'{"nanosecond heartbeat": 1}')
            else:
                self.answer(status, b"<html>No.</html>")

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        store = VectorStore(f"http://127.0.0.1:{server.server_port}", timeout=5)
        with pytest.raises(VectorStoreUnavailable, match="stands before Chroma"):
            store.query("kb-any", record(1).vector, 1)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
