"""A small plugin for tests, as a server serves it."""

import io
import json
from typing import Any

from PIL import Image

from tests.web_server import Site

ORIGIN = "https://chat.acme-notes.com"
OPEN: dict[str, Any] = {
    "Access_Control_Allow_Origin": ORIGIN,
    "Cache_Control": "no-cache",
}
PREFLIGHT = {
    "Access-Control-Allow-Origin": ORIGIN,
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Allow-Methods": "POST",
}
BEARER = {"type": "service_http", "authorization_type": "bearer", "verification_tokens": {}}


def picture(width: int = 512, height: int = 512, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(out, kind)
    return out.getvalue()


def good_plugin(site: Site, **changes: Any) -> None:
    """A plugin that is served as it should be."""
    manifest = {
        "schema_version": "v1",
        "name_for_model": "acme_notes",
        "name_for_human": "Acme notes",
        "description_for_model": "Search the notes of Acme.",
        "description_for_human": "Answers from the notes of Acme.",
        "auth": BEARER,
        "api": {"type": "openapi", "url": f"{site.url}/openapi.yaml"},
        "logo_url": f"{site.url}/logo.png",
        "contact_email": "help@acme-notes.com",
        "legal_info_url": f"{site.url}/legal",
        **changes,
    }
    spec = f"""
openapi: 3.0.3
info: {{title: Acme notes, version: "1"}}
servers: [{{url: "{site.url}"}}]
security: [{{key: []}}]
components: {{securitySchemes: {{key: {{type: http, scheme: bearer}}}}}}
paths:
  /search:
    post:
      operationId: search
      description: Find passages of the notes.
      requestBody:
        content:
          application/json:
            schema: {{type: object, properties: {{query: {{type: string, description: What}}}}}}
      responses: {{"200": {{description: Passages}}}}
"""
    site.page("/ai-plugin.json", json.dumps(manifest, indent=1), "application/json", **OPEN)
    site.page("/openapi.yaml", spec, "application/yaml", **OPEN)
    site.page("/logo.png", picture(), "image/png")
    site.page("/legal", "<p>Who we are.")
    site.preflight = (204, PREFLIGHT)
    site.answer("/search", '{"results": []}')
