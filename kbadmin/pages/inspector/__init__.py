"""The inspector: an index as Chroma holds it, beside the rows that it comes from."""

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path

from kbadmin.pages.inspector import embedding_map, record, records, reports


def urls(site: AdminSite) -> list[URLPattern]:
    root = "collections/<int:pk>/inspector/"
    return [
        path(root, site.admin_view(records.page), name="inspector"),
        path(f"{root}record/", site.admin_view(record.page), name="inspector_record"),
        path(
            f"{root}differences/",
            site.admin_view(reports.differences),
            name="inspector_differences",
        ),
        path(f"{root}quality/", site.admin_view(reports.quality), name="inspector_quality"),
        path(f"{root}map/", site.admin_view(embedding_map.page), name="inspector_map"),
        # What scripts ask for is not behind admin_view: a login page must not be swapped in.
        path(f"{root}map/points/", embedding_map.points, name="inspector_points"),
        path(f"{root}progress/", reports.progress, name="inspector_progress"),
        path(f"{root}report/", site.admin_view(reports.act), name="inspector_report"),
    ]
