"""How bad something is, for whom: the combinations that rules share."""

from plugin.doctor.registry import Levels
from plugin.doctor.types import Consumer, Severity

ADVICE, WARNING, ERROR = Severity.ADVICE, Severity.WARNING, Severity.ERROR
CHATGPT, GPT_ACTIONS = Consumer.CHATGPT, Consumer.GPT_ACTIONS
NEXTCHAT, LANGCHAIN, MCP = Consumer.NEXTCHAT, Consumer.LANGCHAIN, Consumer.MCP
#: Those that read manifests, and those that make tools of operations.
OF_MANIFESTS = (CHATGPT, LANGCHAIN)
OF_OPERATIONS = (CHATGPT, GPT_ACTIONS, NEXTCHAT, MCP)


def everybody(severity: Severity) -> Levels:
    return dict.fromkeys(Consumer, severity)


def readers(severity: Severity) -> Levels:
    """For those that read manifests."""
    return dict.fromkeys(OF_MANIFESTS, severity)


def callers(severity: Severity) -> Levels:
    """For those that make tools of operations."""
    return dict.fromkeys(OF_OPERATIONS, severity)
