"""Sentences that keep what they are made of, so that they can be said in another language later.

A sentence is a text in English, and that is what programs, logs and the database get of it. Where
a person reads it, `translated` says it in the language that is active then. Modules import
`Sentence as _`, by which its texts are found for translation.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self

from django.utils.translation import gettext


class Sentence(str):
    """A text, with %(name)s where its values stand; a value can be a sentence itself.

    Without values the text is taken as it is, per cent signs included.
    """

    msgid: str
    values: Mapping[str, Any]

    def __new__(cls, msgid: str = "", /, **values: Any) -> Self:
        self = super().__new__(cls, msgid % values if values else msgid)
        self.msgid = msgid
        self.values = values
        return self

    @classmethod
    def of(cls, text: str) -> Self:
        """A sentence as it is; any other text as one that is the same in every language."""
        return text if isinstance(text, cls) else cls("%(text)s", text=text)

    @property
    def translated(self) -> str:
        """In the active language."""
        text = gettext(self.msgid) if self.msgid else ""
        values = {name: translated(value) for name, value in self.values.items()}
        return text % values if values else text

    def as_data(self) -> dict[str, Any]:
        """For JSON; `from_data` makes the sentence of it again."""
        return {
            "msgid": self.msgid,
            "values": {
                name: value.as_data() if isinstance(value, Sentence) else value
                for name, value in self.values.items()
            },
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The sentence that `as_data` was of. Raises KeyError, TypeError or ValueError for what
        it never was."""
        return cls(
            data["msgid"],
            **{
                name: cls.from_data(value) if isinstance(value, dict) else value
                for name, value in data["values"].items()
            },
        )


def translated(value: Any) -> Any:
    """A sentence in the active language; anything else as it is."""
    return value.translated if isinstance(value, Sentence) else value


_ = Sentence


def listed(parts: Iterable[str]) -> Sentence:
    """One after another, with what separates the parts of a list."""
    whole: Sentence | None = None
    for part in parts:
        one = Sentence.of(part)
        whole = one if whole is None else _("%(first)s, %(next)s", first=whole, next=one)
    return whole or Sentence()
