"""The plugin manifest, `ai-plugin.json`: who we are and where the OpenAPI document is."""

from typing import Any

from django.conf import settings

NAME_FOR_MODEL = "knowledge_base"
NAME_FOR_HUMAN = "Knowledge base"
DESCRIPTION_FOR_HUMAN = "Answers from your own documents, with sources."
DESCRIPTION_FOR_MODEL = (
    "Search the user's private knowledge base before answering questions about their "
    "documents, products, procedures or notes. Call search with the user's question in the "
    "user's language; answer from the returned passages only and name their titles. If "
    "confidence is none, say that the knowledge base does not know. When the user says that "
    "an answer was good, wrong or incomplete, call submitFeedback with the query_id."
)


def manifest() -> dict[str, Any]:
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
        "name_for_model": NAME_FOR_MODEL,
        "name_for_human": NAME_FOR_HUMAN,
        "description_for_model": DESCRIPTION_FOR_MODEL,
        "description_for_human": DESCRIPTION_FOR_HUMAN,
        "auth": auth,
        "api": {"type": "openapi", "url": f"{base}/openapi.yaml"},
        "logo_url": f"{base}/logo.png",
        "contact_email": settings.CONTACT_EMAIL,
        "legal_info_url": f"{base}/legal",
    }
