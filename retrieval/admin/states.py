"""What became of a version, in words that say more than its state."""

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext as _

from retrieval.models import Revision
from retrieval.models.revision import STAGED

#: Why a version was skipped: failure code → (word for a badge, sentence).
SKIPPED = {
    "duplicate": (gettext_lazy("duplicate"), gettext_lazy("Another document says the same.")),
    "draft": (gettext_lazy("draft"), gettext_lazy("Its front matter says draft.")),
    "unpacked": (gettext_lazy("unpacked"), gettext_lazy("Its files are documents of their own.")),
    STAGED: (
        gettext_lazy("on trial"),
        gettext_lazy("This version is not searched before it is proven, or confirmed."),
    ),
}


def label(state: str, code: str) -> str:
    """“duplicate” says what “skipped” does not."""
    if state == Revision.State.SKIPPED and code in SKIPPED:
        return str(SKIPPED[code][0])
    return str(Revision.State(state).label)


def reason(state: str, code: str, message: str) -> str:
    """Why it is not searched; what is always the same is said in the reader's language."""
    if state == Revision.State.SKIPPED and code in SKIPPED:
        return str(SKIPPED[code][1])
    if state == Revision.State.CANCELLED and code == "cancelled":
        return _("Cancelled. Retry it to have it indexed.")
    if state == Revision.State.CANCELLED and code == "discarded":
        return _("Discarded before it was searched.")
    return message


def state_badge(revision: Revision | None) -> SafeString:
    """A state in words and in a colour; which colour is the style sheet's business."""
    state = revision.state if revision else ""
    shown = label(state, revision.failure_code) if revision else gettext("empty")
    return format_html('<span class="kb-badge kb-is-{}">{}</span>', state, shown)
