"""Somebody who searches all the time and notes how that was answered."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

import httpx


class Searcher:
    """Asks POST /search from a thread of its own, as a context manager."""

    def __init__(self, address: str, key: str, collection: str, phrases: Sequence[str]) -> None:
        self.answers: Counter[str] = Counter()
        self._address, self._key, self._collection = address, key, collection
        self._phrases = phrases
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "Searcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def server_errors(self) -> int:
        return sum(count for status, count in self.answers.items() if status.startswith("5"))

    def _ask(self) -> None:
        rng = random.Random(0)
        while not self._done.wait(0.15):
            try:
                answer = ask(self._address, self._key, self._collection, rng.choice(self._phrases))
            except httpx.TransportError:
                # Refused, or cut off by the kill: there is nobody who could answer.
                self.answers["no web"] += 1
                time.sleep(0.1)
                continue
            if answer.status_code != 200:
                self.answers[f"{answer.status_code}: {answer.text[:200]}"] += 1
            else:
                self.answers["degraded" if answer.json()["degraded"] else "complete"] += 1


def ask(address: str, key: str, collection: str, query: str, top_k: int = 5) -> httpx.Response:
    return httpx.post(
        f"{address}/search",
        json={"query": query, "collection": collection, "top_k": top_k},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
        trust_env=False,
    )
