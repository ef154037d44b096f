"""Questions that come while a call is under way."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue

import pytest

from retrieval.joined_calls import JoinedCalls

KEY = "any"
#: Seconds that no test waits for if all is well.
LONG = 30


class Server:
    """Squares numbers, one call after the other as the test lets it."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self._goes: SimpleQueue[Exception | None] = SimpleQueue()

    def __call__(self, key: str, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        failure = self._goes.get(timeout=LONG)
        if failure is not None:
            raise failure
        return [number * number for number in numbers]

    def go(self, failure: Exception | None = None) -> None:
        self._goes.put(failure)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def ask(
    server: Server, joined: JoinedCalls[str, int, int], threads: ThreadPoolExecutor
) -> Callable[[int], "Future[int]"]:
    """Ask in a thread of its own, and return once the question is in a call or waits for one."""

    def has_come(number: int) -> bool:
        line = joined._lines.get(KEY)
        waiting = [] if line is None else [asker.question for asker in line.waiting.copy()]
        return number in waiting or any(number in call for call in server.asked)

    def start(number: int) -> "Future[int]":
        answer = threads.submit(joined.ask, KEY, number)
        deadline = time.monotonic() + LONG
        while not has_come(number):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return answer

    return start


@pytest.fixture
def joined(server: Server) -> JoinedCalls[str, int, int]:
    return JoinedCalls(server, most=3, patience=LONG)


def test_one_alone_goes_at_once(server, joined):
    server.go()
    assert joined.ask(KEY, 3) == 9
    assert server.asked == [[3]]


def test_those_that_come_meanwhile_go_together(server, ask):
    answers = [ask(number) for number in range(4)]
    assert server.asked == [[0]]
    server.go()
    server.go()
    assert [answer.result(LONG) for answer in answers] == [0, 1, 4, 9]
    assert server.asked == [[0], [1, 2, 3]]


def test_no_call_has_more_questions_than_are_allowed(server, ask):
    answers = [ask(number) for number in range(9)]
    for _ in range(4):
        server.go()
    assert [answer.result(LONG) for answer in answers] == [n * n for n in range(9)]
    assert server.asked == [[0], [1, 2, 3], [4, 5, 6], [7, 8]]


def test_a_failure_is_that_of_its_call_alone(server, ask):
    answers = [ask(number) for number in range(5)]
    server.go()
    server.go(OSError("gone"))
    server.go()
    assert answers[0].result(LONG) == 0
    for answer in answers[1:4]:
        with pytest.raises(OSError, match="gone"):
            answer.result(LONG)
    assert answers[4].result(LONG) == 16


def test_too_few_answers_are_a_failure_and_not_somebody_elses():
    def call(key: str, numbers: Sequence[int]) -> list[int]:
        return []

    with pytest.raises(ValueError, match="shorter"):
        JoinedCalls(call, most=3, patience=LONG).ask(KEY, 1)


def test_what_a_call_raises_is_not_taken_for_lost_patience():
    def call(key: str, numbers: Sequence[int]) -> list[int]:
        raise Empty

    with pytest.raises(Empty):
        JoinedCalls(call, most=3, patience=LONG).ask(KEY, 1)


def test_a_slow_server_is_asked_side_by_side(threads):
    has_begun, ends = threading.Event(), threading.Event()

    def call(key: str, numbers: Sequence[int]) -> list[int]:
        if 0 in numbers:
            has_begun.set()
            ends.wait(LONG)
        return list(numbers)

    joined = JoinedCalls(call, most=3, patience=0.05)
    slow = threads.submit(joined.ask, KEY, 0)
    try:
        assert has_begun.wait(LONG)
        assert [joined.ask(KEY, number) for number in (1, 2, 3)] == [1, 2, 3]
        assert not slow.done()
    finally:
        ends.set()
    assert slow.result(LONG) == 0
    assert not joined._lines


def test_a_slow_server_is_not_asked_for_several_in_a_row(threads):
    asked = []

    def call(key: str, numbers: Sequence[int]) -> list[int]:
        asked.append(list(numbers))
        time.sleep(0.3)
        return list(numbers)

    joined = JoinedCalls(call, most=8, patience=0.2)
    began = time.monotonic()
    first = threads.submit(joined.ask, KEY, 0)
    # They come while it is asked: some lose patience, and the others come too late for that.
    early = [threads.submit(joined.ask, KEY, number) for number in (1, 2, 3)]
    time.sleep(max(began + 0.25 - time.monotonic(), 0))
    late = [threads.submit(joined.ask, KEY, number) for number in (4, 5, 6)]
    assert [answer.result(LONG) for answer in (first, *early, *late)] == list(range(7))
    assert sorted(asked) == [[number] for number in range(7)]


def test_other_keys_are_asked_side_by_side(threads):
    both = threading.Barrier(2, timeout=LONG)

    def call(key: str, numbers: Sequence[int]) -> list[int]:
        both.wait()
        return list(numbers)

    joined = JoinedCalls(call, most=3, patience=LONG)
    answers = [threads.submit(joined.ask, key, 7) for key in ("a", "b")]
    assert [answer.result(LONG) for answer in answers] == [7, 7]


def test_nothing_is_kept_of_what_was_asked(server, ask, joined):
    answers = [ask(number) for number in range(4)]
    server.go()
    server.go()
    for answer in answers:
        answer.result(LONG)
    assert not joined._lines


def test_everybody_gets_the_own_answer_under_load(threads):
    sizes = []

    def call(key: str, numbers: Sequence[int]) -> list[int]:
        sizes.append(len(numbers))
        time.sleep(0.001)
        return [-number for number in numbers]

    joined = JoinedCalls(call, most=4, patience=0.002)

    def many(start: int) -> bool:
        return all(joined.ask(KEY, number) == -number for number in range(start, start + 100))

    assert all(threads.map(many, range(0, 1600, 100)))
    assert sum(sizes) == 1600
    assert max(sizes) == 4
