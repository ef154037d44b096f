"""Our own documents, as they are served at an address of the public internet."""

import copy
import json
from typing import Any

import pytest

from plugin import openapi
from plugin.manifest import manifest

ADDRESS = "https://kb.acme-notes.com"


@pytest.fixture
def good_manifest(settings: Any) -> dict[str, Any]:
    settings.PUBLIC_URL = ADDRESS
    settings.CONTACT_EMAIL = "help@acme-notes.com"
    return copy.deepcopy(manifest())


@pytest.fixture
def good_openapi() -> dict[str, Any]:
    openapi.document.cache_clear()
    document: dict[str, Any] = json.loads(json.dumps(openapi.document()))
    document["servers"] = [{"url": ADDRESS}]
    return document
