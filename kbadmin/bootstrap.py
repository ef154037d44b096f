"""What the first start makes so that there is something to look at: an administrator, a key
for programs and the collection `docs`. Later starts leave what people made of it alone.
"""

import json
import os
import secrets
import shlex
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, connection, transaction

from retrieval.models import ApiKey, Collection, Document, Revision
from retrieval.models.api_key import hash_key

USERNAME = "admin"
#: Folder beside manage.py whose documents the first collection holds.
FIRST_COLLECTION = "docs"
#: Without the characters that people confuse.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
#: Seconds that the closing lines wait for the first documents to be searchable.
READY_WITHIN = 120.0


def generate_password() -> str:
    """Four groups of four, about 79 bits: easy to copy by hand, nothing to guess."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))


@dataclass
class Credentials:
    """What the first start made up, kept so that every start can show it.

    The file is written before the rows: killed between the two, the next start makes the rows
    from it, and nobody is locked out by a password that was never shown.
    """

    path: Path = field(repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    first_run_done: bool = False

    @classmethod
    def load(cls, path: Path | None = None) -> "Credentials":
        path = path or settings.DATA_DIR / "credentials.json"
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError) as error:
            raise CommandError(
                f"{path} cannot be read ({error}); move it away and start again"
            ) from error
        known = {"username", "password", "api_key", "first_run_done"}
        return cls(path, **{key: content[key] for key in known & content.keys()})

    def save(self) -> None:
        """Replace the file in one step, readable by this user only."""
        content = {key: value for key, value in asdict(self).items() if key != "path"}
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".credentials-")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(content, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def bootstrap(stdout: OutputWrapper) -> None:
    """Make what is missing on a first start, add a key given since, and read kb/ again."""
    credentials = Credentials.load()
    has_administrator = User.objects.filter(is_superuser=True).exists()
    if not (has_administrator and credentials.first_run_done):
        make_first_rows(credentials, has_administrator)
        stdout.write("Made the first administrator, API key and collection.")
    add_given_key(credentials)
    read_documents(stdout)


def make_first_rows(credentials: Credentials, has_administrator: bool) -> None:
    """Administrator, key and collection, each only if there is none of its kind."""
    if not has_administrator:
        credentials.username = USERNAME
        credentials.password = (
            settings.ADMIN_PASSWORD or credentials.password or generate_password()
        )
    if not ApiKey.objects.exists():
        credentials.api_key = settings.API_KEY or credentials.api_key or ApiKey.generate()
    credentials.save()
    with transaction.atomic():
        if not has_administrator:
            make_administrator(credentials)
        if not ApiKey.objects.exists():
            ApiKey.issue("First key", credentials.api_key)
        if not Collection.objects.exists():
            make_collection()
    credentials.first_run_done = True
    credentials.save()


def make_administrator(credentials: Credentials) -> None:
    if User.objects.filter(username=credentials.username).exists():
        raise CommandError(
            f"There is a user {credentials.username!r} but no administrator; make one with "
            "manage.py createsuperuser and start again"
        )
    User.objects.create_superuser(
        username=credentials.username,
        email=settings.CONTACT_EMAIL,
        password=credentials.password,
    )


def make_collection() -> None:
    # Not at the top: it loads the embedder, which the supervisor that imports this never uses.
    from retrieval.collections import create_collection

    create_collection(slug=FIRST_COLLECTION, title="Docs", description="The documents in kb/.")


def add_given_key(credentials: Credentials) -> None:
    """A KBADMIN_API_KEY that no row knows is added; a revoked one stays revoked."""
    key = settings.API_KEY
    if not key:
        return
    if not ApiKey.objects.filter(key_hash=hash_key(key)).exists():
        ApiKey.issue("KBADMIN_API_KEY", key)
    if credentials.api_key != key:
        credentials.api_key = key
        credentials.save()


def read_documents(stdout: OutputWrapper) -> None:
    """Bring kb/ into `docs`, as an upgrade may have changed it; not if somebody deleted it."""
    folder = settings.BASE_DIR / "kb"
    if not folder.is_dir() or not Collection.objects.alive().filter(slug=FIRST_COLLECTION).exists():
        return
    try:
        call_command("ingest", str(folder), collection=FIRST_COLLECTION, prune=True, stdout=stdout)
    except (CommandError, SystemExit) as error:
        # One bad file must not keep the others, and everything else, from being served.
        reason = f" ({error})" if isinstance(error, CommandError) else ", as said above"
        stdout.write(f"Not all of {folder} was accepted{reason}; starting without it.")


def welcome(announce: Callable[[str], None], stopping: threading.Event) -> None:
    """Once the web server answers and `docs` is indexed, say where everything is."""
    deadline = time.monotonic() + READY_WITHIN
    missing = "it has not been asked yet"
    try:
        while missing and not stopping.is_set() and time.monotonic() < deadline:
            missing = what_is_missing()
            if missing:
                stopping.wait(0.5)
        if not stopping.is_set():
            announce(closing_lines(Credentials.load(), missing))
    except (DatabaseError, CommandError) as error:
        announce(f"kbadmin runs at {settings.PUBLIC_URL}/admin/ ({error})")
    finally:
        connection.close()


def what_is_missing() -> str:
    """Why a search would not find everything yet; empty when it would."""
    try:
        # The environment may name a proxy, which would look for 127.0.0.1 on itself.
        answer = httpx.get(f"{settings.LOCAL_URL}/readyz", timeout=5, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL):
        return "the web server does not answer yet"
    if answer.status_code >= 500:
        return "not every part is up yet"
    waiting = (
        Revision.objects.unfinished().filter(
            document__collection__slug=FIRST_COLLECTION, document__deleted_at=None
        )
    ).count()
    return f"{waiting} documents are still being indexed" if waiting else ""


def closing_lines(credentials: Credentials, missing: str = "") -> str:
    """Address, user name, password, key and a search to paste."""
    user = User.objects.filter(username=credentials.username, is_active=True).first()
    if user is None:
        name, password = "the administrator", "the password you chose"
    else:
        name = user.username
        unchanged = bool(credentials.password) and user.check_password(credentials.password)
        password = credentials.password if unchanged else "the password you chose"
    key = credentials.api_key
    if not (key and ApiKey.objects.authenticate(key)):
        key = ""
    lines = [
        "",
        f"kbadmin is running ({missing})" if missing else "kbadmin is running",
        f"  address    {settings.PUBLIC_URL}/admin/",
        f"  user       {name}",
        f"  password   {password}",
        f"  API key    {key or 'make one in the admin, under API keys'}",
        "  search     " + search_command(key or "YOUR-KEY"),
        "",
    ]
    return "\n".join(lines)


def search_command(key: str) -> str:
    """A curl that asks for a document that is there."""
    title = (
        Document.objects.searchable()
        .filter(collection__slug=FIRST_COLLECTION)
        .exclude(title="")
        .order_by("external_id")
        .values_list("title", flat=True)
        .first()
    )
    question = json.dumps({"query": title or "What can I ask here?"}, ensure_ascii=False)
    parts = ["curl", "-s", f"{settings.LOCAL_URL}/search"]
    if settings.PLUGIN_AUTH != "none":
        parts += ["-H", f"Authorization: Bearer {key}"]
    parts += ["-H", "Content-Type: application/json", "-d", question]
    return shlex.join(parts)
