"""The queue of questions that were answered badly, and one of them with all that is known."""

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path

from kbadmin.pages.review import item, listing


def urls(site: AdminSite) -> list[URLPattern]:
    return [
        path("review/", site.admin_view(listing.page), name="review"),
        path("review/act/", site.admin_view(listing.act), name="review_act"),
        path("review/<int:pk>/", site.admin_view(item.page), name="review_item"),
        path("review/<int:pk>/act/", site.admin_view(item.act), name="review_item_act"),
    ]
