"""Rules about the images that the services run."""

import re
from collections.abc import Iterator

from deploy.compose_check.reading import (
    Rule,
    Setup,
    chain_of,
    dockerfiles,
    is_ignored,
    stages_of,
)


def images_are_pinned(setup: Setup) -> Iterator[str]:
    found = {name: str(service.get("image", "")) for name, service in setup.services.items()
             if not service.get("build")}  # fmt: skip
    for path in dockerfiles(setup):
        stages = stages_of(path)
        names = {stage.name for stage in stages}
        where = str(path.relative_to(setup.root))
        found |= {f"{where}, {stage.name}": stage.base for stage in stages
                  if stage.base not in names}  # fmt: skip
    for where, image in found.items():
        tag = image.rpartition(":")[2] if ":" in image else ""
        if not re.match(r"v?\d", tag):
            yield f"{where}: image {image} has no version"


def stages_fit_together(setup: Setup) -> Iterator[str]:
    for path in dockerfiles(setup):
        stages = stages_of(path)
        where = path.relative_to(setup.root)
        earlier: set[str] = set()
        for stage in stages:
            for instruction, rest in stage.steps:
                if instruction not in {"COPY", "ADD"}:
                    continue
                origin = re.search(r"--from=(\S+)", rest)
                sources = [word for word in rest.split() if not word.startswith("--")][:-1]
                if origin:
                    if origin[1] not in earlier:
                        yield f"{where}: {stage.name} copies from {origin[1]}, no earlier stage"
                    continue
                for source in sources:
                    if not (path.parent / source).exists():
                        yield f"{where}: {stage.name} copies {source}, which is not there"
                    elif is_ignored(path.parent, source):
                        yield f"{where}: {stage.name} copies {source}, which .dockerignore hides"
            earlier.add(stage.name)
    for name, service in setup.services.items():
        target = (service.get("build") or {}).get("target")
        dockerfile = setup.dockerfile(name)
        if dockerfile and target and target not in {s.name for s in stages_of(dockerfile)}:
            yield f"{name}: builds stage {target}, which is not there"


def images_run_as_promised(setup: Setup) -> Iterator[str]:
    """The last stage is what runs: not root, stopped by SIGTERM, watched, and without torch."""
    for name in ("web", "fastchat"):
        path = setup.dockerfile(name)
        if path is None:
            yield f"{name}: is not built here"
            continue
        stages = stages_of(path)
        target = setup.services[name]["build"].get("target", stages[-1].name)
        if target != stages[-1].name:
            yield f"{name}: runs {target}, but `docker build` alone makes {stages[-1].name}"
        steps = [step for stage in reversed(chain_of(stages, target)) for step in stage.steps]
        last = dict(steps)
        user = last.get("USER", "root")
        expected = setup.services[name].get("user")
        if user != expected:
            yield f"{name}: the image's user is {user}, the service's {expected}"
        if last.get("STOPSIGNAL") != "SIGTERM":
            yield f"{name}: the image should name SIGTERM as its stop signal"
        if "CMD" not in last.get("HEALTHCHECK", ""):
            yield f"{name}: the image has no health check"
    path = setup.dockerfile("web")
    if path is not None:
        stages = stages_of(path)
        built = {stage.name for stage in chain_of(stages, stages[-1].name)}
        for stage in stages:
            with_torch = any("torch" in rest and "pip install" in rest for _, rest in stage.steps)
            if with_torch and stage.name in built:
                yield f"{path.name}: the running image is built on {stage.name}, which has torch"


RULES: list[Rule] = [
    images_are_pinned,
    stages_fit_together,
    images_run_as_promised,
]
