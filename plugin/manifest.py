"""The plugin manifest, `ai-plugin.json`: who we are and where the OpenAPI document is."""

from typing import Any

from django.conf import settings

from plugin.identity import Identity, current


def manifest(identity: Identity | None = None) -> dict[str, Any]:
    """The manifest as it is served, or as it would be with another identity."""
    told = current() if identity is None else identity
    base = settings.PUBLIC_URL
    auth: dict[str, Any] = {"type": "none"}
    if settings.PLUGIN_AUTH == "bearer":
        auth = {
            "type": "service_http",
            "authorization_type": "bearer",
            "verification_tokens": {},
        }
    return {
        "schema_version": "v1",
        "name_for_model": told.name_for_model,
        "name_for_human": told.name_for_human,
        "description_for_model": told.description_for_model,
        "description_for_human": told.description_for_human,
        "auth": auth,
        "api": {"type": "openapi", "url": f"{base}/openapi.yaml"},
        "logo_url": f"{base}/logo.png",
        "contact_email": told.contact_email,
        "legal_info_url": f"{base}/legal",
    }
