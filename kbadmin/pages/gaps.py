"""The gaps report: what people ask and nobody has written down yet."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from kbadmin.pages.bounded import Count, count
from kbadmin.pages.incoming import TITLE_LENGTH
from kbadmin.pages.usage_report import RANGES, Range, asked_range, share
from retrieval import usage
from retrieval.admin.base import badge
from retrieval.exceptions import InvalidRequest
from retrieval.feedback import gaps
from retrieval.feedback.gaps import Span, Topic, Trend
from retrieval.feedback.numbers import week_of, weeks
from retrieval.models import ReviewItem
from retrieval.spreadsheets import harmless

VIEW = "retrieval.view_feedback"
#: Of the little charts of the topics, in pixels.
BAR, GAP, HEIGHT = 6, 2, 28
TONES = {Trend.NEW: "pending", Trend.GROWING: "failed", Trend.STEADY: "", Trend.GONE: "accepted"}


@dataclass(frozen=True, slots=True)
class Bar:
    week: date
    times: int
    x: int
    y: int
    height: int


@dataclass(frozen=True, slots=True)
class Line:
    topic: Topic
    badge: SafeString
    bars: list[Bar]
    width: int
    write_url: str


@dataclass(frozen=True, slots=True)
class Choice:
    label: str
    url: str
    number: Count | None
    is_shown: bool


@dataclass(frozen=True, slots=True)
class Week:
    """Answers that cannot be relied on, of all that were given in a week."""

    monday: date
    weak: int
    searches: int

    @property
    def share(self) -> float | None:
        return share(self.weak, self.searches)


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    shown, control = asked_range(request)
    span, trend = span_of(shown), trend_of(request)
    problem = ""
    found = gaps.Page((), "")
    try:
        found = gaps.read_page(span, trend, request.GET.get("after", ""))
    except InvalidRequest:
        problem = _("There is no such place in the list. Begin at its start.")
    here = address(shown, trend)
    context = {
        **admin.site.each_context(request),
        **control,
        "title": _("Gaps"),
        "presets": [preset(shown, days, trend) for days in RANGES],
        "choices": choices(span, shown, trend),
        "trend": trend,
        "lines": [line(topic) for topic in found.topics],
        "weeks": weekly(span),
        "looked_at": gaps.LOOKED_AT,
        "is_cut": count(gaps.waiting(span), gaps.LOOKED_AT).capped,
        "problem": problem,
        "first_url": here if request.GET.get("after") else "",
        "after_url": f"{here}&{urlencode({'after': found.after})}" if found.after else "",
        "export_url": address(shown, trend, "gaps_export"),
        "may_write": request.user.has_perm("retrieval.add_document"),
    }
    status = 400 if problem or control["range_is_bad"] else 200
    return TemplateResponse(request, "kbadmin/gaps.html", context, status=status)


def span_of(shown: Range) -> Span:
    return Span(shown.first, shown.last, shown.collection.pk if shown.collection else None)


def trend_of(request: HttpRequest) -> str:
    """What is asked for; anything unknown is all of it."""
    asked = request.GET.get("trend", "")
    return asked if asked in (Trend.NEW, Trend.GROWING, Trend.GONE) else ""


def address(shown: Range, trend: str, page: str = "gaps", **more: str) -> str:
    asked = {"first": shown.first.isoformat(), "last": shown.last.isoformat()}
    if shown.collection is not None:
        asked["collection"] = shown.collection.slug
    if trend:
        asked["trend"] = trend
    return f"{reverse(f'admin:{page}')}?{urlencode(asked | more)}"


def preset(shown: Range, days: int, trend: str) -> tuple[int, str, bool]:
    """How many days, the address that shows them, and whether they are shown now."""
    asked: dict[str, str | int] = {"days": days}
    if shown.collection is not None:
        asked["collection"] = shown.collection.slug
    if trend:
        asked["trend"] = trend
    is_shown = shown.last == usage.today() and len(shown.days) == days
    return days, f"{reverse('admin:gaps')}?{urlencode(asked)}", is_shown


def choices(span: Span, shown: Range, trend: str) -> list[Choice]:
    labels = {
        "": _("All topics"),
        Trend.NEW: _("New"),
        Trend.GROWING: _("Growing"),
        Trend.GONE: _("No longer asked"),
    }
    return [
        Choice(label, address(shown, value), count(gaps.select(span, value)), value == trend)
        for value, label in labels.items()
    ]


def trend_name(trend: Trend) -> str:
    return {
        Trend.NEW: _("new"),
        Trend.GROWING: _("growing"),
        Trend.STEADY: _("steady"),
        Trend.GONE: _("no longer asked"),
    }[trend]


def line(topic: Topic) -> Line:
    most = max(topic.weeks.values(), default=0) or 1
    bars = []
    for number, (week, times) in enumerate(topic.weeks.items()):
        height = max(round(HEIGHT * times / most), 2) if times else 1
        bars.append(Bar(week, times, number * (BAR + GAP), HEIGHT - height, height))
    return Line(
        topic,
        badge(TONES[topic.trend], trend_name(topic.trend)),
        bars,
        max(len(bars) * (BAR + GAP) - GAP, BAR),
        f"{reverse('admin:upload')}?{urlencode({'write': topic.item.pk})}",
    )


def weekly(span: Span) -> list[Week]:
    """Newest first, from the sums of the log: what is read does not grow with the topics."""
    tallies = {week: usage.Tally() for week in weeks(span.first, span.last)}
    for day, tally in usage.daily(span.first, span.last, span.collection).days.items():
        tallies[week_of(day)].merge(tally)
    return [Week(week, tally.weak, tally.searches) for week, tally in reversed(tallies.items())]


def page_for(item: ReviewItem) -> dict[str, str]:
    """Title and text that the form begins with, for a page that answers a topic."""
    title = " ".join(item.question.split()).rstrip("?？ ")[:TITLE_LENGTH]
    return {"title": title, "text": gaps.skeleton(item)}


# --- Export ---------------------------------------------------------------------------------


class Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


@require_safe
def export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The same topics, all of them, as CSV that spreadsheets open."""
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    shown, control = asked_range(request)
    if control["range_is_bad"]:
        return page(request)
    span = span_of(shown)
    name = f"gaps-{span.first.isoformat()}-{span.last.isoformat()}.csv"
    return StreamingHttpResponse(
        rows(span, trend_of(request)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def rows(span: Span, trend: str) -> Iterator[str]:
    writer = csv.writer(Echo())
    mondays = weeks(span.first, span.last)
    # Without the mark, Excel takes UTF-8 for something else.
    yield "\ufeff" + writer.writerow(
        [
            "question",
            "collection",
            "trend",
            "asked",
            "people",
            "asked_before",
            "asked_ever",
            "without_answer",
            "doubtful_answer",
            "reason",
            "first_asked",
            "last_asked",
            *(f"week_{week.isoformat()}" for week in mondays),
        ]
    )
    for topic in gaps.each(span, trend):
        item = topic.item
        yield writer.writerow(
            [
                harmless(item.question),
                harmless(item.collection.slug),
                topic.trend.value,
                topic.asked,
                topic.people,
                topic.asked_before,
                item.asked,
                item.none_count,
                item.low_count,
                item.reason,
                usage.day_of(item.first_asked_at).isoformat(),
                usage.day_of(item.last_asked_at).isoformat(),
                *(topic.weeks[week] for week in mondays),
            ]
        )
