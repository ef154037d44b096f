"""All rules, by the document they look at and the consumer they speak for.

KB1xx text and manifest · KB2xx OpenAPI · KB3xx NextChat · KB4xx GPT Actions · KB5xx LangChain ·
KB6xx MCP · KB7xx live probes.
"""

from plugin.doctor.rules import (  # noqa: F401 - importing registers them
    addresses,
    auth,
    gpt_actions,
    langchain,
    live,
    manifest,
    mcp,
    nextchat,
    operations,
    schemas,
    servers,
    text,
)
