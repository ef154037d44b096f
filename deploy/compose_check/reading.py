"""The files of the setup, read."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

COMPOSE = "docker-compose.yml"


@dataclass(frozen=True)
class Stage:
    """One `FROM` of a Dockerfile with what belongs to it."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)  #: (instruction, arguments)


@dataclass
class Setup:
    """The files to check: a folder and what is read from it."""

    root: Path

    def __post_init__(self) -> None:
        self.compose: dict[str, Any] = yaml.safe_load((self.root / COMPOSE).read_text())
        self.services: dict[str, dict[str, Any]] = self.compose["services"]

    def dockerfile(self, service: str) -> Path | None:
        build = self.services[service].get("build")
        if not build:
            return None
        return self.root / str(build["context"]) / str(build.get("dockerfile", "Dockerfile"))


#: Yields a sentence for everything that is not as it should be.
Rule = Callable[[Setup], Iterator[str]]


def stages_of(dockerfile: Path) -> list[Stage]:
    """The stages in order, with continued lines joined and comments left out."""
    stages: list[Stage] = []
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        instruction, _, rest = line.strip().partition(" ")
        if instruction.upper() == "FROM":
            words = rest.split()
            name = words[2] if len(words) == 3 else str(len(stages))
            stages.append(Stage(name, words[0]))
        elif stages:
            stages[-1].steps.append((instruction.upper(), rest.strip()))
    return stages


def chain_of(stages: list[Stage], target: str) -> list[Stage]:
    """A stage and those that it is built on, itself first."""
    by_name = {stage.name: stage for stage in stages}
    chain = []
    name = target
    while name in by_name:
        chain.append(by_name[name])
        name = by_name[name].base
    return chain


def seconds(duration: str) -> float:
    """Compose's `1m30s` in seconds."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    return sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+)(ms|h|m|s)", duration))


def settings_read(root: Path) -> set[str]:
    """Names of environment variables that kbadmin/settings.py reads."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((root / "kbadmin" / "settings.py").read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"read", "read_url", "read_origins"}
        ):
            literals = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
            names |= {text for text in map(str, literals) if re.fullmatch(r"[A-Z][A-Z_]+", text)}
    return names


def variables_in(value: object) -> set[str]:
    """Names that `${…}` interpolates."""
    return set(re.findall(r"\$\{([A-Z_]+)", str(value)))


def example_of(root: Path) -> dict[str, str]:
    lines = (root / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def dockerfiles(setup: Setup) -> list[Path]:
    return sorted({path for name in setup.services if (path := setup.dockerfile(name))})


def is_ignored(context: Path, source: str) -> bool:
    """Whether an allow-list in .dockerignore leaves a path out."""
    ignore = context / ".dockerignore"
    if source in {".", "./"} or not ignore.exists():
        return False
    allowed = {line[1:] for line in ignore.read_text().splitlines() if line.startswith("!")}
    return source.removeprefix("./").split("/")[0] not in allowed
