"""Changing what we tell about ourselves: every text by the name of its field, and the logo."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from plugin.doctor import Document, Finding
from plugin.identity import TEXTS, Identity, default, effective
from plugin.models import PluginIdentity
from plugin.openapi import operations

LEGAL = "legal_text"
#: Before the key of an operation: the field of its description.
OPERATION = "operation-"
LOGO = "logo"
#: Where our documents say what a field says, beside the fields of the manifest itself.
ALSO_AT = {"/info/title": "name_for_human", "/info/description": "description_for_human"}


def defaults() -> dict[str, str]:
    """Field → the text that is served where nobody wrote another; for the legal text none."""
    base = default()
    texts = {name: str(getattr(base, name)) for name in TEXTS}
    described: dict[str, str] = {}
    for one in operations():
        described.setdefault(f"{OPERATION}{one.key}", one.description)
    return {**texts, **described, LEGAL: ""}


def texts_of(identity: Identity) -> dict[str, str]:
    """Field → the text that is served."""
    served = {name: str(getattr(identity, name)) for name in (*TEXTS, LEGAL)}
    own = {f"{OPERATION}{name}": text for name, text in identity.operations.items()}
    return {name: served.get(name) or own.get(name) or text for name, text in defaults().items()}


def as_stored(texts: Mapping[str, str]) -> dict[str, Any]:
    """Field → text, as the row keeps it: what is as by default is left empty."""
    changed = {
        name: text if (text := texts.get(name, "")) != usual else ""
        for name, usual in defaults().items()
    }
    operations = {
        name.removeprefix(OPERATION): text
        for name, text in changed.items()
        if name.startswith(OPERATION) and text
    }
    return {**{name: changed[name] for name in (*TEXTS, LEGAL)}, "operations": operations}


def would_be(texts: Mapping[str, str]) -> Identity:
    """The identity that these texts make."""
    return effective(as_stored(texts))


def version() -> str:
    """Another one after every change; "" before the first."""
    row = PluginIdentity.objects.values_list("changed_at", flat=True).first()
    return row.isoformat() if row else ""


class ChangedMeanwhile(Exception):
    """Somebody else has saved since the version that was to be changed."""


def save(
    texts: Mapping[str, str], logo: bytes | None = None, since: str | None = None
) -> list[str]:
    """Store texts, and a logo where one is given (b"" for the default); the names of what changed.

    `since` is the version that was shown to whom this comes from. Raises ChangedMeanwhile.
    """
    with transaction.atomic():
        _, is_new = PluginIdentity.objects.get_or_create(pk=PluginIdentity.ONLY)
        row = PluginIdentity.objects.select_for_update().get()
        if since is not None and since != ("" if is_new else row.changed_at.isoformat()):
            raise ChangedMeanwhile
        before = texts_of(effective(vars(row)))
        for name, value in as_stored(texts).items():
            setattr(row, name, value)
        after = texts_of(effective(vars(row)))
        changed = [name for name in after if after[name] != before[name]]
        if logo is not None and (digest := _digest(logo)) != row.logo_hash:
            row.logo, row.logo_hash = logo, digest
            changed.append(LOGO)
        if changed:
            row.save()
    return changed


def _digest(logo: bytes) -> str:
    return hashlib.sha256(logo).hexdigest() if logo else ""


# --- What the doctor finds in it ------------------------------------------------------------


def field_at(where: Document, pointer: str, mount: str = "") -> str:
    """The field that is told at a place of our documents, of those of the audiences with this
    mount; "" where it is no text of ours."""
    if where is Document.MANIFEST:
        name = pointer.removeprefix("/")
        return name if name in TEXTS else ""
    for one in operations():
        if one.audience.mount == mount and pointer in {one.pointer, f"{one.pointer}/description"}:
            return f"{OPERATION}{one.key}"
    return ALSO_AT.get(pointer, "")


def ready_text(found: Finding) -> str | None:
    """What can safely stand in a field instead of what was found there."""
    if len(found.edits) != 1:
        return None
    try:
        value = json.loads(found.edits[0].text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
