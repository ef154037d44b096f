"""What the rules look at: a manifest, an OpenAPI document, or both."""

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from plugin.doctor.almost_json import escaped
from plugin.doctor.reading import Reading
from plugin.doctor.types import Document

METHODS = ("get", "put", "post", "delete", "patch", "options", "head", "trace")
#: Public suffixes of two parts that are common; for others the last part counts.
SECOND_LEVEL = {"co", "com", "net", "org", "gov", "edu", "ac", "ne", "or", "go"}


@dataclass(frozen=True, slots=True)
class Parameter:
    pointer: str
    value: dict[str, Any]  #: references followed


@dataclass(frozen=True, slots=True)
class Operation:
    """A path and a method of the OpenAPI document."""

    path: str
    method: str
    pointer: str
    value: dict[str, Any]
    item: dict[str, Any]  #: what it stands in

    @property
    def label(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def id(self) -> str:
        found = self.value.get("operationId")
        return found if isinstance(found, str) else ""

    @property
    def description(self) -> str:
        for key in ("description", "summary"):
            found = self.value.get(key)
            if isinstance(found, str) and found.strip():
                return found
        return ""


@dataclass(frozen=True)
class Subject:
    """Both documents; one is None where it was not given."""

    manifest: Reading | None = None
    openapi: Reading | None = None
    address: str = ""  #: where the manifest is served; "" where unknown

    def reading(self, document: Document) -> Reading | None:
        return self.manifest if document is Document.MANIFEST else self.openapi

    @property
    def fields(self) -> dict[str, Any]:
        return self.manifest.mapping if self.manifest else {}

    @property
    def spec(self) -> dict[str, Any]:
        return self.openapi.mapping if self.openapi else {}

    @property
    def auth(self) -> dict[str, Any]:
        found = self.fields.get("auth")
        return found if isinstance(found, dict) else {}

    @cached_property
    def is_local(self) -> bool:
        """Whether it is served on this machine or network, for a trial: then its addresses
        are no faults of the document."""
        return bool(self.address) and is_private(host_of(self.address))

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        paths = self.spec.get("paths")
        found = []
        for path, item in paths.items() if isinstance(paths, dict) else ():
            pointer = f"/paths/{escaped(path)}"
            followed, target = self.follow(item, pointer)
            if not isinstance(followed, dict):
                continue
            for method in METHODS:
                value = followed.get(method)
                if isinstance(value, dict):
                    found.append(Operation(path, method, f"{target}/{method}", value, followed))
        return tuple(found)

    def parameters(self, operation: Operation) -> Iterator[Parameter]:
        """Those of the operation, then those of its path that it does not redefine."""
        item_pointer = operation.pointer.rpartition("/")[0]
        seen = set()
        for base, holder in ((operation.pointer, operation.value), (item_pointer, operation.item)):
            listed = holder.get("parameters")
            for number, value in enumerate(listed if isinstance(listed, list) else []):
                followed, pointer = self.follow(value, f"{base}/parameters/{number}")
                if not isinstance(followed, dict):
                    continue
                key = (json.dumps(followed.get("name")), json.dumps(followed.get("in")))
                if key not in seen:
                    seen.add(key)
                    yield Parameter(pointer, followed)

    def body(self, operation: Operation) -> tuple[Any, str]:
        """The request body with its pointer; None where there is none."""
        return self.follow(operation.value.get("requestBody"), f"{operation.pointer}/requestBody")

    def body_schema(self, operation: Operation) -> tuple[Any, str]:
        """The schema of the JSON body, as it is written, with its pointer."""
        body, pointer = self.body(operation)
        content = body.get("content") if isinstance(body, dict) else None
        media = content.get("application/json") if isinstance(content, dict) else None
        schema = media.get("schema") if isinstance(media, dict) else None
        return schema, f"{pointer}/content/application~1json/schema"

    def follow(self, value: Any, pointer: str) -> tuple[Any, str]:
        """A value with its own reference followed; None where it leads nowhere."""
        for _ in range(20):
            if not (isinstance(value, dict) and isinstance(value.get("$ref"), str)):
                return value, pointer
            reference = value["$ref"]
            if not reference.startswith("#/"):
                return None, pointer
            pointer = unquote(reference[1:])
            value = at(self.spec, pointer)
        return None, pointer

    @cached_property
    def references(self) -> tuple[tuple[str, str], ...]:
        """(pointer of the object, reference) of every `$ref` of the OpenAPI document."""
        return tuple(_references(self.spec, ""))


def _references(node: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        found = node.get("$ref")
        # `properties: {$ref: …}` names a property, and examples are data.
        if isinstance(found, str) and not pointer.endswith("/properties"):
            yield pointer, found
        for key, value in node.items():
            if key not in {"example", "examples", "default", "enum"} or pointer.endswith(
                ("/properties", "/schemas")
            ):
                yield from _references(value, f"{pointer}/{escaped(str(key))}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _references(value, f"{pointer}/{number}")


def at(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer; None where there is none."""
    value = document
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


# --- Addresses -------------------------------------------------------------------------------


def split(url: str) -> SplitResult | None:
    """The parts of an address; None where it is none at all."""
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        return None
    return parts


def host_of(url: str) -> str:
    parts = split(url)
    return (parts.hostname or "").rstrip(".") if parts else ""


def is_absolute(url: str) -> bool:
    parts = split(url)
    return bool(parts and parts.scheme.lower() in {"http", "https"} and parts.hostname)


def is_private(host: str) -> bool:
    """Whether a name or address can only mean this machine or a network of its own."""
    host = host.lower()
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    last = host.rsplit(".", 1)[-1]
    return "." not in host or last in {
        "localhost",
        "localdomain",
        "local",
        "internal",
        "lan",
        "home",
        "test",
        "invalid",
    }


def root_domain(host: str) -> str:
    """The part of a name that somebody registered; a guess where suffixes are unusual."""
    parts = host.lower().split(".")
    is_country = len(parts) > 2 and len(parts[-1]) == 2 and parts[-2] in SECOND_LEVEL
    return ".".join(parts[-3 if is_country else -2 :])
