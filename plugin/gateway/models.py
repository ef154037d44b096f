"""Which names can be chatted with: one for each collection, and the upstream's own."""

import logging
from dataclasses import dataclass
from typing import Any

from plugin.gateway import upstream
from plugin.gateway.errors import ModelNotFound, UpstreamError
from retrieval.models import Collection

logger = logging.getLogger(__name__)

OWNER = "kbadmin"
#: Behind a collection's name: answer from passages alone, also where there is an upstream.
EXTRACTIVE = ":extractive"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A collection answers."""

    collection: Collection
    is_extractive: bool  #: without a language model

    @property
    def name(self) -> str:
        return self.collection.slug


@dataclass(frozen=True, slots=True)
class PassThrough:
    """A model of the upstream answers, and nothing is searched."""

    name: str


def names() -> list[str]:
    """The names of the models that answer from a collection, in the order of /v1/models."""
    return [model["id"] for model in _own()]


def listed() -> list[dict[str, Any]]:
    """Everything that can be chatted with; without the upstream's where it does not answer."""
    own = _own()
    taken = {model["id"] for model in own}
    try:
        others = upstream.models() if upstream.is_there() else []
    except UpstreamError:
        others = []
    return own + [model for model in others if model["id"] not in taken]


def find(name: str) -> Knowledge | PassThrough:
    """What a name means; a collection's goes before one of the upstream's.

    Raises ModelNotFound, with the names there are.
    """
    slug, _, mode = name.partition(EXTRACTIVE)
    is_extractive = name.endswith(EXTRACTIVE) and not mode
    collection = Collection.objects.alive().filter(slug=slug if is_extractive else name).first()
    if collection is not None:
        return Knowledge(collection, is_extractive or not upstream.is_there())
    if upstream.is_there():
        try:
            known = {model["id"] for model in upstream.models()}
        except UpstreamError:
            known = {name}  # it may be there again, and will say
        if name in known:
            return PassThrough(name)
    raise ModelNotFound(
        f"There is no model {name[:200]!r}. These are there: "
        f"{', '.join(model['id'] for model in listed()[:50]) or 'none'}.",
        param="model",
    )


def _own() -> list[dict[str, Any]]:
    rows = Collection.objects.alive().order_by("slug").values_list("slug", "created_at")
    suffixes = ["", EXTRACTIVE] if upstream.is_there() else [""]
    return [
        {
            "id": f"{slug}{suffix}",
            "object": "model",
            "created": int(created.timestamp()),
            "owned_by": OWNER,
        }
        for suffix in suffixes
        for slug, created in rows
    ]
