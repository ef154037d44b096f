"""`make compose-check` is content with our setup and notices what goes wrong in it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from deploy.compose_check import images, services
from deploy.compose_check.reading import COMPOSE, Setup, dockerfiles, stages_of
from tests.test_architecture import ROOT

#: What is copied and mounted; the checks read no more.
KEPT = ("deploy", COMPOSE, "Dockerfile", ".dockerignore", ".env.example", "Procfile", "manage.py")


@pytest.fixture
def setup(tmp_path: Path) -> Callable[[str, str, str], Setup]:
    """The setup with one change: setup(file, pattern, replacement)."""
    for path in ROOT.glob("requirements*.txt"):
        shutil.copy(path, tmp_path)
    for name in KEPT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for name in ("kbadmin", "plugin", "retrieval", "static"):
        (tmp_path / name).symlink_to(ROOT / name)

    def change(name: str, pattern: str, replacement: str) -> Setup:
        path = tmp_path / name
        text, count = re.subn(
            pattern, replacement, path.read_text(), flags=re.DOTALL | re.MULTILINE
        )
        assert count, f"{pattern} is not in {name} any more"
        path.write_text(text)
        return Setup(tmp_path)

    return change


def complaints(setup: Setup) -> str:
    return "\n".join(line for rule in (*services.RULES, *images.RULES) for line in rule(setup))


def test_our_setup_passes_with_the_schema_and_the_linter():
    result = subprocess.run(
        [sys.executable, "-m", "deploy.compose_check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "no complaints" in result.stdout


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "complaint"),
    [
        (COMPOSE, r"(chroma:\n.*?)volumes:", r'\1ports: ["8010:8010"]\n    volumes:', "publishes"),
        (COMPOSE, r"\$\{HOST:-127\.0\.0\.1\}:\$\{PORT", "${PORT", "this machine alone"),
        (COMPOSE, r'^  user: "10001:10001"\n', "", "other than root"),
        (COMPOSE, r'user: "70:70"', 'user: "0:0"', "other than root"),
        (COMPOSE, r"^  read_only: true\n", "", "read-only file system"),
        (COMPOSE, r"^  cap_drop: \[ALL\]\n", "", "drop all capabilities"),
        (COMPOSE, r"stop_grace_period: 2m", "stop_grace_period: 10s", "chroma: has 10 s"),
        (COMPOSE, r"^  init: true\n", "", "run under an init"),
        (COMPOSE, r'test: \["CMD", "redis-cli", "ping"\]', "disable: true", "redis: has no health"),
        (COMPOSE, r"chroma: \{condition: service_healthy\}", "chroma: {condition: service_started}",
         "until chroma is service_healthy"),
        (COMPOSE, r"service_healthy, required: false", "service_healthy",
         "must start without postgres"),
        (COMPOSE, r"networks: \[inside\]", "networks: [outside]", "internal network only"),
        (COMPOSE, r"inside: \{internal: true\}", "inside:", "internal network only"),
        (COMPOSE, r"\n  models:\n", "\n", "volume models is not declared"),
        (COMPOSE, r"KBADMIN_CHROMA_URL:", "KBADMIN_CHROMA_ADDRESS:", "is read by nothing in it"),
        (COMPOSE, r"OPENAI_API_KEY: \S+", "OPENAI_API_KEY: kb_1234", "belongs into .env"),
        (COMPOSE, r"image: postgres:17-alpine", "image: postgres", "has no version"),
        (COMPOSE, r"target: prepare", "target: preparation", "builds stage preparation"),
        (COMPOSE, r'"manage\.py", "worker"\]', '"manage.py", "work"]', "manage.py work is not"),
        ("deploy/docker/init.sh", "manage.py setup", "manage.py set_up", "set_up is not there"),
        (".env.example", r"KBADMIN_API_KEY=", "KBADMIN_API_KEY=secret", "everybody would share"),
        (".env.example", r"POSTGRES_PASSWORD=", "POSTGRES_PASS=", "POSTGRES_PASS is known to"),
        ("Dockerfile", r"--from=export /opt/models", "--from=exports /opt/models",
         "copies from exports, no earlier stage"),
        ("Dockerfile", r"COPY retrieval", "COPY retrievals", "retrievals, which is not there"),
        (".dockerignore", r"!retrieval\n", "", ".dockerignore hides"),
        ("Dockerfile", r"(.*)USER 10001:10001\n", r"\1", "user is root"),
        ("Dockerfile", r"FROM base AS application", "FROM tools AS application", "has torch"),
        ("Dockerfile", r"STOPSIGNAL SIGTERM\n", "", "stop signal"),
        ("Dockerfile", r"FROM python:3.11-slim-bookworm", "FROM python", "has no version"),
        ("deploy/nextchat/Dockerfile", r":v2\.16\.1", ":latest", "has no version"),
    ],
)  # fmt: skip
def test_it_notices(setup, name, pattern, replacement, complaint):
    assert complaint in complaints(setup(name, pattern, replacement))


def test_the_schema_notices_what_compose_does_not_know(setup):
    changed = setup(COMPOSE, "stop_grace_period: 2m", "stop_grace: 2m")
    result = subprocess.run(
        [sys.executable, "-m", "deploy.compose_check"],
        cwd=changed.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "check-jsonschema" in result.stderr
    assert "stop_grace" in result.stderr


def test_what_only_prepares_models_is_not_in_the_running_image():
    stages = {stage.name: stage for stage in stages_of(ROOT / "Dockerfile")}
    runtime = " ".join(rest for _, rest in stages["packages"].steps)
    assert "requirements-runtime.txt" in runtime
    listed = (ROOT / "requirements-runtime.txt").read_text()
    assert not re.search(
        r"^(torch|sentence-transformers|onnx|transformers)\b(?!runtime)", listed, re.M
    )
    assert "-r requirements-runtime.txt" in (ROOT / "requirements.txt").read_text()


def test_every_dockerfile_is_checked():
    found = {
        path.relative_to(ROOT) for path in ROOT.glob("**/Dockerfile") if ".venv" not in str(path)
    }
    assert found == {path.relative_to(ROOT) for path in dockerfiles(Setup(ROOT))}


def test_secrets_are_made_once_and_fill_what_compose_requires(tmp_path):
    (tmp_path / "deploy" / "docker").mkdir(parents=True)
    script = shutil.copy(ROOT / "deploy" / "docker" / "make-env.sh", tmp_path / "deploy" / "docker")
    shutil.copy(ROOT / ".env.example", tmp_path)
    first = subprocess.run(["sh", script], capture_output=True, text=True, check=True)
    text = (tmp_path / ".env").read_text()
    values = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z]", line))
    required = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / COMPOSE).read_text()))
    assert required == {"KBADMIN_ADMIN_PASSWORD", "KBADMIN_API_KEY"}
    assert all(len(values[name]) >= 16 for name in (*required, "POSTGRES_PASSWORD"))
    assert values["KBADMIN_ADMIN_PASSWORD"] in first.stdout
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    again = subprocess.run(["sh", script], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert (tmp_path / ".env").read_text() == text


def test_compose_starts_what_the_procfile_starts():
    processes = yaml.safe_load((ROOT / "Procfile").read_text())
    run = {name: " ".join(service["command"]) for name, service in Setup(ROOT).services.items()
           if name in processes}  # fmt: skip
    assert run.keys() == processes.keys()
    for name in ("web", "worker"):
        assert processes[name] == f"exec {run[name]}"
