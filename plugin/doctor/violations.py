"""What a validator of JSON Schema objects to, in a sentence without the whole value it is about."""

import difflib
import re
from typing import Any

from plugin.doctor.almost_json import shown
from retrieval.sentences import Sentence
from retrieval.sentences import Sentence as _

LENGTH = 60
TOO_FEW = {"minItems", "minProperties", "minLength"}


def explained(error: Any) -> Sentence:
    """One `jsonschema.ValidationError`; what is rare is told in the validator's own words."""
    value = shown(repr(error.instance), LENGTH)
    asked = error.validator_value
    quoted = re.search(r"\A'(.+)' is a required property|\('(.+?)' (?:was|were) un", error.message)
    name = (quoted[1] or quoted[2]) if quoted else ""
    if error.validator == "required" and name:
        return _("%(name)s is missing here.", name=name)
    if error.validator in {"additionalProperties", "unevaluatedProperties"} and name:
        return _misplaced(error, name)
    if error.validator == "type":
        kinds = " / ".join(asked) if isinstance(asked, list) else asked
        return _("%(value)s is of the wrong type; it should be %(type)s.", value=value, type=kinds)
    if error.validator == "enum" and isinstance(asked, list):
        values = shown(", ".join(map(str, asked)), 2 * LENGTH)
        return _("%(value)s is none of %(values)s.", value=value, values=values)
    if error.validator == "const":
        return _("%(value)s should be %(right)s.", value=value, right=shown(repr(asked), LENGTH))
    if error.validator == "pattern":
        return _("%(value)s is not written like %(pattern)s.", value=value, pattern=asked)
    if error.validator == "format":
        return _("%(value)s does not have the format %(format)s.", value=value, format=asked)
    if error.validator == "uniqueItems":
        return _("An entry stands twice in %(value)s.", value=value)
    if error.validator in TOO_FEW:
        return _("%(value)s is too short: at least %(number)s.", value=value, number=asked)
    if error.validator in {"anyOf", "oneOf"}:
        return _("%(value)s has none of the forms that are allowed here.", value=value)
    if error.validator is None:
        return _("%(name)s does not belong here.", name=value)
    message = shown(error.message.replace(repr(error.instance), value), 2 * LENGTH)
    return _("%(keyword)s is broken: %(message)s", keyword=error.validator, message=message)


def _misplaced(error: Any, name: str) -> Sentence:
    known = list(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
    close = difflib.get_close_matches(name, known, 1, 0.8)
    if close:
        return _(
            "%(name)s does not belong here. Did you mean %(other)s?", name=name, other=close[0]
        )
    return _("%(name)s does not belong here.", name=name)
