"""A collection's retrieval settings: JSON on its row ↔ `RetrievalSettings`, checked.

Only what differs from the defaults is stored:

    {"mode": "hybrid", "min_score": 0.2, "context": 1, "duplicate_share": 0.9, "rerank": true,
     "dense_weight": {"alphabetic": 0.5, "cjk": 0.0},
     "thresholds": {"hybrid": {"cjk": {"low": 0.2, "high": 0.5}}},
     "calibration": {…}}

`calibration` is what `manage.py calibrate` decided from; nothing reads it but people.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import lru_cache
from typing import Any

import jsonschema

from retrieval.exceptions import InvalidRequest
from retrieval.types import Mode, RetrievalSettings, Script, SearchRequest, Thresholds

logger = logging.getLogger(__name__)

MAX_CONTEXT = 10
#: What a score was made of; thresholds differ between them.
SCORES = ("hybrid", "dense", "lexical", "reranked")
_share = {"type": "number", "minimum": 0, "maximum": 1}
_scripts = [str(script) for script in Script]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "mode": {"enum": [str(mode) for mode in Mode]},
        "min_score": _share,
        "context": {"type": "integer", "minimum": 0, "maximum": MAX_CONTEXT},
        "duplicate_share": {"type": "number", "minimum": 0.5, "maximum": 2},
        "rerank": {"type": "boolean"},
        "dense_weight": {
            "type": "object",
            "propertyNames": {"enum": _scripts},
            "additionalProperties": _share,
        },
        "thresholds": {
            "type": "object",
            "propertyNames": {"enum": list(SCORES)},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"enum": _scripts},
                "additionalProperties": {
                    "type": "object",
                    "required": ["low", "high"],
                    "additionalProperties": False,
                    "properties": {"low": _share, "high": _share},
                },
            },
        },
        "calibration": {"type": "object"},
    },
}


def parse(stored: Mapping[str, Any]) -> RetrievalSettings:
    """Settings from a row's JSON. Raises InvalidRequest with the name of what is wrong."""
    return _parse(json.dumps(stored)) if stored else RetrievalSettings()


# Every search reads its collection's settings, which hardly ever change.
@lru_cache(maxsize=256)
def _parse(text: str) -> RetrievalSettings:
    stored = json.loads(text)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    error = jsonschema.exceptions.best_match(validator.iter_errors(stored))
    if error is not None:
        place = ".".join(["retrieval_settings", *map(str, error.absolute_path)])
        raise InvalidRequest(f"{place}: {error.message}.")
    given = {name: value for name, value in stored.items() if name != "calibration"}
    if "mode" in given:
        given["mode"] = Mode(given["mode"])
    if "dense_weight" in given:
        given["dense_weight"] = {
            Script(key): float(value) for key, value in stored["dense_weight"].items()
        }
    if "thresholds" in given:
        given["thresholds"] = {
            made_of: {Script(script): _thresholds(pair) for script, pair in by_script.items()}
            for made_of, by_script in stored["thresholds"].items()
        }
    return RetrievalSettings(**given)


def _thresholds(pair: Mapping[str, float]) -> Thresholds:
    if pair["low"] > pair["high"]:
        raise InvalidRequest("retrieval_settings.thresholds: low must not be above high.")
    return Thresholds(float(pair["low"]), float(pair["high"]))


def as_json(settings: RetrievalSettings) -> dict[str, Any]:
    """What differs from the defaults, as a collection's row stores it."""
    default = RetrievalSettings()
    stored = asdict(settings)
    return {
        item.name: stored[item.name]
        for item in fields(settings)
        if getattr(settings, item.name) != getattr(default, item.name)
    }


def wanted_by(request: SearchRequest, stored: Mapping[str, Any]) -> RetrievalSettings:
    """The collection's settings with what the request says itself.

    Raises InvalidRequest if the request asks for what does not exist.
    """
    wanted = request.settings or parse_stored(stored)
    if request.mode is not None:
        try:
            wanted = replace(wanted, mode=Mode(request.mode))
        except ValueError as error:
            known = ", ".join(Mode)
            raise InvalidRequest(f"mode: {request.mode!r} is not one of {known}.") from error
    if request.min_score is not None:
        if not 0 <= request.min_score <= 1:
            raise InvalidRequest("min_score must lie between 0 and 1.")
        wanted = replace(wanted, min_score=request.min_score)
    if request.context is not None:
        if not 0 <= request.context <= MAX_CONTEXT:
            raise InvalidRequest(f"context must lie between 0 and {MAX_CONTEXT}.")
        wanted = replace(wanted, context=request.context)
    return wanted


def parse_stored(stored: Mapping[str, Any]) -> RetrievalSettings:
    """A collection's settings. What somebody wrote past the form must not stop its searches."""
    try:
        return parse(stored)
    except InvalidRequest as error:
        logger.warning("%s The defaults are used instead.", error.message)
        return RetrievalSettings()
