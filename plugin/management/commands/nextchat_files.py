"""Write the files that are laid over NextChat's own."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from plugin.documents import as_json
from plugin.nextchat import files
from retrieval.models import ApiKey

KEY_NAME = "NextChat"
PLUGINS, MASKS, SCRIPT = "plugins.json", "masks.json", "serviceWorkerRegister.js"


class Command(BaseCommand):
    help = (
        "Write plugins.json, masks.json and serviceWorkerRegister.js into a folder, to be mounted "
        "over those of NextChat, so that it begins with the knowledge base on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="where to write; it is made if missing")
        parser.add_argument(
            "--with-key",
            action="store_true",
            help="put an API key into plugins.json, so that nobody has to enter one; everybody "
            "who can open NextChat can then read it. It is made once and kept",
        )

    def handle(self, *args: Any, folder: Path, with_key: bool, **options: Any) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            key = _key(folder / PLUGINS) if with_key else ""
            _write(folder / PLUGINS, as_json(files.plugins(key)))
            _write(folder / MASKS, as_json(files.masks(key)))
            _write(folder / SCRIPT, files.register_script())
        except OSError as error:
            raise CommandError(f"{folder} cannot be written to: {error.strerror}.") from error
        self.stdout.write(f"Written to {folder}: {PLUGINS}, {MASKS}, {SCRIPT}.")
        if not key and settings.PLUGIN_AUTH == "bearer":
            self.stdout.write(
                "They hold no API key: people enter one at the plugin in NextChat. "
                "With --with-key nobody has to."
            )
        self.stdout.write(f"Open {settings.NEXTCHAT_URL}/#/new-chat?mask=100000")


def _key(path: Path) -> str:
    """The key that the file holds if it is still good, or else a new one."""
    try:
        kept = str(json.loads(path.read_text())[0]["authToken"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        kept = ""
    if kept and ApiKey.objects.all().authenticate(kept):
        return kept
    _row, key = ApiKey.issue(KEY_NAME)
    return key


def _write(path: Path, content: bytes) -> None:
    """At once, as a whole: NextChat may be serving it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    # NextChat runs as a user of its own.
    Path(name).chmod(0o644)
    Path(name).replace(path)
