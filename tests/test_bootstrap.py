"""What the first start makes, what later starts leave alone, and what stops a start."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management.base import CommandError, OutputWrapper
from django.db import OperationalError

from kbadmin import bootstrap as module
from kbadmin.bootstrap import Credentials, bootstrap, closing_lines
from kbadmin.management.commands.chroma import local_chroma
from kbadmin.management.commands.setup import describe_database_error
from kbadmin.management.commands.start import check_disk, check_port, hold_lock
from kbadmin.settings import read_database
from retrieval.models import ApiKey, Collection, Document, EmbeddingModel

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def first_start(db, settings, tmp_path):
    """An empty data folder, a prepared model and a kb/ with one document; call it to start."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.MEDIA_ROOT = settings.DATA_DIR / "media"
    settings.BASE_DIR = tmp_path
    settings.ADMIN_PASSWORD = settings.API_KEY = ""
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb" / "refunds.md").write_text("# Refunds\n\nWithin thirty days.\n")
    EmbeddingModel.objects.create(
        name=settings.EMBEDDING_MODEL,
        revision="test",
        runtime=EmbeddingModel.Runtime.ONNX_INT8,
        dimension=384,
        max_tokens=256,
    )

    def start() -> str:
        output = io.StringIO()
        bootstrap(OutputWrapper(output))
        return output.getvalue()

    return start


def test_the_first_start_makes_an_administrator_a_key_and_the_collection(first_start):
    first_start()
    credentials = Credentials.load()
    assert User.objects.get(is_superuser=True).check_password(credentials.password)
    assert ApiKey.objects.authenticate(credentials.api_key)
    collection = Collection.objects.get()
    assert collection.slug == "docs"
    assert collection.live_index is not None
    assert [document.external_id for document in Document.objects.all()] == ["refunds.md"]


def test_the_second_start_changes_nothing(first_start):
    first_start()
    before = (Credentials.load(), User.objects.get().password, ApiKey.objects.get().pk)
    output = first_start()
    assert (Credentials.load(), User.objects.get().password, ApiKey.objects.get().pk) == before
    assert Collection.objects.count() == Document.objects.count() == 1
    assert "Made" not in output


def test_only_this_user_may_read_the_credentials(first_start):
    first_start()
    path = Credentials.load().path
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir() if "cred" in file.name] == [path.name]


def test_given_credentials_are_used(first_start, settings):
    settings.ADMIN_PASSWORD = "given-password"
    settings.API_KEY = "a-given-key-of-some-length"
    first_start()
    assert User.objects.get().check_password("given-password")
    assert ApiKey.objects.authenticate("a-given-key-of-some-length")
    assert ApiKey.objects.count() == 1


def test_a_key_given_later_is_added_once(first_start, settings):
    first_start()
    settings.API_KEY = "a-given-key-of-some-length"
    first_start()
    first_start()
    assert ApiKey.objects.count() == 2
    assert settings.API_KEY in closing_lines(Credentials.load())


def test_a_revoked_key_is_not_brought_back(first_start, settings):
    settings.API_KEY = "a-given-key-of-some-length"
    first_start()
    ApiKey.objects.update(revoked_at="2026-01-01T00:00:00Z")
    first_start()
    assert ApiKey.objects.authenticate(settings.API_KEY) is None
    assert settings.API_KEY not in closing_lines(Credentials.load())


def test_killed_before_the_rows_were_made_it_makes_them_from_the_file(first_start, monkeypatch):
    def killed(credentials: Credentials) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "make_administrator", killed)
        with pytest.raises(KeyboardInterrupt):
            first_start()
    remembered = Credentials.load()
    first_start()
    assert User.objects.get().check_password(remembered.password)
    assert ApiKey.objects.authenticate(remembered.api_key)


def test_a_collection_that_was_deleted_stays_deleted(first_start):
    first_start()
    Collection.objects.get().tombstone()
    first_start()
    assert not Collection.objects.alive().exists()
    Collection.objects.all().delete()
    first_start()
    assert not Collection.objects.exists()


def test_an_existing_installation_gets_no_second_collection_or_key(first_start):
    first_start()
    Credentials.load().path.unlink()
    first_start()
    assert ApiKey.objects.count() == Collection.objects.count() == User.objects.count() == 1


def test_a_changed_kb_arrives_with_the_next_start(first_start, settings):
    first_start()
    (settings.BASE_DIR / "kb" / "refunds.md").unlink()
    (settings.BASE_DIR / "kb" / "delivery.md").write_text("# Delivery\n\nIn two days.\n")
    first_start()
    assert [d.external_id for d in Document.objects.alive()] == ["delivery.md"]


