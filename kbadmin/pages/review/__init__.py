"""The queue of questions that were answered badly, and one of them with all that is known."""

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path

from kbadmin.pages.review import acceptance, item, listing


def urls(site: AdminSite) -> list[URLPattern]:
    return [
        path("review/", site.admin_view(listing.page), name="review"),
        path("review/act/", site.admin_view(listing.act), name="review_act"),
        path("review/<int:pk>/", site.admin_view(item.page), name="review_item"),
        path("review/<int:pk>/act/", site.admin_view(item.act), name="review_item_act"),
        path(
            "review/<int:pk>/accept/<str:kind>/",
            site.admin_view(acceptance.page),
            name="review_accept",
        ),
        path("review/<int:pk>/settle/", site.admin_view(acceptance.settle), name="review_settle"),
        # Not behind admin_view: a login page must not be swapped into the page.
        path("review/<int:pk>/proof/", acceptance.progress, name="review_proof"),
    ]
