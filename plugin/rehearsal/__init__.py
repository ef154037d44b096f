"""Plays what a client does against this installation, step by step, with real requests.

A client that fails says little: NextChat loses the bodies of errors, an import says "CORS error"
for a trailing comma. Here every step of its own sequence is shown with its request, its answer
and, where it fails, what mends it.
"""

from plugin.rehearsal.sequences import CLIENTS, rehearse
from plugin.rehearsal.steps import Facts, Step

__all__ = ["CLIENTS", "Facts", "Step", "rehearse"]
