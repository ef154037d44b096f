"""The sidebar: only what this user may open."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from kbadmin.pages.revisions import latest_revisions
from retrieval.feedback import queue

#: A badge says how many need somebody; beyond this it says "many".
BADGE_CAP = 99


#: The keys that lead to a page; templates/kbadmin/shell.html lists them, shell.js obeys them.
SHORTCUTS = {
    "index": "g o",
    "upload": "u",
    "retrieval_document_changelist": "g d",
    "retrieval_collection_changelist": "g c",
    "playground": "g p",
    "retrieval_search_changelist": "g l",
    "review": "g f",
    "retrieval_feedback_changelist": "g v",
    "retrieval_apikey_changelist": "g k",
    "connect": "g n",
    "plugin_identity": "g i",
    "plugin_doctor": "g h",
    "status": "g s",
    "admin_logentry_changelist": "g a",
}


def item(
    request: HttpRequest, title: str, icon: str, page: str, permission: str
) -> dict[str, Any] | None:
    if permission and not request.user.has_perm(permission):
        return None
    return {
        "title": title,
        "icon": icon,
        "link": reverse(f"admin:{page}"),
        "shortcut": SHORTCUTS.get(page, ""),
    }


def model_item(
    request: HttpRequest, title: str, icon: str, model: str, app: str = "retrieval"
) -> dict[str, Any] | None:
    return item(request, title, icon, f"{app}_{model}_changelist", f"{app}.view_{model}")


def failed_badge() -> str:
    number = latest_revisions().failed().order_by()[: BADGE_CAP + 1].count()
    return capped(number)


def review_badge() -> str:
    return capped(queue.select(queue.Wanted()).order_by()[: BADGE_CAP + 1].count())


def capped(number: int) -> str:
    return f"{BADGE_CAP}+" if number > BADGE_CAP else str(number or "")


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    listed = groups(request)
    documents = reverse("admin:retrieval_document_changelist")
    review = reverse("admin:review")
    for entry in (entry for group in listed for entry in group["items"]):
        if entry["link"] == documents and (failed := failed_badge()):
            entry |= {"badge": failed, "badge_variant": "danger"}
        elif entry["link"] == review and (waiting := review_badge()):
            entry |= {"badge": waiting, "badge_variant": "warning"}
    return listed


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """The pages without what costs a query."""
    documents = model_item(request, _("Documents"), "description", "document")
    overview = item(request, _("Overview"), "space_dashboard", "index", "")
    all_groups: list[tuple[str | None, list[dict[str, Any] | None]]] = [
        (None, [overview]),
        (
            _("Knowledge"),
            [
                item(request, _("Upload"), "upload_file", "upload", "retrieval.add_document"),
                documents,
                model_item(request, _("Collections"), "library_books", "collection"),
                model_item(request, _("Chunks"), "segment", "chunk"),
            ],
        ),
        (
            _("Use"),
            [
                item(request, _("Playground"), "science", "playground", "retrieval.view_document"),
                model_item(request, _("Searches"), "manage_search", "search"),
                item(request, _("Review"), "rate_review", "review", "retrieval.view_feedback"),
                item(request, _("Gaps"), "find_in_page", "gaps", "retrieval.view_feedback"),
                model_item(request, _("Votes"), "thumbs_up_down", "feedback"),
                model_item(request, _("Golden set"), "verified", "judgment"),
                item(
                    request,
                    _("Evaluation"),
                    "monitoring",
                    "evaluation",
                    "retrieval.view_evaluationrun",
                ),
                item(request, _("Connect"), "cable", "connect", "retrieval.view_apikey"),
                model_item(request, _("API keys"), "key", "apikey"),
                item(
                    request,
                    _("Plugin"),
                    "extension",
                    "plugin_identity",
                    "plugin.view_pluginidentity",
                ),
                item(
                    request,
                    _("Plugin doctor"),
                    "stethoscope",
                    "plugin_doctor",
                    "retrieval.view_index",
                ),
            ],
        ),
        (
            _("System"),
            [
                item(request, _("Status"), "monitor_heart", "status", "retrieval.view_index"),
                model_item(request, _("Workers"), "conveyor_belt", "worker"),
                model_item(request, _("Embedding models"), "hub", "embeddingmodel"),
                model_item(request, _("Indexes"), "database", "index"),
                model_item(request, _("Users"), "person", "user", "auth"),
                model_item(request, _("Groups"), "group", "group", "auth"),
                model_item(request, _("Audit log"), "history", "logentry", "admin"),
            ],
        ),
    ]
    return [
        {"title": title, "items": [entry for entry in items if entry is not None]}
        for title, items in all_groups
    ]
