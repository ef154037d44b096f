"""What the doctor says of our own documents, without the network: cheap enough for every page."""

import json
import threading
from dataclasses import dataclass

from cachetools import LRUCache, cached
from django.conf import settings

from plugin.doctor.subject import host_of, is_private
from plugin.doctor.types import Finding, Report, Severity
from plugin.identity import Identity, current

OUT_OF_REACH = "KB224"


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
    return _judged((json.dumps(both, sort_keys=True), settings.PUBLIC_URL), identity)


@cached(LRUCache(2), key=lambda documents, identity: documents, lock=threading.Lock())
def _judged(documents: tuple[str, str], identity: Identity) -> Health:
    """`documents` are those of the identity, and the address they are judged for."""
    from plugin.doctor.sources import check_own

    severities = [found.severity for found in to_mend(check_own(identity=identity))]
    return Health(severities.count(Severity.ERROR), severities.count(Severity.WARNING))


def to_mend(report: Report) -> list[Finding]:
    """What is found in our own documents, but for what cannot be otherwise on a machine of one's
    own: OpenAI's servers do not reach it."""
    is_trial = is_private(host_of(settings.PUBLIC_URL))
    return [found for found in report.findings if not (is_trial and found.rule == OUT_OF_REACH)]
