"""Questions of several threads in one call to another server.

Most of what a small request costs, on both sides, is the request. Under load several threads have
one to make at the same time; asked together they cost little more than one alone.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

Key = TypeVar("Key", bound=Hashable)
Question = TypeVar("Question")
Answer = TypeVar("Answer")


class JoinedCalls(Generic[Key, Question, Answer]):
    """A question goes at once if no call is under way for its key. Those that come meanwhile go
    together in the next call, so nobody waits for company. Safe to share between threads."""

    def __init__(
        self,
        call: Callable[[Key, Sequence[Question]], Sequence[Answer]],
        *,
        most: int,
        patience: float,
    ) -> None:
        """`call` gets a key and up to `most` questions, and gives their answers in the same order;
        what it raises, each of those who asked raises. After `patience` seconds a question does not
        wait for the end of another's call any more, and goes alone: a server that takes longer is
        asked side by side, not for several in a row."""
        self._call = call
        self._most = most
        self._patience = patience
        self._lock = threading.Lock()
        self._lines: dict[Key, _Line[Question, Answer]] = {}

    def ask(self, key: Key, question: Question) -> Answer:
        own: _Asker[Question, Answer] = _Asker(question)
        with self._lock:
            line = self._lines.setdefault(key, _Line())
            line.waiting.append(own)
            if not line.under_way:
                line.begin([own])
        try:
            together = own.news.get(timeout=self._patience)
        except Empty:
            with self._lock:
                if own in line.waiting:
                    line.begin([own])
            together = own.news.get()
        if together is not None:
            self._make(key, line, together)
        if own.error is not None:
            raise own.error
        return cast("Answer", own.answer)

    def _make(
        self,
        key: Key,
        line: "_Line[Question, Answer]",
        together: "Sequence[_Asker[Question, Answer]]",
    ) -> None:
        began = time.monotonic()
        try:
            answers = self._call(key, [asker.question for asker in together])
            for asker, answer in zip(together, answers, strict=True):
                asker.answer = answer
        except BaseException as error:  # noqa: BLE001  # each of those who asked raises it
            for asker in together:
                asker.error = error
        with self._lock:
            line.under_way -= 1
            if line.waiting:
                is_slow = time.monotonic() - began > self._patience
                line.begin(list(islice(line.waiting, 1 if is_slow else self._most)))
            elif not line.under_way:
                del self._lines[key]
        for asker in together[1:]:
            asker.news.put(None)


@dataclass(slots=True, eq=False)
class _Asker(Generic[Question, Answer]):
    question: Question
    #: The askers for whom this one makes the next call, itself the first; None: it was made.
    news: "SimpleQueue[list[_Asker[Question, Answer]] | None]" = field(default_factory=SimpleQueue)
    answer: Answer | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Line(Generic[Question, Answer]):
    """Everybody who asks for one key."""

    under_way: int = 0  #: calls; more than one if the server is slow
    waiting: "deque[_Asker[Question, Answer]]" = field(default_factory=deque)

    def begin(self, together: "list[_Asker[Question, Answer]]") -> None:
        """Have the first of some that wait call for all of them."""
        for asker in together:
            self.waiting.remove(asker)
        self.under_way += 1
        together[0].news.put(together)
