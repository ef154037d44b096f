"""How the knowledge base was asked within a range of days: figures, charts, lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kbadmin.pages.attention import playground_url
from retrieval import usage
from retrieval.models import Collection, Document, Search

RANGES = (7, 30, 90)
DEFAULT_RANGE = 30
LONGEST_RANGE = 366
#: Nothing was asked earlier, and years near the first one do not exist in every time zone.
EARLIEST = date(2000, 1, 1)
#: The newest searches of the range, among which the top ones are counted.
SAMPLE = 1000
QUESTIONS_SHOWN = DOCUMENTS_SHOWN = 8
#: Some of the documents that were found may be gone by now.
DOCUMENTS_READ = 4 * DOCUMENTS_SHOWN


def day_field(label: Any) -> forms.DateField:
    return forms.DateField(
        required=False,
        label=label,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        error_messages={"invalid": gettext_lazy("Write a day as 2030-12-31.")},
    )


class RangeForm(forms.Form):
    """The last days, or from one day to another, of one collection or of all."""

    days = forms.TypedChoiceField(
        choices=[(number, number) for number in RANGES],
        coerce=int,
        required=False,
        error_messages={"invalid_choice": gettext_lazy("Choose 7, 30 or 90 days.")},
    )
    collection = forms.ModelChoiceField(
        Collection.objects.alive().order_by("title"),
        to_field_name="slug",
        required=False,
        label=gettext_lazy("Collection"),
        empty_label=gettext_lazy("All collections"),
        error_messages={"invalid_choice": gettext_lazy("This collection does not exist.")},
    )
    first = day_field(gettext_lazy("From"))
    last = day_field(gettext_lazy("To"))

    auto_id = "id_usage_%s"

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if self.errors:
            return given
        first, last = given.get("first"), given.get("last")
        if first is None and last is None:
            given["last"] = usage.today()
            given["first"] = given["last"] - timedelta(days=(given["days"] or DEFAULT_RANGE) - 1)
        elif first is None or last is None:
            raise forms.ValidationError(_("Give both days: from and to."))
        elif first > last:
            raise forms.ValidationError(_("The first day must not be after the last one."))
        elif last > usage.today():
            raise forms.ValidationError(_("The last day must not be in the future."))
        elif first < EARLIEST:
            raise forms.ValidationError(
                _("Nothing is known of days before %(day)s.") % {"day": EARLIEST}
            )
        elif (last - first).days >= LONGEST_RANGE:
            raise forms.ValidationError(
                _("A range of at most %(days)d days can be shown.") % {"days": LONGEST_RANGE}
            )
        return given


@dataclass(frozen=True, slots=True)
class Range:
    first: date
    last: date
    collection: Collection | None

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def preset(self, days: int) -> tuple[int, str, bool]:
        """How many days, the address that shows them, and whether they are shown now."""
        asked: dict[str, str | int] = {"days": days}
        if self.collection is not None:
            asked["collection"] = self.collection.slug
        is_shown = self.last == usage.today() and len(self.days) == days
        return days, f"{reverse('admin:index')}?{urlencode(asked)}", is_shown


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    times: int
    place: str  #: the collection that was asked
    confidence: str
    confidence_label: str
    url: str


def asked_range(request: HttpRequest) -> tuple[Range, dict[str, Any]]:
    """The range that is asked for, or the default one, and the context of its control."""
    form = RangeForm(request.GET if request.GET.keys() & RangeForm.base_fields.keys() else {})
    form.auto_id = RangeForm.auto_id
    is_valid = form.is_valid()
    wanted = form.cleaned_data if is_valid else _default()
    shown = Range(wanted["first"], wanted["last"], wanted["collection"])
    if is_valid:
        form = RangeForm(initial={**wanted, "collection": request.GET.get("collection", "")})
        form.auto_id = RangeForm.auto_id
    return shown, {
        "range_form": form,
        "range_is_bad": not is_valid,
        "range": shown,
        "presets": [shown.preset(days) for days in RANGES],
    }


def report(shown: Range) -> dict[str, Any]:
    """Context of the section, in a fixed number of bounded queries."""
    collection = shown.collection.pk if shown.collection else None
    found = usage.daily(shown.first, shown.last, collection)
    total = found.total
    of_range = usage.asked(usage.midnight(shown.first), shown.last, collection)
    searches = usage.read(of_range, SAMPLE + 1, with_results=True)
    sample = searches[:SAMPLE]
    return {
        "may_look_at_searches": True,
        "total": total,
        "weak_share": share(total.weak, total.searches),
        "empty_share": share(total.empty, total.searches),
        "p50": total.percentile(0.5),
        "p95": total.percentile(0.95),
        "is_capped": found.is_capped,
        "counted": usage.UNSUMMED_COUNTED,
        "rows": [
            (day, tally, tally.percentile(0.5), tally.percentile(0.95))
            for day, tally in found.days.items()
        ],
        "series": series(shown, found.days),
        "top_questions": top_questions(sample),
        "top_documents": top_documents(sample),
        "sample": SAMPLE if len(searches) > SAMPLE else 0,
    }


def _default() -> dict[str, Any]:
    form = RangeForm({})
    form.is_valid()
    return form.cleaned_data


def share(part: int, whole: int) -> float | None:
    """In per cent; None of nothing."""
    return 100 * part / whole if whole else None


def series(shown: Range, days: Mapping[date, usage.Tally]) -> dict[str, list[Any]]:
    """What the charts draw, one value for each day; no latency where nothing was asked."""
    tallies = [days.get(day, usage.Tally()) for day in shown.days]
    return {
        "days": [day.isoformat() for day in shown.days],
        "high": [tally.high for tally in tallies],
        "low": [tally.low for tally in tallies],
        "none": [tally.none for tally in tallies],
        "p50": [rounded(tally.percentile(0.5)) for tally in tallies],
        "p95": [rounded(tally.percentile(0.95)) for tally in tallies],
    }


def rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def top_questions(sample: list[usage.Asked]) -> list[Question]:
    questions = usage.questions(sample)[:QUESTIONS_SHOWN]
    collections = Collection.objects.alive().in_bulk(
        {row.newest.collection_id for row in questions}
    )
    return [
        Question(
            text=row.newest.query[:200],
            times=row.times,
            place=collections[row.newest.collection_id].title,
            confidence=row.newest.confidence,
            confidence_label=str(Search.Confidence(row.newest.confidence).label),
            url=playground_url(collections[row.newest.collection_id], row.newest.query),
        )
        for row in questions
        if row.newest.collection_id in collections
    ]


def top_documents(sample: list[usage.Asked]) -> list[tuple[Document, int]]:
    """Documents with the number of answers that they stood in."""
    counts = dict(usage.documents(sample).most_common(DOCUMENTS_READ))
    documents = (
        Document.objects.alive()
        .select_related("collection")
        .only("title", "external_id", "collection__title")
        .in_bulk(counts)
    )
    found = [(documents[pk], times) for pk, times in counts.items() if pk in documents]
    return found[:DOCUMENTS_SHOWN]
