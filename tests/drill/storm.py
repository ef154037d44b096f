"""Documents stream in, and processes are killed by a plan."""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.drill.processes import Service

#: Seconds from one kill to the next, at least, and until what was killed is started again.
GAP, DOWN = (0.3, 3.0), (0.0, 1.5)
#: How often each is hit. The acceptor is no part of kbadmin: its kills are extra.
WEIGHTS = {"worker": 4, "chroma": 4, "web": 2, "acceptor": 1}
#: Seconds after which a kill does not wait any longer for the work to go on.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Kill:
    victim: str
    progress: float  #: share of the storm's work that has to be done before
    gap: float  #: seconds since the kill before
    down: float  #: seconds until it is started again


@dataclass(frozen=True, slots=True)
class Progress:
    accepted: int
    indexed: int
    operations: int

    @property
    def share(self) -> float:
        return (self.accepted + self.indexed) / (2 * self.operations)


def plan_of(seed: int, kills: int) -> list[Kill]:
    """Whom to kill when: `kills` times one of kbadmin's own, the same for the same seed."""
    rng = random.Random(f"kills {seed}")
    victims: list[str] = []
    bag: list[str] = []
    while sum(victim != "acceptor" for victim in victims) < kills:
        if not bag:
            bag = [name for name, weight in WEIGHTS.items() for _ in range(weight)]
            rng.shuffle(bag)
        victims.append(bag.pop())
    return [
        Kill(victim, 0.9 * number / len(victims), rng.uniform(*GAP), rng.uniform(*DOWN))
        for number, victim in enumerate(victims)
    ]


def rage(
    plan: list[Kill],
    crew: dict[str, Service],
    progress: Callable[[], Progress],
    say: Callable[[str], None],
) -> None:
    """Carry the plan out while the work goes on, and have everything started again at the end."""
    began = last = time.monotonic()
    waiting = list(plan)
    down: dict[str, float] = {}
    while waiting or down:
        now = time.monotonic()
        for name in [name for name, until in down.items() if until <= now]:
            crew[name].start()
            del down[name]
        for name, service in crew.items():
            if (code := service.revive()) is not None:
                say(f"{now - began:6.1f} s  {name} ended by itself with {code}; started again")
        if waiting and waiting[0].victim not in down and now - last >= waiting[0].gap:
            kill, done = waiting[0], progress()
            if done.share >= kill.progress or now - last >= PATIENCE:
                waiting.pop(0)
                if crew[kill.victim].kill():
                    last = time.monotonic()
                    down[kill.victim] = last + kill.down
                    say(
                        f"{now - began:6.1f} s  kill -9 {kill.victim:<8}  "
                        f"accepted {done.accepted:>4}, indexed {done.indexed:>4}"
                    )
        time.sleep(0.1)


def acceptor(slug: str, folder: Path, seconds: float) -> Service:
    """The acceptor of a storm, that spreads its operations over `seconds`."""
    command = [sys.executable, "-m", "tests.drill.acceptor", slug, str(folder), str(seconds)]
    return Service("acceptor", command, folder / "acceptor.log")
