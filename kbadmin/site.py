"""The admin site: one shell for the model pages and for our own pages."""

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

if TYPE_CHECKING:
    # Unfold ships no types; its site extends Django's.
    from django.contrib.admin import AdminSite as UnfoldAdminSite
else:
    from unfold.sites import UnfoldAdminSite


class KbadminSite(UnfoldAdminSite):
    """Branding comes from settings.UNFOLD, the sidebar from kbadmin.navigation."""

    enable_nav_sidebar = True
    # No path is redirected to one that ends in a slash: see settings.APPEND_SLASH.
    final_catch_all_view = False
    index_template = "kbadmin/dashboard.html"

    def extra_urls(self) -> list[URLPattern]:
        """Our own pages; Unfold puts them before the pages of the models."""
        # Not before this site exists: what it shows is shared with the pages of the models,
        # which register with it.
        from kbadmin.pages import (
            connect,
            doctor,
            doctor_history,
            evaluation,
            gaps,
            identity,
            inspector,
            playground,
            preview,
            review,
            status,
            upload,
        )

        return [
            *inspector.urls(self),
            path("connect/", self.admin_view(connect.page), name="connect"),
            # Not behind admin_view: a login page must not be swapped into the page.
            path("connect/test/", connect.test, name="connect_test"),
            path("gaps/", self.admin_view(gaps.page), name="gaps"),
            path("gaps/export.csv", self.admin_view(gaps.export), name="gaps_export"),
            *identity.urls(self),
            *evaluation.urls(self),
            path("plugin-doctor/", self.admin_view(doctor.page), name="plugin_doctor"),
            path(
                "plugin-doctor/checks/<int:pk>/",
                self.admin_view(doctor_history.opened),
                name="plugin_doctor_check",
            ),
            path(
                "plugin-doctor/checks/<int:pk>/delete/",
                self.admin_view(doctor_history.delete),
                name="plugin_doctor_check_delete",
            ),
            path(
                "plugin-doctor/compare/",
                self.admin_view(doctor_history.compare),
                name="plugin_doctor_compare",
            ),
            # Not behind admin_view: a program is told what is wrong, not shown a login page.
            path("plugin-doctor/report.json", doctor.report_json, name="plugin_doctor_json"),
            path("playground/", self.admin_view(playground.page), name="playground"),
            *review.urls(self),
            path("status/", self.admin_view(status.page), name="status"),
            # Not behind admin_view: a login page must not be swapped into the page.
            path("status/progress/", status.progress, name="status_progress"),
            path("upload/", self.admin_view(upload.page), name="upload"),
            # Not behind admin_view: a login page must not be swapped into a list of files.
            path("upload/progress/", upload.progress, name="upload_progress"),
            path("upload/preview/", preview.preview, name="upload_preview"),
        ]

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The command palette, in place of Unfold's, which keeps results across permissions."""
        from kbadmin.pages import palette

        return palette.page(request)

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        from kbadmin.pages import dashboard

        context = {**dashboard.facts(request), **(extra_context or {})}
        response: TemplateResponse = super().index(request, context)
        if context.get("range_is_bad"):
            response.status_code = 400
        return response
