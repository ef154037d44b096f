"""What we tell about ourselves: the defaults, and what somebody changed of them.

It is read from the database whenever it is asked for, so that every process tells the same the
moment it has changed; that costs one row by its key. Searches never ask for it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from plugin.models import PluginIdentity

NAME_FOR_MODEL = "knowledge_base"
NAME_FOR_HUMAN = "Knowledge base"
DESCRIPTION_FOR_HUMAN = "Answers from your own documents, with sources."
DESCRIPTION_FOR_MODEL = (
    "Search the user's private knowledge base before answering questions about their "
    "documents, products, procedures or notes. Call search with the user's question in the "
    "user's language; answer from the returned passages only and name their titles. If "
    "confidence is none, say that the knowledge base does not know. When the user says that "
    "an answer was good, wrong or incomplete, call submitFeedback with the query_id."
)
#: The fields of text that have a default.
TEXTS = (
    "name_for_human",
    "name_for_model",
    "description_for_human",
    "description_for_model",
    "contact_email",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """All of it, as it is served."""

    name_for_human: str
    name_for_model: str
    description_for_human: str
    description_for_model: str
    contact_email: str
    legal_text: str = ""  #: Markdown; empty: the page that comes with kbadmin
    logo_hash: str = ""  #: empty: the logo that comes with kbadmin
    #: `Operation.key` → description, of those that are not as the views have it
    operations: Mapping[str, str] = field(default_factory=dict)


def default() -> Identity:
    return Identity(
        name_for_human=NAME_FOR_HUMAN,
        name_for_model=NAME_FOR_MODEL,
        description_for_human=DESCRIPTION_FOR_HUMAN,
        description_for_model=DESCRIPTION_FOR_MODEL,
        contact_email=settings.CONTACT_EMAIL,
    )


def current() -> Identity:
    """What is served now; one query."""
    names = (*TEXTS, "legal_text", "logo_hash", "operations")
    stored = PluginIdentity.objects.filter(pk=PluginIdentity.ONLY).values(*names).first()
    return effective(stored or {})


def effective(stored: Mapping[str, Any]) -> Identity:
    """What is stored, with the default for everything that is empty."""
    base = default()
    return Identity(
        **{name: stored.get(name) or getattr(base, name) for name in TEXTS},
        legal_text=stored.get("legal_text") or "",
        logo_hash=stored.get("logo_hash") or "",
        operations={name: text for name, text in (stored.get("operations") or {}).items() if text},
    )


def plugin_id(identity: Identity | None = None) -> str:
    """`kbsearch-…`, another one for every OpenAPI document that NextChat imports.

    A browser fetches a plugin once for each id, and never again.
    """
    # Not at the top: the document is described with an identity.
    from plugin.openapi import document

    text = json.dumps(document("nextchat", identity), sort_keys=True, ensure_ascii=False)
    return f"kbsearch-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
