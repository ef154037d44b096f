"""python -m deploy.compose_check, from the folder of docker-compose.yml."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.compose_check import images, services
from deploy.compose_check.reading import COMPOSE, Setup, dockerfiles


def tools(setup: Setup) -> Iterator[str]:
    """What the schema of compose files and the linter of Dockerfiles say."""
    programs = Path(sys.executable).parent
    schema = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]
    lint = ["hadolint", "--failure-threshold", "warning"]
    lint += [str(path.relative_to(setup.root)) for path in dockerfiles(setup)]
    for command in (schema, lint):
        result = subprocess.run(
            [str(programs / command[0]), *command[1:]],
            cwd=setup.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            yield f"{command[0]}: {(result.stdout + result.stderr).strip()}"


def main() -> int:
    setup = Setup(Path.cwd())
    rules = [*services.RULES, *images.RULES, tools]
    found = [line for rule in rules for line in rule(setup)]
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"{COMPOSE}: {len(setup.services)} services, {len(rules)} rules, no complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
