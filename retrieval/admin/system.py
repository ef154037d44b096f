"""What the system keeps for itself; people look, the worker writes."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from retrieval.admin.base import CollectionFilter, ReadOnlyAdmin, badge
from retrieval.models import EmbeddingModel, Index, Worker


@admin.register(EmbeddingModel)
class EmbeddingModelAdmin(ReadOnlyAdmin[EmbeddingModel]):
    list_display = ("name", "runtime", "dimension", "max_tokens", "language_list", "created_at")
    search_fields = ("name",)
    ordering = ("-created_at",)
    fields = (
        "name",
        "revision",
        "runtime",
        "dimension",
        "max_tokens",
        "language_list",
        "created_at",
    )

    @admin.display(description=_("languages"))
    def language_list(self, obj: EmbeddingModel) -> str:
        if obj.knows_every_language:
            return str(_("many"))
        return ", ".join(obj.languages) or "–"


@admin.register(Index)
class IndexAdmin(ReadOnlyAdmin[Index]):
    list_display = (
        "physical_name",
        "collection",
        "state_badge",
        "embedding_model",
        "chunk_size",
        "live_at",
    )
    list_select_related = ("collection", "embedding_model")
    list_filter = ("state", CollectionFilter)
    search_fields = ("physical_name", "collection__title")
    ordering = ("-created_at",)
    fields = (
        "physical_name",
        "collection",
        "state_badge",
        "embedding_model",
        "space",
        "chunk_size",
        "chunk_overlap",
        "ef_construction",
        "ef_search",
        "max_neighbors",
        "created_at",
        "live_at",
        "retired_at",
        "checked_at",
    )

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, obj: Index) -> str:
        return badge(obj.state, obj.get_state_display())


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin[Worker]):
    list_display = ("name", "status", "work", "done_count", "started_at", "seen_at")
    ordering = ("-seen_at",)
    fields = (
        "name",
        "status",
        "work",
        "host",
        "pid",
        "done_count",
        "started_at",
        "seen_at",
        "stopped_at",
    )

    @admin.display(description=_("state"))
    def status(self, obj: Worker) -> str:
        if obj.is_alive:
            return badge("running", _("running"))
        return badge("", _("stopped")) if obj.stopped_at else badge("failed", _("gone"))

    @admin.display(description=_("doing"))
    def work(self, obj: Worker) -> str:
        return obj.doing or "–"
