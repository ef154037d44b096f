"""What one upload sent, kept so that its page can be left and come back to."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.sessions.backends.db import SessionStore
from django.db.models import Model

from retrieval.admin import audit
from retrieval.models import Document, Revision


@dataclass(frozen=True)
class Item:
    """One file, text or address as it was answered: accepted, or refused with a reason."""

    name: str
    outcome: str = ""
    revision: int = 0
    refusal: str = ""
    document: int = 0


class Batch:
    """A row of the session table of its own, apart from the user's session.

    Uploads in two tabs would overwrite each other's list in a shared session, and a list of a
    thousand files is too long for an address. The key gives nobody a login: the row carries
    no authentication, and is shown only to the user who made it.
    """

    def __init__(self, store: SessionStore) -> None:
        self.store = store

    @classmethod
    def open(cls, key: str, user_id: int) -> "Batch | None":
        store = SessionStore(session_key=key or None)
        return cls(store) if store.get("uploader") == user_id else None

    @classmethod
    def create(cls, user_id: int) -> "Batch":
        store = SessionStore()
        store["uploader"] = user_id
        store["items"] = []
        store.create()
        return cls(store)

    @property
    def key(self) -> str:
        return self.store.session_key or ""

    @property
    def items(self) -> list[Item]:
        return [Item(*values) for values in self.store.get("items", [])]

    def add(self, items: Iterable[Item]) -> None:
        self.store["items"] = [
            *self.store.get("items", []),
            *([i.name, i.outcome, i.revision, i.refusal, i.document] for i in items),
        ]
        self.store.save()

    def failed(self) -> list[Model]:
        """The first documents of those that a retry begins again."""
        keys = [item.revision for item in self.items if item.revision]
        failed = Revision.objects.filter(pk__in=keys).failed()
        return audit.some(Document.objects.filter(latest_revision__in=failed))

    def retry(self) -> int:
        keys = [item.revision for item in self.items if item.revision]
        return Revision.objects.filter(pk__in=keys).retry()
