from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import template
from django.contrib.admin.models import LogEntry
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

if TYPE_CHECKING:
    from plugin.doctor import Finding
    from retrieval.models import EvaluationRun

register = template.Library()


@register.filter
def timesince_short(moment: datetime) -> str:
    """“3 minutes ago”, in one unit: the exact time is on the page behind the link."""
    now = timezone.now()
    if now - moment < timedelta(minutes=1):
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(moment, now, depth=1)}


@register.filter
def what_happened(entry: LogEntry) -> str:
    # Not at the top: the pages of the models load the template tags before they are ready.
    from retrieval.admin import audit

    return audit.sentence(entry)


@register.simple_tag
def front_matter_value(value: object) -> str:
    """A value as somebody would write it: lists with commas, yes and no in words."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return pgettext("between the parts of a list", ", ").join(map(front_matter_value, value))
    return "–" if value is None or value == "" else str(value)


@register.filter
def with_code(sentence: str) -> SafeString:
    """A sentence in which what stands in backticks is set as code."""
    parts = str(sentence).split("`")
    if len(parts) % 2 == 0:  # one is left over: it is a part of what is quoted
        return format_html("{}", sentence)
    return format_html_join(
        "",
        "{}",
        (
            (format_html("<code>{}</code>", part) if number % 2 else part,)
            for number, part in enumerate(parts)
        ),
    )


@register.filter
def thousands(number: int) -> str:
    """A whole number with the separators of the reader's language."""
    return number_format(number, use_l10n=True, force_grouping=True)


@register.filter
def milliseconds(duration: float | None) -> str:
    """A duration as precisely as anybody wants to know it; a dash where there is none."""
    if duration is None:
        return "–"
    if duration >= 1000:
        return _("%(n)s s") % {"n": number_format(duration / 1000, 1, use_l10n=True)}
    return _("%(n)s ms") % {"n": number_format(duration, 0 if duration >= 10 else 1, use_l10n=True)}


@register.filter
def own_field(found: "Finding") -> str:
    """The text of ours that a finding is about; "" where it is about none."""
    # Not at the top: the doctor loads much that most pages never use.
    from plugin.editing import field_at

    return field_at(found.document, found.pointer)


@register.filter
def ready_text(found: "Finding") -> str | None:
    """What can safely stand there instead."""
    from plugin import editing

    return editing.ready_text(found)


@register.filter
def metric(metrics: Mapping[str, Any], name: str) -> Any:
    """One of a run's metrics, whose names hold characters that templates have other uses for."""
    return metrics.get(name, {})


@register.filter
def short_name(model: str) -> str:
    """A model's name without whose it is."""
    return model.rsplit("/", 1)[-1]


@register.filter
def mode_name(mode: str) -> str:
    """How a search searches, in the words of the form that it is chosen in."""
    from kbadmin.pages.playground import MODE_NAMES

    return str(MODE_NAMES.get(mode, mode))


@register.filter
def questions_name(run: "EvaluationRun") -> str:
    """Where the questions of a run come from: the golden set, or the name of a file."""
    from retrieval.evaluation import GOLDEN_SET

    return _("Golden set") if run.questions_source == GOLDEN_SET else run.questions_source
