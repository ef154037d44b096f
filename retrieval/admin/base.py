"""What every model page shares: bounded counts, state badges, read-only pages, soft delete."""

from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    # Unfold ships no types; its classes extend Django's, whose types we check against.
    from django.contrib.admin import ModelAdmin as UnfoldModelAdmin
    from django.contrib.admin.views.main import ChangeList as UnfoldChangeList

    AnyPaginator = Paginator[Any]
else:
    from unfold.admin import ModelAdmin
    from unfold.views import ChangeList as UnfoldChangeList

    AnyPaginator = Paginator

    class UnfoldModelAdmin(ModelAdmin):
        def __class_getitem__(cls, model: type[Model]) -> type:
            return cls


M = TypeVar("M", bound=Model)

#: No list counts further than this: page 200 of a list is found by searching, not by paging.
COUNT_CAP = 10_000

#: A cell with a name and, smaller below it, what tells it from others of that name.
TWO_LINES = (
    '<span class="kb-cell"><span class="kb-name">{}</span><span class="kb-sub">{}</span></span>'
)


def badge(state: str, label: object) -> SafeString:
    """A state in words and in a colour; which colour is the style sheet's business."""
    return format_html('<span class="kb-badge kb-is-{}">{}</span>', state, label)


class CappedPaginator(AnyPaginator):
    """Knows the exact count of a short list, and of a long one that it is long."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by().values("pk")[:COUNT_CAP].count()
        return len(rows)

    @property
    def is_capped(self) -> bool:
        return self.count >= COUNT_CAP


class ChangeList(UnfoldChangeList):
    """A list whose full count is never asked for: it would scan the table."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.result_count:
            # Django would look once more for what was just not found.
            self.result_list = self.queryset.none()
        if not self.has_active_filters and not self.query:
            self.full_result_count = self.result_count


class KnowledgeAdmin(UnfoldModelAdmin[M]):
    list_per_page = 50
    list_max_show_all = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    list_filter_sheet = False
    empty_value_display = "–"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChangeList


class ReadOnlyAdmin(KnowledgeAdmin[M]):
    """Rows that the system writes and people only look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


class TombstoneAdmin(KnowledgeAdmin[M]):
    """Deleting hides the row at once; the worker takes its vectors and chunks away behind it."""

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        # Django would load every chunk of every document to list it on the confirmation.
        names = [str(obj) for obj in objs[:100]]
        count = len(objs) if isinstance(objs, list) else objs.count()
        lacking = set() if self.has_delete_permission(request) else {str(self.opts.verbose_name)}
        return names, {str(self.opts.verbose_name_plural): count}, lacking, []

    def delete_model(self, request: HttpRequest, obj: M) -> None:
        obj.tombstone()  # type: ignore[attr-defined]  # every model here that is deleted so has it

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[M]) -> None:
        for obj in queryset:
            self.delete_model(request, obj)


class CollectionFilter(admin.SimpleListFilter):
    """Offers living collections only, in one query whatever their number."""

    title = _("collection")
    parameter_name = "collection"
    #: from the filtered model to its collection
    path = "collection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        from retrieval.models import Collection

        return list(Collection.objects.alive().values_list("pk", "title")[:200])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None or not value.isdecimal():
            return queryset
        return queryset.filter(**{f"{self.path}_id": int(value)})
