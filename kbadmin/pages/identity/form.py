"""The form: one field for each text, in groups, each with what fits everywhere."""

import base64
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from plugin import logo
from plugin.doctor.rules.gpt_actions import DESCRIPTION
from plugin.doctor.rules.manifest import (
    DESCRIPTION_FOR_HUMAN,
    DESCRIPTION_FOR_MODEL,
    NAME_FOR_HUMAN,
    NAME_FOR_MODEL,
)
from plugin.editing import LEGAL, OPERATION
from plugin.models.identity import LONGEST_LEGAL, LONGEST_NAME, LONGEST_TEXT
from plugin.openapi import operations

#: Characters that every program takes.
FITS = {
    "name_for_human": NAME_FOR_HUMAN[0],
    "name_for_model": NAME_FOR_MODEL,
    "description_for_human": DESCRIPTION_FOR_HUMAN[0],
    "description_for_model": DESCRIPTION_FOR_MODEL,
}
#: Base64 of the largest logo that `plugin.logo` makes.
LONGEST_LOGO = 1_500_000


class Line(forms.CharField):
    """One line of text: what is pasted with breaks in it loses them."""

    def to_python(self, value: Any) -> str:
        return " ".join((super().to_python(value) or "").split())


class Lines(forms.CharField):
    """Several lines, their ends as they are everywhere but in forms."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n").strip()


class IdentityForm(forms.Form):
    """Texts by the names that `plugin.editing` has for them, and a logo."""

    name_for_human = Line(
        max_length=LONGEST_NAME,
        required=False,
        label=gettext_lazy("Name for people"),
        help_text=gettext_lazy("As lists of plugins and NextChat’s import show it."),
    )
    name_for_model = Line(
        max_length=LONGEST_NAME,
        required=False,
        label=gettext_lazy("Name for the model"),
        help_text=gettext_lazy("Letters a to z, digits and underscores: it names a tool."),
    )
    contact_email = Line(
        max_length=LONGEST_NAME,
        required=False,
        label=gettext_lazy("Contact e-mail"),
        help_text=gettext_lazy("In the manifest and on the legal page, for everybody to read."),
    )
    description_for_human = Lines(
        max_length=LONGEST_TEXT,
        required=False,
        label=gettext_lazy("Description for people"),
        help_text=gettext_lazy("One sentence: what somebody gets who turns it on."),
    )
    description_for_model = Lines(
        max_length=LONGEST_TEXT,
        required=False,
        label=gettext_lazy("Description for the model"),
        help_text=gettext_lazy("When to call it, with what, and how to use what it answers."),
    )
    legal_text = Lines(
        max_length=LONGEST_LEGAL,
        required=False,
        label=gettext_lazy("Legal information"),
        help_text=gettext_lazy("Markdown. While it is empty, a page that comes with kbadmin."),
    )
    #: The logo to be saved, made anew already, in base64; "default" for the one of kbadmin.
    logo_data = forms.CharField(max_length=LONGEST_LOGO, required=False, widget=forms.HiddenInput)
    #: The same where no script has sent it before.
    logo = forms.FileField(required=False, allow_empty_file=True, label=gettext_lazy("Logo"))
    version = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for one in operations():
            name, address = f"{OPERATION}{one.key}", f"{one.method.upper()} {one.path}"
            if name in self.fields:
                self.fields[name].help_text = f"{self.fields[name].help_text}, {one.path}"
                continue
            self.fields[name] = Lines(
                max_length=LONGEST_TEXT, required=False, label=one.id, help_text=address
            )

    def name_of(self, name: str) -> str:
        """What people call a field; operations of different documents share their names."""
        label = str(self.fields[name].label)
        return f"{label} ({self.fields[name].help_text})" if name.startswith(OPERATION) else label

    def texts(self) -> dict[str, str]:
        """Field → text, as it was given; of a text that is too long, the text all the same."""
        return {
            name: str(self.fields[name].to_python(self.data.get(name)))
            for name in self.fields
            if name not in {"logo", "logo_data", "version"}
        }

    def clean(self) -> None:
        given = self.cleaned_data
        uploaded, kept = given.get("logo"), given.get("logo_data", "")
        given["picture"] = None
        try:
            if uploaded:
                given["picture"] = logo.remade(uploaded.read(logo.MAX_BYTES + 1))
            elif kept == "default":
                given["picture"] = b""
            elif kept:
                given["picture"] = logo.remade(base64.b64decode(kept, validate=True))
        except logo.LogoRefused as error:
            self.add_error("logo", str(error))
        except ValueError:
            self.add_error("logo", _("This is no picture that can be read."))


@dataclass(frozen=True, slots=True)
class Entry:
    """One field as the page shows it."""

    name: str
    bound: forms.BoundField
    value: str
    default: str
    fits: int  #: characters; 0 where nothing is counted
    said: list[Any]  #: findings about it
    rows: int
    is_code: bool

    @property
    def is_changed(self) -> bool:
        return self.value != self.default

    @property
    def length(self) -> int:
        return len(self.value)

    @property
    def is_too_long(self) -> bool:
        return 0 < self.fits < self.length


def entries(
    form: IdentityForm,
    values: dict[str, str],
    defaults: dict[str, str],
    said: dict[str, list[Any]],
) -> dict[str, Entry]:
    """Field → how it is shown."""
    rows = {"description_for_human": 2, "description_for_model": 6, LEGAL: 8}
    fits = FITS | {f"{OPERATION}{one.key}": DESCRIPTION for one in operations()}
    return {
        name: Entry(
            name=name,
            bound=form[name],
            value=value or defaults[name],
            default=defaults[name],
            fits=fits.get(name, 0),
            said=said.get(name, []),
            rows=rows.get(name, 4 if name.startswith(OPERATION) else 0),
            is_code=name == "name_for_model",
        )
        for name, value in values.items()
    }


def of_operations(shown: dict[str, Entry]) -> dict[str, list[Entry]]:
    """Wording → the fields of the operations that are told in it."""
    found: dict[str, dict[str, Entry]] = {}
    for one in operations():
        name = f"{OPERATION}{one.key}"
        found.setdefault(one.audience.wording, {})[name] = shown[name]
    return {wording: list(entries.values()) for wording, entries in found.items()}
