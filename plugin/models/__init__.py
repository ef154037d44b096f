"""What the plugin keeps of its own, one module per noun."""

from plugin.models.check import Check
from plugin.models.identity import PluginIdentity
from plugin.models.vote_rate import VoteRate

__all__ = ["Check", "PluginIdentity", "VoteRate"]
