"""Who calls the tools."""

from dataclasses import dataclass

from plugin.votes import person
from retrieval.models import ApiKey


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a message."""

    key: ApiKey | None  #: none where none is asked for
    address: str

    @property
    def name(self) -> str:
        return person(self.key)
