"""The command palette: one field that leads to every page, action, collection and document."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from kbadmin import navigation
from retrieval.models import Collection, Document

LONGEST_QUERY = 100
COLLECTIONS_SHOWN = 5
DOCUMENTS_SHOWN = 8
#: With fewer characters nearly every title matches.
SHORTEST_TITLE = 2


@dataclass(frozen=True, slots=True)
class Entry:
    title: str
    icon: str
    url: str
    about: str = ""  #: what tells it from others of that title
    shortcut: str = ""

    def matches(self, words: list[str]) -> bool:
        title = self.title.casefold()
        return all(word in title for word in words)


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    entries: list[Entry]


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """The results alone for the palette's script, a whole page for everybody else."""
    query = request.GET.get("s", "").replace("\0", "").strip()[:LONGEST_QUERY]
    in_dialog = request.headers.get("X-Requested-With") == "palette"
    context = {"groups": find(request, query), "query": query, "in_dialog": in_dialog}
    if in_dialog:
        return TemplateResponse(request, "kbadmin/palette_results.html", context)
    shell = {**admin.site.each_context(request), "title": _("Jump to…")}
    return TemplateResponse(request, "kbadmin/palette.html", {**shell, **context})


def find(request: HttpRequest, query: str) -> list[Group]:
    """What this user may open and the query names, in at most two queries of bounded size."""
    words = query.casefold().split()
    groups = [
        Group(_("Pages"), [entry for entry in pages(request) if entry.matches(words)]),
        Group(_("Actions"), [entry for entry in actions(request) if entry.matches(words)]),
    ]
    if query:
        groups += [
            Group(_("Collections"), list(collections(request, query))),
            Group(_("Documents"), list(documents(request, query))),
            Group(_("Search"), list(elsewhere(request, query))),
        ]
    return [group for group in groups if group.entries]


def pages(request: HttpRequest) -> Iterator[Entry]:
    for group in navigation.groups(request):
        for item in group["items"]:
            yield Entry(str(item["title"]), item["icon"], item["link"], shortcut=item["shortcut"])


def actions(request: HttpRequest) -> Iterator[Entry]:
    failed = reverse("admin:retrieval_document_changelist") + "?state=failed"
    offered = [
        ("retrieval.view_document", _("See why documents failed"), "error", failed),
        (
            "retrieval.add_collection",
            _("Make a collection"),
            "library_add",
            reverse("admin:retrieval_collection_add"),
        ),
        (
            "retrieval.change_collection",
            _("Reindex a collection"),
            "refresh",
            reverse("admin:retrieval_collection_changelist"),
        ),
        (
            "retrieval.change_index",
            _("Compare Chroma with the database"),
            "compare_arrows",
            reverse("admin:status") + "#kb-parts",
        ),
        (
            "retrieval.add_apikey",
            _("Issue an API key"),
            "vpn_key",
            reverse("admin:retrieval_apikey_add"),
        ),
        ("auth.add_user", _("Add a user"), "person_add", reverse("admin:auth_user_add")),
    ]
    for permission, title, icon, url in offered:
        if request.user.has_perm(permission):
            yield Entry(title, icon, url)
    yield Entry(_("Change password"), "password", reverse("admin:password_change"))


def collections(request: HttpRequest, query: str) -> Iterator[Entry]:
    """Collections by title; for the first one also what is most often done with it."""
    if not request.user.has_perm("retrieval.view_collection"):
        return
    rows = list(
        Collection.objects.alive()
        .filter(title__icontains=query)
        .only("title", "slug")
        .order_by("title")[:COLLECTIONS_SHOWN]
    )
    for row in rows:
        url = reverse("admin:retrieval_collection_change", args=[row.pk])
        yield Entry(row.title, "library_books", url, row.slug)
    for row in rows[:1]:
        name = {"name": row.title}
        if request.user.has_perm("retrieval.view_document"):
            listed = reverse("admin:retrieval_document_changelist")
            yield Entry(
                _("Documents of %(name)s") % name, "description", f"{listed}?collection={row.pk}"
            )
        if request.user.has_perm("retrieval.add_document"):
            url = f"{reverse('admin:upload')}?collection={row.pk}"
            yield Entry(_("Upload into %(name)s") % name, "upload_file", url)
        if request.user.has_perm("retrieval.change_collection"):
            url = reverse("admin:retrieval_collection_change", args=[row.pk])
            yield Entry(_("Reindex %(name)s") % name, "refresh", f"{url}#kb-index")


def documents(request: HttpRequest, query: str) -> Iterator[Entry]:
    """The first documents whose title holds the query.

    Without an order the database stops at the last one that is shown; a title that nobody has
    costs one look at every title and at nothing else of a document.
    """
    if len(query) < SHORTEST_TITLE or not request.user.has_perm("retrieval.view_document"):
        return
    rows = (
        Document.objects.alive()
        .filter(title__icontains=query)
        .select_related("collection")
        .only("title", "external_id", "collection__title")
        .order_by()[:DOCUMENTS_SHOWN]
    )
    beginning = query.casefold()
    for row in sorted(rows, key=lambda row: not row.title.casefold().startswith(beginning)):
        url = reverse("admin:retrieval_document_change", args=[row.pk])
        yield Entry(row.title, "article", url, row.collection.title)


def elsewhere(request: HttpRequest, query: str) -> Iterator[Entry]:
    if not request.user.has_perm("retrieval.view_document"):
        return
    name = {"query": query}
    listed = reverse("admin:retrieval_document_changelist")
    yield Entry(
        _("Search the documents for “%(query)s”") % name,
        "manage_search",
        f"{listed}?{urlencode({'q': query})}",
    )
    yield Entry(
        _("Ask “%(query)s” in the playground") % name,
        "science",
        f"{reverse('admin:playground')}?{urlencode({'q': query})}",
    )
