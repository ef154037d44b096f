from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

register = template.Library()


@register.filter
def timesince_short(moment: datetime) -> str:
    """“3 minutes ago”, in one unit: the exact time is on the page behind the link."""
    now = timezone.now()
    if now - moment < timedelta(minutes=1):
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(moment, now, depth=1)}


@register.simple_tag
def front_matter_value(value: object) -> str:
    """A value as somebody would write it: lists with commas, yes and no in words."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return pgettext("between the parts of a list", ", ").join(map(front_matter_value, value))
    return "–" if value is None or value == "" else str(value)
