"""The OpenAPI document, generated from the views and kept slim: every operation in it becomes
a tool of a language model, so each audience is offered what it should call and nothing else."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.plumbing import build_bearer_security_scheme_object

from plugin.identity import Identity, current

SEARCH, PASSAGE, FEEDBACK = "/search", "/passage", "/feedback"
#: Where the operations answer as NextChat needs them.
NEXTCHAT = "/nextchat"
#: Where they answer within the limits of GPT Actions.
ACTIONS = "/actions"
#: Told of operations whose answers come with numbers to cite and a footer.
CITED = "cited"
#: Characters that Actions allow a description.
ACTIONS_DESCRIPTION = 300
DEFAULT_AUDIENCE = "plugin"
VERSION = "1"
WRITES = frozenset({"submitFeedback"})
Endpoint = tuple[str, str, str, Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Audience:
    """Who reads one variant of the document."""

    paths: tuple[str, ...]  #: what it is offered, in this order
    server: Callable[[], str]  #: where it calls: absolute, without a slash at the end
    mount: str = ""  #: below which its operations are, where they are its own
    wording: str = ""  #: audiences with the same one are told the same of each operation
    longest: int | None = None  #: characters that a description may have
    extras: Mapping[str, Any] = field(default_factory=dict)  #: added to operations that only read


#: By the name that `document` takes. A variant is a line here; paths are those of plugin.urls.
AUDIENCES: Mapping[str, Audience] = {
    "plugin": Audience((SEARCH, FEEDBACK), lambda: settings.PLUGIN_SERVER_URL),
    # Called from outside, whatever chat servers beside us use.
    "actions": Audience(
        (ACTIONS + SEARCH, ACTIONS + PASSAGE, ACTIONS + FEEDBACK),
        lambda: settings.PUBLIC_URL,
        mount=ACTIONS,
        wording=CITED,
        longest=ACTIONS_DESCRIPTION,
        # The user may allow it once and for all.
        extras={"x-openai-isConsequential": False},
    ),
    "nextchat": Audience(
        (SEARCH, PASSAGE, FEEDBACK),
        lambda: settings.PLUGIN_SERVER_URL + NEXTCHAT,
        mount=NEXTCHAT,
        wording=CITED,
    ),
}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular
    """How our authentication is described; nothing where no key is asked for."""

    target_class = "plugin.authentication.ApiKeyAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> Any:
        return build_bearer_security_scheme_object(
            header_name="Authorization",
            token_prefix="Bearer",  # noqa: S106 - a word, no secret
        )

    def get_security_requirement(self, auto_schema: Any) -> Any:
        return {} if settings.PLUGIN_AUTH == "none" else {self.name: []}


def keep_plugin_operations(endpoints: list[Endpoint]) -> list[Endpoint]:
    """drf-spectacular hook: only what a chat program should call."""
    offered = {path for audience in AUDIENCES.values() for path in audience.paths}
    plain = {SEARCH, PASSAGE, FEEDBACK}
    if plain & {endpoint[0] for endpoint in endpoints}:
        # Of the whole site, as it is checked: operations have the same names in every mount.
        offered &= plain
    return [endpoint for endpoint in endpoints if endpoint[0] in offered]


def inline_schemas(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """drf-spectacular hook: put schemas where they are used.

    Clients hand the request body's schema to the model as it stands, and not all follow $ref.
    """
    components = result.get("components", {})
    schemas: dict[str, Any] = components.pop("schemas", {})
    inlined: dict[str, Any] = _inline(result, schemas)
    if settings.PLUGIN_AUTH == "none":
        inlined.get("components", {}).pop("securitySchemes", None)
    if not inlined.get("components"):
        inlined.pop("components", None)
    return inlined


def _inline(node: Any, schemas: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(item, schemas) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(schemas[node["$ref"].rsplit("/", 1)[-1]], schemas)
    merged = {key: _inline(value, schemas) for key, value in node.items()}
    if merged.get("type") == "object":
        # GPT Actions take an object without any as a fault of the document.
        merged.setdefault("properties", {})
    # spectacular wraps a reference that has a description of its own.
    if len(merged.get("allOf", [])) == 1:
        merged = {**merged.pop("allOf")[0], **merged}
    return merged


def document(audience: str = "plugin", identity: Identity | None = None) -> dict[str, Any]:
    """The OpenAPI 3.0.3 document of an audience, described as it is served or with another
    identity. Parts of it are shared: copy before you change them. Raises KeyError for an
    audience that there is not.
    """
    wanted = AUDIENCES[audience]
    told = current() if identity is None else identity
    made = generated(settings.PLUGIN_AUTH, wanted.mount)
    return {
        **made,
        "info": {
            "title": told.name_for_human,
            "version": VERSION,
            "description": told.description_for_human,
        },
        "servers": [{"url": wanted.server()}],
        "paths": {
            path: {
                method: _described(operation, told.operations, wanted)
                for method, operation in made["paths"][path].items()
            }
            for path in wanted.paths
        },
    }


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as one audience is offered it."""

    key: str  #: of its description in an identity: the same for all with this wording
    id: str
    method: str
    path: str  #: below the address of this server
    pointer: str  #: in the document of its audience
    audience: Audience
    description: str  #: as the views have it


def operations() -> Iterator[Operation]:
    """Everything that any audience is offered, in the order of the audiences."""
    for audience in AUDIENCES.values():
        paths = generated(settings.PLUGIN_AUTH, audience.mount)["paths"]
        for path in audience.paths:
            for method, operation in paths[path].items():
                yield Operation(
                    key=_key(operation["operationId"], audience),
                    id=operation["operationId"],
                    method=method,
                    path=f"{audience.mount}{path.removeprefix(audience.mount)}",
                    pointer=f"/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}",
                    audience=audience,
                    description=operation.get("description", ""),
                )


def _key(name: str, audience: Audience) -> str:
    return f"{audience.wording}-{name}" if audience.wording else name


def _described(
    operation: dict[str, Any], texts: Mapping[str, str], audience: Audience
) -> dict[str, Any]:
    name = operation["operationId"]
    text = texts.get(_key(name, audience)) or operation.get("description", "")
    if audience.longest is not None and len(text) > audience.longest:
        text = text[: audience.longest - 1].rsplit(" ", 1)[0] + "…"
    return {**operation, "description": text, **(audience.extras if name not in WRITES else {})}


@cache
def generated(auth: str, mount: str = "") -> dict[str, Any]:
    """Everything that any audience is offered below a path, made of the views; `auth` is
    PLUGIN_AUTH, on which it depends, and nothing else changes while a process runs."""
    # Not at the top: what they describe describes itself with this document.
    from plugin import urls
    from plugin.actions import operations
    from plugin.nextchat.urls import tools

    # Each by itself: operations have the same names in all of them.
    own: Any = [one for one in urls.urlpatterns if one not in operations]
    patterns = {NEXTCHAT: tools, ACTIONS: operations}.get(mount, own)
    generator = SchemaGenerator(patterns=patterns)  # type: ignore[no-untyped-call]  # drf-spectacular
    schema: dict[str, Any] = generator.get_schema(public=True)  # type: ignore[no-untyped-call]  # drf-spectacular
    return schema
