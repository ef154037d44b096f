"""One collection's page: its indexes, and what may be done with them."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from retrieval import reindex, tasks, trials
from retrieval.admin import audit, index_state
from retrieval.admin.base import TombstoneAdmin
from retrieval.exceptions import KnowledgeBaseError, ReindexRefused
from retrieval.models import Collection, Index


class CollectionPage(TombstoneAdmin[Collection]):
    change_form_template = "kbadmin/collection.html"
    delete_confirmation_template = "kbadmin/collection_delete.html"

    def get_urls(self) -> list[URLPattern]:
        def action(name: str, act: Callable[[HttpRequest, Collection], str]) -> URLPattern:
            def view(request: HttpRequest, pk: int) -> HttpResponse:
                return self.act(request, pk, act, audit.Deed(name))

            return path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(view),
                name=f"retrieval_collection_{name}",
            )

        return [
            action("reconcile", self.reconcile),
            action("reindex", self.start),
            action("reindex_cancel", self.cancel),
            action("rollback", self.roll_back),
            action("index_drop", self.drop),
            # Not behind admin_view: a login page must not be swapped into the box.
            path("<int:pk>/progress/", self.progress_view, name="retrieval_collection_progress"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        collection = self.get_object(request, object_id)
        facts = index_state.facts(collection) if collection is not None else {}
        index_state.prefill(facts, request.GET)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **facts})

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Each is deleted on its own page, where its name has to be typed.
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Deletes only what was named: a whole collection is easily confused with another."""
        collection = self.get_object(request, object_id)
        extra = {**(extra_context or {}), "purge_days": settings.PURGE_DAYS}
        typed = " ".join(request.POST.get("typed", "").split())
        wrong = (
            request.method == "POST"
            and collection is not None
            and typed != " ".join(collection.title.split())
        )
        if not wrong:
            return super().delete_view(request, object_id, extra)
        if not self.has_delete_permission(request, collection):
            raise PermissionDenied
        # Shown once more as if it had only been opened.
        request.POST = QueryDict()
        response = super().delete_view(
            request, object_id, {**extra, "typed": typed, "is_wrong": True}
        )
        response.status_code = 400
        return response

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The bar of an index that is built; once there is none any more, the whole box."""
        if not (request.user.is_active and request.user.is_staff):
            response = HttpResponse(status=204)
            response["HX-Refresh"] = "true"
            return response
        collection = self.permitted(request, pk, "view")
        building = list(Index.objects.building().filter(collection=collection))
        context = {
            "collection": collection,
            "building": building,
            "has_change_permission": self.has_change_permission(request, collection),
        }
        if building:
            return TemplateResponse(request, "kbadmin/index_progress.html", context)
        response = TemplateResponse(
            request, "kbadmin/index_box.html", {**context, **index_state.facts(collection)}
        )
        response["HX-Retarget"] = "#kb-index"
        return response

    # --- What it does -----------------------------------------------------------------------

    def act(
        self,
        request: HttpRequest,
        pk: int,
        act: Callable[[HttpRequest, Collection], str],
        deed: audit.Deed,
    ) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        collection = self.permitted(request, pk, "change")
        try:
            text = act(request, collection)
        except KnowledgeBaseError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            audit.record(request, deed, [collection])
            self.message_user(request, text, messages.SUCCESS)
        page = reverse("admin:retrieval_collection_change", args=[collection.pk])
        return redirect(f"{page}#kb-index")

    def reconcile(self, request: HttpRequest, collection: Collection) -> str:
        if collection.live_index is None:
            raise ReindexRefused(_("There is no index to compare."))
        tasks.reconcile_index.enqueue(collection.live_index.pk)
        return _("The worker compares the index with the database and repairs what differs.")

    def start(self, request: HttpRequest, collection: Collection) -> str:
        form = index_state.ReindexForm(request.POST)
        if not form.is_valid():
            raise ReindexRefused(
                " ".join(
                    f"{form.fields[name].label}: {error}"
                    for name, errors in form.errors.items()
                    for error in errors
                )
            )
        if form.cleaned_data["chunk_overlap"] >= form.cleaned_data["chunk_size"]:
            raise ReindexRefused(_("The overlap must be smaller than the chunk size."))
        trials.reindex_or_try(collection, **form.cleaned_data)
        if collection.is_gated:
            return _("A new index is built; it goes live if the golden set is not answered worse.")
        return _("A new index is built beside the live one, which serves until it is ready.")

    def cancel(self, request: HttpRequest, collection: Collection) -> str:
        index = self.chosen(request, collection)
        if index.state != Index.State.BUILDING:
            raise ReindexRefused(_("This index is not being built any more."))
        reindex.cancel(index)
        return _("The reindex was cancelled.")

    def roll_back(self, request: HttpRequest, collection: Collection) -> str:
        reindex.rollback(collection)
        return _("The earlier index is brought up to date and then takes over.")

    def drop(self, request: HttpRequest, collection: Collection) -> str:
        index = self.chosen(request, collection)
        droppable = {Index.State.RETIRED, Index.State.DAMAGED}
        if index.pk == collection.live_index_id or index.state not in droppable:
            raise ReindexRefused(_("Only an index that nothing uses can be dropped."))
        reindex.drop(index)
        return _("The index was dropped.")

    def chosen(self, request: HttpRequest, collection: Collection) -> Index:
        """The collection's index that the button names."""
        key = request.POST.get("index", "")
        index = (
            collection.indexes.select_related("embedding_model", "collection")
            .filter(pk=int(key) if key.isdecimal() else 0)
            .first()
        )
        if index is None:
            raise ReindexRefused(_("That index is gone."))
        return index

    def permitted(self, request: HttpRequest, pk: int, permission: str) -> Collection:
        collection = self.get_queryset(request).select_related("live_index").filter(pk=pk).first()
        if not getattr(self, f"has_{permission}_permission")(request, collection):
            raise PermissionDenied
        if collection is None:
            raise Http404
        return collection
