"""What a collection asks of its documents' front matter: a JSON Schema, checked per file."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError

from retrieval.exceptions import FrontMatterMismatch, InvalidRequest
from retrieval.types import MetadataValue

#: Errors that are listed in one sentence; the rest is counted.
MAX_ERRORS = 5


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises InvalidRequest, with the place, if this is no JSON Schema."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(str(step) for step in error.absolute_path) or "the schema"
        raise InvalidRequest(f"{place}: {error.message}") from error


def check(metadata: Mapping[str, MetadataValue], schema: Mapping[str, Any]) -> None:
    """Compare front matter with its collection's schema; an empty schema asks for nothing.

    Raises FrontMatterMismatch, naming every field that is missing or wrong.
    """
    if not schema:
        return
    errors = sorted(
        _validator(json.dumps(schema, sort_keys=True)).iter_errors(dict(metadata)),
        key=lambda error: list(map(str, error.absolute_path)),
    )
    if not errors:
        return
    sentences = [
        f"{'.'.join(str(step) for step in error.absolute_path)}: {error.message}"
        if error.absolute_path
        else error.message
        for error in errors[:MAX_ERRORS]
    ]
    more = f" and {len(errors) - MAX_ERRORS} more" if len(errors) > MAX_ERRORS else ""
    raise FrontMatterMismatch(
        f"The front matter does not fit this collection: {'; '.join(sentences)}{more}. "
        "Mend it, or change the collection's schema."
    )


@lru_cache(maxsize=64)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema), format_checker=FormatChecker())
