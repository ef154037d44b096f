"""The golden set: questions whose right documents are known, written, imported and exported."""

import copy
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from retrieval import golden
from retrieval.admin import audit, golden_import
from retrieval.admin.base import TWO_LINES, CollectionFilter, KnowledgeAdmin, badge
from retrieval.models import Document, Judgment
from retrieval.parsers.clean import one_line
from retrieval.search import MAX_QUERY_LENGTH

QUOTE_SHOWN = 160
FILES = {
    "csv": (golden.as_csv, "text/csv; charset=utf-8"),
    "jsonl": (golden.as_jsonl, "application/x-ndjson; charset=utf-8"),
}


class JudgmentForm(forms.ModelForm[Judgment]):
    def clean_question(self) -> str:
        question = one_line(self.cleaned_data["question"])
        if len(question) > MAX_QUERY_LENGTH:
            raise ValidationError(
                _("Search takes questions of at most %(n)d characters.") % {"n": MAX_QUERY_LENGTH}
            )
        return question

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        others = Judgment.objects.filter(
            question=given.get("question", ""), document=given.get("document")
        ).exclude(pk=self.instance.pk)
        if given.get("question") and given.get("document") and others.exists():
            raise ValidationError(_("The golden set has this question with this document already."))
        return given


@admin.register(Judgment)
class JudgmentAdmin(KnowledgeAdmin[Judgment]):
    form = JudgmentForm
    list_display = ("asked", "answered_by", "collection", "source", "state", "created_at")
    list_select_related = ("collection", "document")
    list_filter = ("is_stale", "source", CollectionFilter)
    search_fields = ("question", "quote")
    search_help_text = gettext_lazy("Search in questions and quotes")
    ordering = ("-created_at", "-id")
    sortable_by = ("created_at",)
    actions = ("still_right", "delete_selected")
    autocomplete_fields = ("document",)
    fields = ("question", "document", "quote")
    list_before_template = "kbadmin/golden_head.html"
    change_form_template = "kbadmin/golden_change.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Judgment]:
        rows = super().get_queryset(request)
        return rows.filter(document__deleted_at=None, collection__deleted_at=None).select_related(
            "collection", "document"
        )

    def get_urls(self) -> list[URLPattern]:
        def view(name: str, of: Callable[..., HttpResponseBase]) -> URLPattern:
            return path(
                f"{name}/", self.admin_site.admin_view(of), name=f"retrieval_judgment_{name}"
            )

        return [
            view("import", golden_import.page),
            view("template", golden_import.template),
            view("export", self.export),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        chosen = request.GET.get(CollectionFilter.parameter_name, "")
        chosen = chosen if chosen.isdecimal() else ""
        # What the golden set is made of has a name of its own, which fewer people know.
        named = copy.copy(self.opts)
        named.verbose_name_plural = _("Golden set")
        extra = {
            "title": _("Golden set"),
            "opts": named,
            "chosen": chosen,
            "may_import": self.has_add_permission(request),
            **(extra_context or {}),
        }
        return super().changelist_view(request, extra)

    def export(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """The golden set, of one collection or of all, as a file that an import reads."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        kind = request.GET.get("format", "csv")
        if kind not in FILES:
            return HttpResponse(
                _("It can be exported as csv or jsonl."), status=400, content_type="text/plain"
            )
        rows = self.get_queryset(request)
        chosen = request.GET.get(CollectionFilter.parameter_name, "")
        if chosen.isdecimal():
            rows = rows.filter(collection_id=int(chosen))
        write, content_type = FILES[kind]
        answer = StreamingHttpResponse(write(golden.rows_of(rows)), content_type=content_type)
        answer["Content-Disposition"] = f'attachment; filename="golden-set.{kind}"'
        return answer

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in ("question", "quote"):
            field.widget.attrs["rows"] = 2 if db_field.name == "question" else 4
        if field is not None and db_field.name == "quote":
            field.help_text = _("The words of the document that answer it, if you have them.")
        return field

    def save_model(self, request: HttpRequest, obj: Judgment, form: Any, change: bool) -> None:
        obj.collection_id = Document.objects.values_list("collection_id", flat=True).get(
            pk=obj.document_id
        )
        if not change:
            obj.source = Judgment.Source.WRITTEN
        obj.is_stale = False
        super().save_model(request, obj, form, change)
        golden.check_quotes([obj.document_id])

    @admin.action(
        description=gettext_lazy("Still right: keep without the quote"), permissions=["change"]
    )
    def still_right(self, request: HttpRequest, queryset: QuerySet[Judgment]) -> None:
        stale = queryset.filter(is_stale=True)
        named = audit.some(stale)
        count = golden.forget_quotes(stale)
        audit.record(request, audit.Deed.STILL_RIGHT, named, count)
        self.message_user(
            request,
            ngettext("%(n)d stale question was kept.", "%(n)d stale questions were kept.", count)
            % {"n": count},
            messages.SUCCESS if count else messages.INFO,
        )

    @admin.display(description=gettext_lazy("question"))
    def asked(self, obj: Judgment) -> str:
        if not obj.quote:
            return format_html('<span class="kb-name">{}</span>', obj.question[:200])
        quote = obj.quote[:QUOTE_SHOWN] + ("…" if len(obj.quote) > QUOTE_SHOWN else "")
        return format_html(TWO_LINES, obj.question[:200], quote)

    @admin.display(description=gettext_lazy("relevant document"))
    def answered_by(self, obj: Judgment) -> str:
        return format_html(
            '<a class="kb-link" href="{}">{}</a>',
            reverse("admin:retrieval_document_change", args=[obj.document_id]),
            obj.document,
        )

    @admin.display(description=gettext_lazy("state"))
    def state(self, obj: Judgment) -> str:
        if obj.is_stale:
            return badge("low", _("stale"))
        # Without a quote nobody can tell whether the document still answers.
        return badge("high", _("up to date")) if obj.quote else "–"
