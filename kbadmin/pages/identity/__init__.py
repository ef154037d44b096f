"""What the plugin tells about itself, edited while the doctor looks on."""

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path

from kbadmin.pages.identity import views


def urls(site: AdminSite) -> list[URLPattern]:
    return [
        path("plugin/", site.admin_view(views.page), name="plugin_identity"),
        path("plugin/reset/", site.admin_view(views.reset), name="plugin_identity_reset"),
        path("plugin/apply/", site.admin_view(views.apply), name="plugin_identity_apply"),
        # Not behind admin_view: a login page must not be swapped into a form.
        path("plugin/findings/", views.findings, name="plugin_identity_findings"),
        path("plugin/logo/", views.logo, name="plugin_identity_logo"),
    ]
