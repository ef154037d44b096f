"""What the doctor says of our own documents, without the network: cheap enough for every page."""

import json
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings

from plugin.doctor.types import Severity
from plugin.identity import current


@dataclass(frozen=True, slots=True)
class Health:
    errors: int
    warnings: int


def health() -> Health:
    """Judged once for each state of the documents, which takes about a second."""
    # Not at the top: the document is made from the views, which import much.
    from plugin.manifest import manifest
    from plugin.openapi import document

    identity = current()
    both = [manifest(identity), document(identity=identity)]
    return _judged(json.dumps(both, sort_keys=True), settings.PUBLIC_URL)


@lru_cache(maxsize=2)
def _judged(documents: str, address: str) -> Health:
    from plugin.doctor.sources import check_own

    report = check_own()
    return Health(len(report.of(Severity.ERROR)), len(report.of(Severity.WARNING)))
