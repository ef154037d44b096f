"""Exchanges end with their client, and threads do with their connections what they should."""

import socket
import threading
import time

import pytest
from django.db import connection

from plugin import turns
from plugin.gateway import watch as watching
from plugin.gateway.errors import TooManyStreams
from plugin.gateway.places import place
from plugin.gateway.watch import watcher


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_a_reader_wakes_when_its_client_goes(pair):
    client, far_client = pair
    upstream, far_upstream = socket.socketpair()
    with upstream, far_upstream, watcher.watching(client) as watch:
        watch._upstream = upstream
        heard = []
        reader = threading.Thread(target=lambda: heard.append(upstream.recv(10)))
        reader.start()
        far_client.close()
        reader.join(5)
        assert heard == [b""]
        assert watch.is_gone


def test_a_client_that_is_there_is_left_alone_whatever_it_sends(pair, settings):
    client, far_client = pair
    with watcher.watching(client) as watch:
        far_client.sendall(b"GET /next HTTP/1.1\r\n")
        time.sleep(watching.INTERVAL * 2.5)
        assert not watch.is_gone
    assert client.recv(3) == b"GET"


def test_a_client_that_takes_nothing_is_given_up(pair, settings, monkeypatch):
    client, _ = pair
    settings.UPSTREAM_TIMEOUT = 0.2
    monkeypatch.setattr(watching, "GRACE", 0.2)
    failed = []

    def write():
        try:
            while True:
                client.sendall(b"x" * 65536)
        except OSError as error:
            failed.append(error)

    with watcher.watching(client) as watch:
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(10)
        assert failed
        assert watch.is_gone


def test_the_watchers_thread_ends_with_its_work(pair):
    with watcher.watching(pair[0]):
        assert any(thread.name == "watch" for thread in threading.enumerate())
    wait_until(lambda: all(thread.name != "watch" for thread in threading.enumerate()))


def test_places_are_given_back(settings):
    settings.GATEWAY_STREAMS = 1
    for _ in range(3):
        with place(), pytest.raises(TooManyStreams), place():
            pass


def test_no_more_threads_work_at_once_than_have_turns():
    most = 0
    working = 0
    lock = threading.Lock()

    def work():
        nonlocal most, working
        with turns.turn():
            with lock:
                working += 1
                most = max(most, working)
            time.sleep(0.02)
            with lock:
                working -= 1

    threads = [threading.Thread(target=work) for _ in range(turns.AT_ONCE * 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == turns.AT_ONCE


def test_who_steps_aside_lets_others_work():
    done = threading.Event()

    def work():
        with turns.turn():
            turns.step_aside()
            assert done.wait(10)

    waiting = [threading.Thread(target=work) for _ in range(turns.AT_ONCE * 2)]
    for thread in waiting:
        thread.start()
    with turns.turn():
        done.set()
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_handed_on_from_turn_to_turn(monkeypatch):
    monkeypatch.setattr(turns, "_shares_connections", True)
    monkeypatch.setattr(turns, "_free", [])
    seen = []

    def ask():
        with turns.turn():
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            seen.append(connection.connection)

    for _ in range(5):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(seen) == 5
    assert len({id(raw) for raw in seen}) == 1
    assert len(turns._free) == 1
    turns._free.pop().close()
