"""What the list of documents is narrowed by. Each filter is one field of one form."""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext_lazy as _

from retrieval.admin import states
from retrieval.admin.base import CollectionFilter
from retrieval.models import Attribute, Document, Revision

#: Suggestions for a field come from the front matter of the documents that changed last.
SUGGEST_FROM, SUGGESTED = 500, 50
#: Names under which front matter says the same.
TAGS, LANGUAGES = ("tags", "tag", "keywords"), ("lang", "language")


class FieldFilter(admin.SimpleListFilter):
    """A filter that is written instead of chosen."""

    #: the kind of its input: text or date
    kind: ClassVar[str] = "text"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return []

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: ChangeList) -> Any:
        return iter(())

    def value(self) -> str:
        return (super().value() or "").strip().replace("\0", "")

    @property
    def suggestions(self) -> Iterable[str]:
        return ()


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return [
            ("failed", _("failed")),
            ("working", _("in progress")),
            ("indexed", _("indexed")),
            ("searchable", _("searchable")),
            ("moving", _("moving")),
            *((code, word) for code, (word, _sentence) in states.SKIPPED.items()),
            ("cancelled", _("cancelled")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "working":
                return queryset.filter(latest_revision__state__in=Revision.UNFINISHED)
            case "searchable":
                return queryset.filter(live_revision__isnull=False)
            case "moving":
                return queryset.filter(moving_to__isnull=False)
            case "duplicate" | "draft" | "unpacked" | "staged" as code:
                return queryset.filter(
                    latest_revision__state=Revision.State.SKIPPED,
                    latest_revision__failure_code=code,
                )
            case "failed" | "indexed" | "skipped" | "cancelled" as state:
                return queryset.filter(latest_revision__state=state)
        return queryset


class DocumentCollectionFilter(CollectionFilter):
    """Shown even where there is one collection: the form is the same everywhere."""

    def has_output(self) -> bool:
        return True


class OriginFilter(admin.SimpleListFilter):
    title = _("origin")
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return list(Document.Origin.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(origin=self.value()) if self.value() else queryset


class SourceFilter(FieldFilter):
    """A folder with what lies below it, or the archive that documents came out of."""

    title = _("source")
    parameter_name = "source"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        below = Q(source__startswith=value.rstrip("/") + "/")
        return queryset.filter(Q(source=value) | below)

    @property
    def suggestions(self) -> Iterable[str]:
        newest = Document.objects.alive().exclude(source="").order_by("-updated_at")
        return sorted(set(newest.values_list("source", flat=True)[:SUGGEST_FROM]))[:SUGGESTED]


class AttributeFilter(FieldFilter):
    """A value of the front matter, as searches filter by it (retrieval/filters.py)."""

    keys: ClassVar[tuple[str, ...]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        rows = Attribute.objects.filter(document=OuterRef("pk"), key__in=self.keys, string=value)
        return queryset.filter(Exists(rows))

    @property
    def suggestions(self) -> Iterable[str]:
        newest = Document.objects.searchable().order_by("-updated_at").values("pk")[:SUGGEST_FROM]
        values = Attribute.objects.filter(document__in=newest, key__in=self.keys)
        found = values.order_by("string").values_list("string", flat=True).distinct()
        return [value for value in found[:SUGGESTED] if value]


class TagFilter(AttributeFilter):
    title = _("tag")
    parameter_name = "tag"
    keys = TAGS


class LanguageFilter(AttributeFilter):
    title = _("language")
    parameter_name = "language"
    keys = LANGUAGES


class DateFilter(FieldFilter):
    """A day of the reader's time zone; what cannot be read as one narrows nothing."""

    kind = "date"
    lookup: ClassVar[str]
    days: ClassVar[int]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        day = self.day()
        if day is None:
            return queryset
        try:
            begin = timezone.make_aware(datetime.combine(day + timedelta(self.days), time.min))
            return queryset.filter(**{f"updated_at__{self.lookup}": begin})
        except OverflowError:
            return queryset

    def day(self) -> date | None:
        try:
            return parse_date(self.value())
        except ValueError:
            return None


class ChangedSinceFilter(DateFilter):
    title = _("changed from")
    parameter_name = "changed_from"
    lookup, days = "gte", 0


class ChangedUntilFilter(DateFilter):
    title = _("changed until")
    parameter_name = "changed_until"
    lookup, days = "lt", 1


ALL = (
    StateFilter,
    DocumentCollectionFilter,
    OriginFilter,
    SourceFilter,
    TagFilter,
    LanguageFilter,
    ChangedSinceFilter,
    ChangedUntilFilter,
)
