"""Where documents come from: a file, a folder, standard input, an address, or ourselves."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import yaml
from django.conf import settings

from plugin.doctor.examine import api_address, examine, understand
from plugin.doctor.reading import MAX_BYTES
from plugin.doctor.registry import RULES
from plugin.doctor.rules.levels import WARNING, callers
from plugin.doctor.subject import Subject
from plugin.doctor.types import NOTHING_SAID, Consumer, Document, Finding, Report
from plugin.identity import Identity
from retrieval import fetching
from retrieval.exceptions import KnowledgeBaseError
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

OWN = "own"
STANDARD_INPUT = "-"
SUFFIXES = (".json", ".yaml", ".yml")


class Unavailable(Exception):
    """What was to be checked cannot be had; the message says why."""

    def __init__(self, message: Sentence) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Fetched:
    data: bytes
    address: str  #: after redirects


Fetch = Callable[[str], Fetched]
#: Looks at what both documents name, and tells what it found.
Probe = Callable[[Subject], Iterable[Finding]]


def fetch_document(address: str) -> Fetched:
    """A document from the web, by the safe fetcher. Live probes ask for theirs in their own way.

    Raises Unavailable.
    """
    try:
        page = fetching.fetch(address, max_bytes=MAX_BYTES, allowed_hosts=allowed_hosts())
    except KnowledgeBaseError as error:
        reason = _("%(address)s: %(reason)s", address=address, reason=error.message)
        raise Unavailable(reason) from error
    return Fetched(page.data, page.url)


def allowed_hosts() -> set[str]:
    """Hosts that may be inside this network: those that the operator named, and our own address,
    of which other ports are none of anybody's business."""
    own = (settings.PUBLIC_URL, settings.PLUGIN_SERVER_URL)
    return {*settings.FETCH_ALLOWED_HOSTS, *map(_with_port, own)}


def _with_port(address: str) -> str:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{(parts.hostname or '').rstrip('.')}:{port}"


def is_address(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def check(
    source: str,
    *,
    offline: bool = False,
    openapi: Path | None = None,
    consumers: Iterable[Consumer] = tuple(Consumer),
    fetch: Fetch = fetch_document,
    probe: Probe | None = None,
) -> Report:
    """Check what a source names, with the OpenAPI document that belongs to it.

    Raises Unavailable if the source itself cannot be read.
    """
    if source == OWN:
        return check_own(consumers)
    path = None
    if source == STANDARD_INPUT:
        fetched = Fetched(sys.stdin.buffer.read(MAX_BYTES + 1), "")
    elif is_address(source):
        if offline:
            raise Unavailable(_("%(source)s: nothing is fetched with --offline.", source=source))
        fetched = fetch(source)
    else:
        path = Path(source)
        fetched = Fetched(read_file(path), "")
    beside = None
    if openapi is not None:
        beside = Fetched(read_file(openapi), str(openapi))
    elif path is not None:
        subject, main = understand(fetched.data)
        if main is Document.MANIFEST and (found := openapi_beside(path, api_name(subject.fields))):
            beside = Fetched(read_file(found), str(found))
    return check_document(
        fetched,
        openapi=beside,
        source=source,
        consumers=consumers,
        fetch=None if offline else fetch,
        probe=None if offline else probe,
    )


def check_document(
    given: Fetched,
    *,
    openapi: Fetched | None = None,
    source: str = "",
    consumers: Iterable[Consumer] = tuple(Consumer),
    fetch: Fetch | None = fetch_document,
    probe: Probe | None = None,
) -> Report:
    """Check a document with its OpenAPI document, which is fetched where it is not given;
    without `fetch` nothing is."""
    subject, main = understand(given.data, address=given.address)
    reason = NOTHING_SAID
    notes: list[Finding] = []
    needs_second = main is Document.MANIFEST and subject.openapi is None
    if not needs_second:
        openapi = None
    elif openapi is None and fetch is not None and (address := api_address(subject)):
        try:
            openapi = fetch(address)
        except Unavailable as error:
            reason = error.message
            rule = RULES["KB205"]
            notes.append(
                rule.finding(
                    subject,
                    "/api/url",
                    _("It cannot be had: %(reason)s", reason=reason),
                    levels=callers(WARNING),
                )
            )
    if probe is not None:
        both, _main = understand(
            given.data,
            openapi=openapi.data if openapi else None,
            address=given.address,
            openapi_address=openapi.address if openapi else "",
        )
        notes += probe(both)
    return examine(
        given.data,
        address=given.address,
        openapi=openapi.data if openapi else None,
        openapi_address=openapi.address if openapi else "",
        source=source,
        consumers=consumers,
        more=notes,
        unavailable=reason,
    )


def check_own(
    consumers: Iterable[Consumer] = tuple(Consumer), identity: Identity | None = None
) -> Report:
    """Check our own manifest and OpenAPI document, as they are served or as they would be with
    another identity."""
    # Not at the top: the document is made from the views, which import much.
    from plugin.manifest import manifest
    from plugin.openapi import document

    return examine(
        json.dumps(manifest(identity), ensure_ascii=False, indent=2),
        address=f"{settings.PUBLIC_URL}/.well-known/ai-plugin.json",
        openapi=yaml.safe_dump(document(identity=identity), sort_keys=False, allow_unicode=True),
        openapi_address=f"{settings.PUBLIC_URL}/openapi.yaml",
        source=OWN,
        consumers=consumers,
    )


def expand(sources: Iterable[str]) -> Iterator[str]:
    """Sources, each folder replaced by the documents in it."""
    for source in sources:
        if not is_address(source) and source not in {OWN, STANDARD_INPUT} and Path(source).is_dir():
            found = sorted(path for path in Path(source).iterdir() if path.suffix in SUFFIXES)
            yield from map(str, found)
        else:
            yield source


def read_file(path: Path) -> bytes:
    """The file, cut off one byte after the most that is read. Raises Unavailable."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = _(
            "%(address)s: %(reason)s", address=str(path), reason=error.strerror or str(error)
        )
        raise Unavailable(reason) from error
    except ValueError as error:
        raise Unavailable(_("%(path)s: this is no name of a file.", path=str(path))) from error


def api_name(fields: dict[str, object]) -> str:
    """The name of the file that `api.url` ends in."""
    api = fields.get("api")
    url = api.get("url") if isinstance(api, dict) else None
    try:
        return PurePosixPath(urlsplit(url).path).name if isinstance(url, str) else ""
    except ValueError:
        return ""


def openapi_beside(path: Path, name: str) -> Path | None:
    """The OpenAPI document of a manifest in a file: beside it under the name that api.url ends
    in, or in the folder `specs` beside the manifest's, under the manifest's own name."""
    candidates = [path.with_name(name)] if Path(name).suffix in SUFFIXES else []
    specs = path.resolve().parent.parent / "specs"
    candidates += [specs / f"{path.stem}{suffix}" for suffix in SUFFIXES]
    for candidate in candidates:
        if candidate.is_file() and candidate.resolve() != path.resolve():
            return candidate
    return None