def test_a_file_that_cannot_be_accepted_does_not_stop_the_start(first_start, monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise SystemExit(1)

    monkeypatch.setattr(module, "call_command", refuse)
    assert "starting without it" in first_start()


def test_a_damaged_credentials_file_is_one_sentence(first_start, settings):
    (settings.DATA_DIR / "credentials.json").write_text("{")
    with pytest.raises(CommandError, match=r"credentials\.json cannot be read"):
        first_start()


def test_the_closing_lines_show_how_to_get_in_and_search(first_start, settings):
    first_start()
    credentials = Credentials.load()
    lines = closing_lines(credentials)
    for text in (f"{settings.PUBLIC_URL}/admin/", "admin", credentials.password, "curl -s"):
        assert text in lines
    assert f"Authorization: Bearer {credentials.api_key}" in lines


def test_a_password_that_was_changed_is_not_shown(first_start):
    first_start()
    user = User.objects.get()
    user.set_password("another one")
    user.save()
    lines = closing_lines(Credentials.load())
    assert "the password you chose" in lines
    assert Credentials.load().password not in lines


def test_one_kbadmin_runs_on_a_data_folder(tmp_path):
    path = tmp_path / "start.lock"
    with (
        hold_lock(path, "http://127.0.0.1:1") as crashed,
        pytest.raises(CommandError, match=rf"process {os.getpid()}, http://127\.0\.0\.1:1"),
        hold_lock(path, "http://127.0.0.1:2"),
    ):
        pass
    assert not crashed
    with hold_lock(path, "http://127.0.0.1:2") as crashed:
        assert not crashed, "the one before ended well"


def test_a_run_that_was_killed_is_noticed_and_holds_no_lock(tmp_path):
    path = tmp_path / "start.lock"
    program = (
        "import os, signal, pathlib\n"
        "from kbadmin.management.commands.start import hold_lock\n"
        f"with hold_lock(pathlib.Path({str(path)!r}), 'http://x'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    setup = "import django; django.setup()\n"
    subprocess.run(
        [sys.executable, "-c", setup + program],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "kbadmin.settings"},
        check=False,
    )
    with hold_lock(path, "http://y") as crashed:
        assert crashed


def test_a_port_in_use_is_one_sentence_with_a_free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} is already in use") as error:
            check_port("127.0.0.1", port, "PORT={port}")
        other = int(str(error.value).split("PORT=")[1].split()[0])
    assert other != port
    check_port("127.0.0.1", other, "PORT={port}")


def test_an_address_of_another_machine_is_one_sentence():
    with pytest.raises(CommandError, match="not an address of this machine"):
        check_port("192.0.2.1", 8001, "PORT={port}")


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**12, 10**12, 5 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CommandError, match="nearly full: 5 MB are free"):
        check_disk(tmp_path)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8010", ("127.0.0.1", 8010)),
        ("http://192.0.2.1:8010", None),
        ("https://127.0.0.1:8010", None),
        ("http://127.0.0.1:8010/chroma", None),
    ],
)
def test_chroma_runs_here_only_if_its_address_is_here(url, address):
    assert local_chroma(url) == address


def test_an_unreachable_database_is_one_sentence_without_a_password(tmp_path):
    result = subprocess.run(
        [sys.executable, "manage.py", "setup"],
        cwd=ROOT,
        env={
            **os.environ,
            "KBADMIN_DATA_DIR": str(tmp_path),
            "DATABASE_URL": "postgres://kb:top-secret@127.0.0.1:1/kb",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "DATABASE_URL: the database 127.0.0.1:1/kb cannot be used" in result.stderr
    assert "Traceback" not in result.stderr
    assert "top-secret" not in result.stderr + result.stdout


def test_a_database_that_never_answers_is_given_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://kb:secret@127.0.0.1:{silent.getsockname()[1]}/kb"
        monkeypatch.setenv("DATABASE_URL", url)
        default = read_database()["OPTIONS"]
        assert default == {"connect_timeout": 10}

        monkeypatch.setenv("DATABASE_URL", f"{url}?connect_timeout=2")
        chosen = read_database()["OPTIONS"]
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(url, **chosen)


def test_a_database_error_names_the_database(db):
    assert "cannot be used: disk is full" in describe_database_error(
        OperationalError("disk is full")
    )


def test_credentials_are_kept_as_they_were(tmp_path):
    credentials = Credentials(tmp_path / "c.json", "admin", "p", "k", first_run_done=True)
    credentials.save()
    assert Credentials.load(tmp_path / "c.json") == credentials
    assert "path" not in json.loads((tmp_path / "c.json").read_text())
