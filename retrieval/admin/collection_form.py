"""The form of a collection, with its two JSON fields as something one can write in."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from retrieval import prompts, trials
from retrieval.exceptions import KnowledgeBaseError
from retrieval.front_matter import check_schema
from retrieval.models import Collection
from retrieval.retrieval_settings import parse

SETTINGS_TRIED = gettext_lazy(
    "The retrieval settings are tried on the golden set first; they count from then on if it is "
    "not answered worse."
)
EXAMPLE = """{
  "type": "object",
  "required": ["title", "owner"],
  "properties": {
    "title": {"type": "string", "minLength": 3},
    "owner": {"type": "string", "format": "email"},
    "valid_until": {"type": "string", "format": "date"},
    "audience": {"enum": ["staff", "customers"]},
    "tags": {"type": "array", "items": {"type": "string"}}
  }
}"""


class ObjectField(forms.JSONField):
    """A JSON object, shown on several lines; left empty it is an empty one."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False, indent=2) if value else ""
        return super().prepare_value(value)

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return {} if found in self.empty_values else found

    def validate(self, value: Any) -> None:
        super().validate(value)
        if not isinstance(value, dict):
            raise ValidationError(_("Write a JSON object: { … }"), code="no_object")


class CollectionForm(forms.ModelForm[Collection]):
    class Meta:
        model = Collection
        fields = "__all__"  # noqa: DJ007 - the admin's fieldsets choose
        field_classes = {"retrieval_settings": ObjectField, "front_matter_schema": ObjectField}

    def clean_retrieval_settings(self) -> dict[str, Any]:
        stored: dict[str, Any] = self.cleaned_data["retrieval_settings"]
        try:
            parse(stored)
        except KnowledgeBaseError as error:
            text = _("These settings cannot be used. %(error)s")
            raise ValidationError(text % {"error": error.message}, code="no_settings") from error
        return stored

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "gate_tolerance" in self.fields:
            # Left empty it stays as it was.
            self.fields["gate_tolerance"].required = False

    def clean_gate_tolerance(self) -> float:
        given: float | None = self.cleaned_data["gate_tolerance"]
        return self.instance.gate_tolerance if given is None else given

    #: retrieval settings that have to prove themselves before they count
    tried_settings: dict[str, Any] | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        wanted = cleaned.get("retrieval_settings")
        if self.instance.pk and cleaned.get("is_gated") and wanted is not None:
            before = self.initial.get("retrieval_settings") or {}
            if trials.ranks_otherwise(before, wanted):
                try:
                    trials.check(self.instance)
                except KnowledgeBaseError as error:
                    self.add_error("retrieval_settings", error.message)
                else:
                    self.tried_settings = wanted
        return cleaned

    def clean_prompt_en(self) -> str:
        return self._clean_prompt("prompt_en")

    def clean_prompt_zh(self) -> str:
        return self._clean_prompt("prompt_zh")

    def _clean_prompt(self, name: str) -> str:
        template: str = self.cleaned_data[name].strip()
        problem = prompts.problem_in(template) if template else None
        if problem is None:
            return template
        if problem:
            text = _("%(name)s is no placeholder. These are: %(known)s.")
            known = ", ".join(f"{{{name}}}" for name in prompts.PLACEHOLDERS)
            raise ValidationError(
                text % {"name": f"{{{problem}}}", "known": known}, code="no_placeholder"
            )
        raise ValidationError(
            _("{passages} is missing: without it, the model sees no passages."), code="no_passages"
        )

    def clean_front_matter_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = self.cleaned_data["front_matter_schema"]
        try:
            check_schema(schema)
        except KnowledgeBaseError as error:
            text = _("This is no JSON Schema. %(error)s")
            raise ValidationError(text % {"error": error.message}, code="no_schema") from error
        return schema


def prompt_help(language: str) -> SafeString:
    about = {
        "en": _("For questions in any language but Chinese. Empty: the usual text is used."),
        "zh": _("For questions in Chinese. Empty: the usual text is used."),
    }
    return format_html(
        "{} {}<details class='kb-disclosure'><summary>{}</summary>"
        "<pre class='kb-code'>{}</pre></details>",
        about[language],
        _(
            "{passages} stands for the numbered passages and must be there; {question}, "
            "{collection} and {date} may be."
        ),
        _("Show it to copy from"),
        prompts.DEFAULTS[language],
    )


def schema_help() -> SafeString:
    return format_html(
        "{}<details class='kb-disclosure'><summary>{}</summary>"
        "<p>{}</p><pre class='kb-code'>{}</pre></details>",
        _(
            "What the front matter of its documents must hold, as JSON Schema. A document that "
            "does not fit fails and says why. Empty: anything goes. A change counts for "
            "documents that come in from then on."
        ),
        _("Show an example"),
        _("Required fields, their types, a choice (enum) and dates as YYYY-MM-DD (format: date):"),
        EXAMPLE,
    )
