"""Rules about the services and their settings."""

import re
from collections.abc import Iterator

from deploy.compose_check.reading import (
    COMPOSE,
    Rule,
    Setup,
    example_of,
    seconds,
    settings_read,
    variables_in,
)

SERVICES = {"init", "web", "worker", "chroma", "nextchat", "fastchat", "postgres", "redis"}
PROFILES = {"fastchat": "fastchat", "postgres": "postgres", "redis": "redis", "prepare": "prepare"}
#: What people open. Anything else is reached by the other containers alone.
PUBLISHED = {"web": 8001, "nextchat": 3000}
#: They end by themselves.
ONE_SHOT = {"init", "prepare"}
#: Services whose image is not ours to keep from writing.
WRITABLE = {"nextchat"}
#: Seconds that a service needs to end well after SIGTERM.
LEAST_GRACE = {"web": 30, "worker": 60, "chroma": 60, "postgres": 60, "fastchat": 20, "redis": 10}
#: Variables that images of others read.
KNOWN_ELSEWHERE = {
    "chroma": {"RUST_LOG"},
    "nextchat": {
        "BASE_URL", "OPENAI_API_KEY", "CUSTOM_MODELS", "DEFAULT_MODEL", "CODE", "HIDE_USER_API_KEY",
    },
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"},
}  # fmt: skip
#: Variables of .env that are for docker compose itself.
FOR_COMPOSE = {
    "COMPOSE_PROFILES", "NEXTCHAT_PORT", "NEXTCHAT_CODE", "FASTCHAT_MODEL",
    "FASTCHAT_DEVICE", "POSTGRES_PASSWORD",
}  # fmt: skip
SECRET = re.compile(r"PASSWORD|KEY|TOKEN|SECRET|CODE")


def every_service_is_there(setup: Setup) -> Iterator[str]:
    for name in SERVICES - setup.services.keys():
        yield f"service {name} is missing"
    for name, service in setup.services.items():
        expected = [PROFILES[name]] if name in PROFILES else []
        if service.get("profiles", []) != expected:
            yield f"{name}: profiles should be {expected}"


def only_what_people_open_is_published(setup: Setup) -> Iterator[str]:
    for name, service in setup.services.items():
        ports = service.get("ports", [])
        if name not in PUBLISHED:
            if ports:
                yield f"{name}: publishes {ports}, but nobody opens it in a browser"
            continue
        if len(ports) != 1 or not str(ports[0]).endswith(f":{PUBLISHED[name]}"):
            yield f"{name}: should publish port {PUBLISHED[name]} and no other"
        elif not str(ports[0]).startswith("${HOST:-127.0.0.1}:"):
            yield f"{name}: should be published on this machine alone unless HOST is set"
        if service.get("network_mode"):
            yield f"{name}: network_mode goes around the published ports"


def every_service_is_watched(setup: Setup) -> Iterator[str]:
    for name, service in setup.services.items():
        if name in ONE_SHOT:
            if service.get("restart") != "no":
                yield f"{name}: ends by itself and should not be restarted"
            continue
        if service.get("restart") != "unless-stopped":
            yield f"{name}: should come back by itself (restart: unless-stopped)"
        if not service.get("healthcheck", {}).get("test"):
            yield f"{name}: has no health check"


def nobody_is_root(setup: Setup) -> Iterator[str]:
    for name, service in setup.services.items():
        if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", str(service.get("user", ""))):
            yield f"{name}: should run as a user and group other than root, by number"
        if service.get("cap_drop") != ["ALL"] or service.get("privileged"):
            yield f"{name}: should drop all capabilities"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name}: should forbid new privileges"
        if name not in WRITABLE and not service.get("read_only"):
            yield f"{name}: should have a read-only file system beside its volumes"
        for volume in service.get("volumes", []):
            if "docker.sock" in str(volume):
                yield f"{name}: holds the Docker socket"


def services_get_time_to_end(setup: Setup) -> Iterator[str]:
    for name, least in LEAST_GRACE.items():
        given = seconds(setup.services.get(name, {}).get("stop_grace_period", "10s"))
        if given < least:
            yield f"{name}: has {given:g} s to stop, needs {least}"
    for name, service in setup.services.items():
        # Without an init, a program as process 1 ignores signals that it does not handle.
        if not service.get("init"):
            yield f"{name}: should run under an init (init: true)"


