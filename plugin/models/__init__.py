"""What the plugin keeps of its own, one module per noun."""

from plugin.models.check import Check
from plugin.models.identity import PluginIdentity

__all__ = ["Check", "PluginIdentity"]
