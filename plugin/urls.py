"""What programs call. No path ends in a slash and none redirects: a redirect loses the body."""

from typing import Any

from csp.constants import NONE, SELF
from csp.decorators import csp_replace
from django.urls import include, path

from plugin import actions, documents, health, sources, views, voting
from plugin.gateway import views as gateway
from plugin.mcp.view import mcp

# Pages for the public and for machines need no script at all.
strict: Any = csp_replace({"default-src": [SELF], "script-src": [NONE], "style-src": [SELF]})

urlpatterns = [
    path("search", views.SearchView.as_view(), name="search"),
    path("passage", views.PassageView.as_view(), name="passage"),
    path("feedback", views.FeedbackView.as_view(), name="feedback"),
    path("v1/chat/completions", gateway.ChatCompletionsView.as_view(), name="chat-completions"),
    path("v1/models", gateway.ModelsView.as_view(), name="models"),
    path("v1/models/<path:name>", gateway.ModelView.as_view(), name="model"),
    path("v1/embeddings", gateway.EmbeddingsView.as_view(), name="embeddings"),
    path(".well-known/ai-plugin.json", strict(documents.ai_plugin), name="ai-plugin"),
    path("ai-plugin.json", strict(documents.ai_plugin)),
    path("openapi.json", strict(documents.openapi_json), name="openapi-json"),
    path("openapi.yaml", strict(documents.openapi_yaml), name="openapi-yaml"),
    path("logo.png", strict(documents.logo), name="logo"),
    path("legal", strict(documents.legal), name="legal"),
    path("nextchat/", include("plugin.nextchat.urls")),
    *actions.operations,
    path("actions/openapi.json", strict(documents.openapi_json), {"audience": "actions"}),
    path("f", voting.VoteView.as_view(), name="vote-by-script"),
    path("f/<token>", strict(voting.vote_page), name="vote"),
    path("source/<token>", strict(sources.source_page), name="source"),
    path("mcp", mcp, name="mcp"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
