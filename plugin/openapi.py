"""The OpenAPI document, generated from the views and kept slim: every operation in it becomes
a tool of a language model, so it names search and feedback and nothing else."""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.plumbing import build_bearer_security_scheme_object

OPERATIONS = {"/search", "/feedback"}
Endpoint = tuple[str, str, str, Callable[..., Any]]


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
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
    return [endpoint for endpoint in endpoints if endpoint[0] in OPERATIONS]


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


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.0.3 document; it changes with the code and the settings only."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    schema: dict[str, Any] = generator.get_schema(public=True)  # type: ignore[no-untyped-call]
    return schema
