"""The plugin doctor: a manifest is right, or it is said exactly what to mend.

`examine` judges documents without touching the network; `sources` finds them; `formats` writes
reports. A rule is one function in `rules/`.
"""

from plugin.doctor.examine import examine
from plugin.doctor.types import (
    Consumer,
    Document,
    Finding,
    Replacement,
    Report,
    Severity,
    Tool,
    Verdict,
)

__all__ = [
    "Consumer",
    "Document",
    "Finding",
    "Replacement",
    "Report",
    "Severity",
    "Tool",
    "Verdict",
    "examine",
]
