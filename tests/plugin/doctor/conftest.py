"""Our own documents, as they are served at an address of the public internet."""

import copy
import json
from typing import Any

import pytest

from plugin import identity
from plugin.manifest import manifest
from plugin.openapi import document

ADDRESS = "https://kb.acme-notes.com"


@pytest.fixture
def good_manifest(settings: Any) -> dict[str, Any]:
    settings.PUBLIC_URL = ADDRESS
    settings.CONTACT_EMAIL = "help@acme-notes.com"
    return copy.deepcopy(manifest(identity.default()))


@pytest.fixture
def good_openapi() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(document(identity=identity.default())))
    made["servers"] = [{"url": ADDRESS}]
    return made
