from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

to_admin = RedirectView.as_view(pattern_name="admin:index")

urlpatterns = [
    # These two paths and no other: a redirect loses the body of a POST.
    path("", to_admin, name="home"),
    path("admin", to_admin),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("plugin.urls")),
]

handler400 = "plugin.exception_handler.bad_request"
handler403 = "kbadmin.pages.errors.forbidden"
handler404 = "kbadmin.pages.errors.not_found"
handler500 = "plugin.exception_handler.server_error"
