from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from retrieval import prompts, trials
from retrieval.admin.base import badge
from retrieval.admin.collection_form import (
    SETTINGS_TRIED,
    CollectionForm,
    prompt_help,
    schema_help,
)
from retrieval.admin.collection_page import CollectionPage
from retrieval.models import Collection, Document, EmbeddingModel

#: These decide what the vectors mean, so a change takes a new index beside the live one.
FIXED_BY_THE_INDEX = ("embedding_model", "space", "chunk_size", "chunk_overlap")


@admin.register(Collection)
class CollectionAdmin(CollectionPage):
    form = CollectionForm
    list_display = ("title", "slug", "document_count", "index_state", "model_name", "updated_at")
    list_select_related = ("live_index", "embedding_model")
    search_fields = ("title", "slug")
    ordering = ("title",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Collection]:
        documents = (
            Document.objects.filter(collection=OuterRef("pk"), deleted_at=None)
            .order_by()
            .values("collection")
            .annotate(number=Count("pk"))
            .values("number")
        )
        return (
            super()
            .get_queryset(request)
            .filter(deleted_at=None)
            .annotate(documents_total=Coalesce(Subquery(documents), 0, output_field=IntegerField()))
        )

    def get_fieldsets(self, request: HttpRequest, obj: Collection | None = None) -> Any:
        about = (None, {"fields": ("title", "slug", "description")})
        search = (
            _("Search"),
            {"fields": ("default_top_k", "retrieval_settings", "is_gated", "gate_tolerance")},
        )
        documents = (_("Documents"), {"fields": ("front_matter_schema",)})
        answers = (
            _("Answers"),
            {
                "fields": ("prompt_en", "prompt_zh"),
                "description": _(
                    "What a language model is told along with the passages, when a chat asks this "
                    "collection by its name."
                ),
            },
        )
        if obj is not None:
            # What its index is made of is shown, and changed, in a box of its own.
            return (about, search, answers, documents)
        index = (
            _("Index"),
            {
                "fields": FIXED_BY_THE_INDEX,
                "description": _(
                    "The vectors are made for these settings; a reindex changes them."
                ),
            },
        )
        return (about, index, search, answers, documents)

    def get_readonly_fields(self, request: HttpRequest, obj: Collection | None = None) -> Any:
        return () if obj is None else ("slug",)

    def get_prepopulated_fields(
        self, request: HttpRequest, obj: Collection | None = None
    ) -> dict[str, Any]:
        return {"slug": ("title",)} if obj is None else {}

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        model = EmbeddingModel.objects.newest_named(settings.EMBEDDING_MODEL)
        return {"embedding_model": model.pk if model else None}

    def formfield_for_dbfield(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in ("description", "retrieval_settings"):
            field.widget.attrs["rows"] = 3
        if field is not None and db_field.name == "front_matter_schema":
            field.help_text = schema_help()
            field.widget.attrs["rows"] = 10
        if field is not None and db_field.name in ("prompt_en", "prompt_zh"):
            language = db_field.name.removeprefix("prompt_")
            field.help_text = prompt_help(language)
            field.widget.attrs |= {"rows": 8, "placeholder": prompts.DEFAULTS[language]}
        if field is not None and isinstance(field, forms.JSONField):
            field.widget.attrs |= {"spellcheck": "false", "data-code": ""}
        if field is not None and db_field.name == "slug":
            field.help_text = _(
                "The name that programs use: letters, digits and hyphens. It stays as it is."
            )
        return field

    def save_model(self, request: HttpRequest, obj: Collection, form: Any, change: bool) -> None:
        tried = form.tried_settings if change else None
        if tried is not None:
            obj.retrieval_settings = form.initial["retrieval_settings"]
        super().save_model(request, obj, form, change)
        if not change:
            obj.open_first_index()
        if tried is not None:
            trials.start(obj, retrieval_settings=tried, is_gate=True)
            self.message_user(request, SETTINGS_TRIED)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        names, counts, lacking, protected = super().get_deleted_objects(objs, request)
        documents = Document.objects.filter(
            collection__in=[obj.pk for obj in objs], deleted_at=None
        )
        counts[str(Document._meta.verbose_name_plural)] = documents.count()
        return names, counts, lacking, protected

    @admin.display(description=_("documents"), ordering="documents_total")
    def document_count(self, obj: Any) -> str:
        url = reverse("admin:retrieval_document_changelist")
        return format_html(
            '<a class="kb-link" href="{}?collection={}">{}</a>', url, obj.pk, obj.documents_total
        )

    @admin.display(description=_("index"))
    def index_state(self, obj: Collection) -> str:
        if obj.live_index is None:
            return badge("damaged", _("missing"))
        return badge(obj.live_index.state, obj.live_index.get_state_display())

    @admin.display(description=_("embedding model"))
    def model_name(self, obj: Collection) -> str:
        return obj.embedding_model.name.rsplit("/", 1)[-1]