def dependencies_are_waited_for(setup: Setup) -> Iterator[str]:
    for name, service in setup.services.items():
        for other, how in service.get("depends_on", {}).items():
            if other not in setup.services:
                yield f"{name}: depends on {other}, which is not there"
                continue
            expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            if how.get("condition") != expected:
                yield f"{name}: should wait until {other} is {expected}"
            optional = bool(setup.services[other].get("profiles"))
            if optional and how.get("required") is not False:
                yield f"{name}: must start without {other}, which is off by default"
    for name in ("web", "worker"):
        for other in ("init", "chroma"):
            if other not in setup.services.get(name, {}).get("depends_on", {}):
                yield f"{name}: should wait for {other}"


def networks_and_volumes_are_declared(setup: Setup) -> Iterator[str]:
    used: set[str] = set()
    for name, service in setup.services.items():
        for network in service.get("networks", []):
            if network not in setup.compose.get("networks", {}):
                yield f"{name}: network {network} is not declared"
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith((".", "/")):
                if not (setup.root / source).exists():
                    yield f"{name}: mounts {source}, which is not there"
            elif source not in setup.compose.get("volumes", {}):
                yield f"{name}: volume {source} is not declared"
            used.add(source)
    for volume in setup.compose.get("volumes", {}).keys() - used:
        yield f"volume {volume} is not used"
    inner = {name for name, kind in setup.compose.get("networks", {}).items()
             if (kind or {}).get("internal")}  # fmt: skip
    for name in ("chroma", "postgres", "redis"):
        if not set(setup.services.get(name, {}).get("networks", ["default"])) <= inner:
            yield f"{name}: should be on an internal network only"


def variables_are_known(setup: Setup) -> Iterator[str]:
    ours = settings_read(setup.root)
    serve = (setup.root / "deploy" / "fastchat" / "serve.py").read_text()
    known = KNOWN_ELSEWHERE | {"fastchat": set(re.findall(r"FASTCHAT_[A-Z_]+", serve))}
    for name, service in setup.services.items():
        for variable, value in service.get("environment", {}).items():
            if variable not in known.get(name, ours):
                yield f"{name}: {variable} is read by nothing in it"
            if SECRET.search(variable) and len(str(value)) > 1 and not variables_in(value):
                yield f"{name}: {variable} is a secret and belongs into .env"
    example = example_of(setup.root)
    for variable in example.keys() - ours - FOR_COMPOSE:
        yield f".env.example: {variable} is known to nothing"
    text = (setup.root / COMPOSE).read_text()
    for variable in variables_in(text) - ours - FOR_COMPOSE:
        yield f"{COMPOSE}: {variable} is known to nothing"
    for variable, value in example.items():
        if SECRET.search(variable) and value:
            yield f".env.example: {variable} has a value that everybody would share"
        if variable in FOR_COMPOSE - {"COMPOSE_PROFILES"} and variable not in variables_in(text):
            yield f".env.example: {COMPOSE} does not use {variable}"


def commands_are_there(setup: Setup) -> Iterator[str]:
    known = {
        path.stem
        for room in ("kbadmin", "plugin", "retrieval")
        for path in (setup.root / room / "management" / "commands").glob("*.py")
    }
    for name, service in setup.services.items():
        words = [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
        text = " ".join(map(str, words))
        for word in re.findall(r"deploy/\S+", text):
            script = setup.root / word
            if not script.exists():
                yield f"{name}: runs {word}, which is not there"
            elif word.endswith(".sh"):
                text += script.read_text()
        for command in re.findall(r"manage\.py (\w+)", text):
            if command not in known:
                yield f"{name}: manage.py {command} is not there"


RULES: list[Rule] = [
    every_service_is_there,
    only_what_people_open_is_published,
    every_service_is_watched,
    nobody_is_root,
    services_get_time_to_end,
    dependencies_are_waited_for,
    networks_and_volumes_are_declared,
    variables_are_known,
    commands_are_there,
]
