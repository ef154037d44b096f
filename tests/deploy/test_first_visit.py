"""The compose file's NextChat in an empty browser: what it fetches and asks, step by step.

The processes of kbadmin run here with the variables that the compose file gives them; NextChat's
part is played, as it was seen to do.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from deploy.compose_check.reading import Setup, stages_of
from retrieval.embedding import Bundle
from tests.conftest import start_chroma, stop
from tests.isolation import free_port
from tests.retrieval.installation import Installation
from tests.test_architecture import ROOT

pytestmark = pytest.mark.timeout(300)

GIVEN = {"KBADMIN_ADMIN_PASSWORD": "a long password", "KBADMIN_API_KEY": "kb_0123456789abcdefghij"}
#: As browsers send it, from where the compose file publishes NextChat.
ORIGIN = "http://localhost:3000"


def interpolated(value: object) -> str:
    """A value of the compose file with GIVEN and its own defaults: `${A:-${B:-c}}`."""
    text = str(value)
    inner = re.compile(r"\$\{([A-Z_]+)(?::[-?]([^${}]*))?\}")
    while found := inner.search(text):
        text = text.replace(found[0], GIVEN.get(found[1]) or found[2] or "")
    return text


@dataclass
class Visit:
    installation: Installation
    services: dict[str, dict[str, Any]]
    files: Path  #: what NextChat serves in place of its own

    def file(self, name: str) -> Any:
        return json.loads((self.files / name).read_text())

    def ask(self, method: str, address: str, **options: Any) -> httpx.Response:
        """Ask kbadmin as if it stood where the address says."""
        parts = urlsplit(address)
        headers = {"Host": parts.netloc, **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self.installation.port}{parts.path}"
        with httpx.Client(trust_env=False, timeout=60) as client:
            return client.request(method, url, headers=headers, **options)

    def nextchat(self, name: str) -> str:
        return interpolated(self.services["nextchat"]["environment"][name])


@pytest.fixture(scope="module")
def visit(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    folder = tmp_path_factory.mktemp("compose")
    data, files = folder / "data", folder / "nextchat"
    (data / "models").mkdir(parents=True)
    (data / "models" / bundle.folder.name).symlink_to(bundle.folder)
    services = Setup(ROOT).services
    port = free_port()
    chroma = start_chroma(folder / "chroma", port)
    installation = Installation(data, f"http://127.0.0.1:{port}")
    # Ours are the ports and the folder; all else is as the compose file has it.
    given = {
        name: interpolated(value)
        for name, value in services["web"]["environment"].items()
        if name not in {"HOST", "PORT", "KBADMIN_DATA_DIR", "KBADMIN_CHROMA_URL"}
    }
    installation.environment |= given
    script = (ROOT / "deploy" / "docker" / "init.sh").read_text().replace(" /nextchat", f" {files}")
    try:
        subprocess.run(
            ["sh", "-c", script],
            cwd=ROOT,
            env=installation.environment
            | {"PATH": f"{programs(folder)}:{installation.environment['PATH']}"},
            check=True,
            capture_output=True,
        )
        installation.run("worker", "--drain")
        installation.serve()
        yield Visit(installation, services, files)
    finally:
        for process in installation.started:
            if process.poll() is None:
                stop(process)
        stop(chroma)


def programs(folder: Path) -> Path:
    """A folder whose `python` is this one."""
    place = folder / "bin"
    place.mkdir()
    (place / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore "$@"\n')
    (place / "python").chmod(0o755)
    return place


def test_nextchat_serves_the_files_that_init_writes(visit):
    (stage,) = stages_of(ROOT / "deploy" / "nextchat" / "Dockerfile")
    links = next(rest for instruction, rest in stage.steps if instruction == "RUN")
    named = set(re.findall(r"\b[\w]+\.(?:json|js)\b", links))
    assert named == {path.name for path in visit.files.iterdir()}
    assert "/kbadmin/$file" in links
    volume = next(v for v in visit.services["init"]["volumes"] if v.endswith(":/nextchat"))
    assert f"{volume.split(':')[0]}:/kbadmin:ro" in visit.services["nextchat"]["volumes"]


def test_the_plugin_is_installed_by_a_document_that_browsers_may_read(visit):
    (plugin,) = visit.file("plugins.json")
    assert urlsplit(plugin["schema"]).netloc == "localhost:8001"
    answer = visit.ask("GET", plugin["schema"], headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] in {ORIGIN, "*"}
    for path, methods in answer.json()["paths"].items():
        assert not path.endswith("/")
        assert all(operation["operationId"] for operation in methods.values())


def test_the_chat_begins_with_the_plugin_on_and_the_model_chosen(visit):
    (plugin,) = visit.file("plugins.json")
    mask = visit.file("masks.json")["en"][0]
    assert mask["plugin"] == [plugin["id"]]
    model = f"{mask['modelConfig']['model']}@{mask['modelConfig']['providerName']}"
    assert visit.nextchat("DEFAULT_MODEL") == model
    assert visit.nextchat("CUSTOM_MODELS") == f"-all,+{model}"
    assert mask["syncGlobalConfig"] is False


def test_nextchats_server_gets_an_answer_with_sources(visit):
    base = visit.nextchat("BASE_URL")
    assert urlsplit(base).hostname in visit.services
    answer = visit.ask(
        "POST",
        f"{base}/v1/chat/completions",
        headers={"Authorization": f"Bearer {visit.nextchat('OPENAI_API_KEY')}"},
        json={
            "model": visit.nextchat("DEFAULT_MODEL").removesuffix("@OpenAI"),
            "messages": [{"role": "user", "content": "How do I make a backup?"}],
            "stream": True,
        },
    )
    assert answer.status_code == 200, answer.text
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert "http://localhost:8001/f/" in answer.text


def test_the_tool_is_called_from_inside_with_the_key_of_the_file(visit):
    (plugin,) = visit.file("plugins.json")
    document = visit.ask("GET", plugin["schema"]).json()
    server = document["servers"][0]["url"]
    assert urlsplit(server).hostname in visit.services
    assert not server.endswith("/")
    path = next(path for path, methods in document["paths"].items()
                if "search" in methods["post"]["operationId"].lower())  # fmt: skip
    answer = visit.ask(
        "POST",
        server + path,
        headers={"Authorization": f"Bearer {plugin['authToken']}"},
        json={"query": "How do I make a backup?"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"]


def test_both_stand_on_one_network_that_chroma_is_not_on(visit):
    networks = {name: set(service["networks"]) for name, service in visit.services.items()}
    assert networks["nextchat"] & networks["web"]
    assert not networks["nextchat"] & networks["chroma"]
    assert networks["web"] & networks["chroma"]


def test_with_a_code_for_the_chat_no_key_lies_open(visit, tmp_path):
    script = (ROOT / "deploy" / "docker" / "init.sh").read_text()
    script = script.replace(" /nextchat", f" {tmp_path}").replace("python manage.py setup", "true")
    programs(tmp_path)
    subprocess.run(
        ["sh", "-c", script],
        cwd=ROOT,
        env={
            **visit.installation.environment,
            "NEXTCHAT_CODE": "1234",
            "PATH": f"{tmp_path / 'bin'}:{visit.installation.environment['PATH']}",
        },
        check=True,
        capture_output=True,
    )
    (plugin,) = json.loads((tmp_path / "plugins.json").read_text())
    assert "authToken" not in plugin


def test_the_image_lends_its_models_but_keeps_what_was_prepared(tmp_path):
    image, data = tmp_path / "image", tmp_path / "data"
    for name in ("new", "known", "own"):
        (image / name).mkdir(parents=True)
    (data / "models" / "own").mkdir(parents=True)
    (data / "models" / "known").symlink_to(tmp_path / "older")
    script = tmp_path / "entrypoint.sh"
    shutil.copy(ROOT / "deploy" / "docker" / "entrypoint.sh", script)
    script.write_text(script.read_text().replace("/opt/models", str(image)))
    for _ in range(2):
        result = subprocess.run(
            ["sh", str(script), "echo", "run"],
            env={"KBADMIN_DATA_DIR": str(data), "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
            text=True,
        )
        assert result.stdout == "run\n"
    assert (data / "models" / "new").readlink() == image / "new"
    assert (data / "models" / "known").readlink() == image / "known"
    assert not (data / "models" / "own").is_symlink()
