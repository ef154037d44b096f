"""The audit log: who did what and when, newest first. Nobody changes it here."""

import copy
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from retrieval.admin.audit import sentence
from retrieval.admin.base import TWO_LINES, ReadOnlyAdmin, badge

USERS_OFFERED = 200
#: How an entry is marked: action → (tone, word).
KINDS = {
    ADDITION: ("indexed", _("added")),
    CHANGE: ("queued", _("changed")),
    DELETION: ("failed", _("deleted")),
}


class NumberFilter(admin.SimpleListFilter):
    """A choice among few values of an indexed column."""

    column = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None or not value.isdecimal():
            return queryset
        return queryset.filter(**{self.column: int(value)})


class UserFilter(NumberFilter):
    title = _("who")
    parameter_name = "user"
    column = "user_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, Any]]:
        people = get_user_model().objects.order_by("username")
        return list(people.values_list("pk", "username")[:USERS_OFFERED])


class KindFilter(NumberFilter):
    title = _("action")
    parameter_name = "kind"
    column = "action_flag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, Any]]:
        return [(flag, word) for flag, (_tone, word) in KINDS.items()]


class ModelFilter(NumberFilter):
    title = _("what")
    parameter_name = "model"
    column = "content_type_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, Any]]:
        shown = [
            model
            for model, page in model_admin.admin_site._registry.items()
            if page.has_change_permission(request) or page.has_add_permission(request)
        ]
        types = ContentType.objects.get_for_models(*shown)
        return sorted(
            ((kind.pk, model._meta.verbose_name) for model, kind in types.items()),
            key=lambda pair: str(pair[1]),
        )


class PeriodFilter(admin.SimpleListFilter):
    title = _("when")
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, Any]]:
        return [("1", _("last 24 hours")), ("7", _("last 7 days")), ("30", _("last 30 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"1", "7", "30"}:
            return queryset
        since = timezone.now() - timedelta(days=int(self.value() or 0))
        # Entries are written in the order of their keys, which the list follows as well: from
        # one key on it stays a walk along one index, whatever else is asked for.
        first = (
            LogEntry.objects.filter(action_time__gte=since)
            .order_by("action_time", "pk")
            .values_list("pk", flat=True)
            .first()
        )
        return queryset.none() if first is None else queryset.filter(pk__gte=first)


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin[LogEntry]):
    list_display = ("moment", "who", "kind", "what", "about")
    list_display_links = None
    list_filter = (UserFilter, KindFilter, ModelFilter, PeriodFilter)
    list_select_related = ("user", "content_type")
    ordering = ("-pk",)
    sortable_by = ()
    fields = ("moment", "who", "kind", "what", "about")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Django's name of the table says little to those who read this.
        named = copy.copy(self.opts)
        named.verbose_name_plural = _("Audit log")
        extra = {"title": _("Audit log"), "opts": named, **(extra_context or {})}
        return super().changelist_view(request, extra)

    @admin.display(description=_("when"))
    def moment(self, obj: LogEntry) -> Any:
        return obj.action_time

    @admin.display(description=_("who"))
    def who(self, obj: LogEntry) -> str:
        return obj.user.get_username()

    @admin.display(description=_("action"))
    def kind(self, obj: LogEntry) -> str:
        tone, word = KINDS.get(obj.action_flag, ("queued", str(obj.action_flag)))
        return badge(tone, word)

    @admin.display(description=_("what happened"))
    def what(self, obj: LogEntry) -> str:
        return format_html('<span class="kb-wrap">{}</span>', sentence(obj))

    @admin.display(description=_("with"))
    def about(self, obj: LogEntry) -> str:
        kind = obj.content_type.name if obj.content_type else ""
        url = None if obj.is_deletion() or not obj.object_id else obj.get_admin_url()
        name = format_html('<a class="kb-link" href="{}">{}</a>', url, obj.object_repr)
        return format_html(TWO_LINES, name if url else obj.object_repr, kind)
