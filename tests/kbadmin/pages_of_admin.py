"""Every page of the admin, in one list: for the benchmark, the screenshots and axe."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet

from plugin.models import Check
from retrieval.models import (
    ApiKey,
    Chunk,
    Collection,
    Document,
    EmbeddingModel,
    EvaluationRun,
    Feedback,
    Index,
    Judgment,
    ReviewItem,
    Revision,
    Search,
    Worker,
)


@dataclass(frozen=True, slots=True)
class Page:
    """One address; `{document}` and the like stand for keys of rows, see `keys`."""

    name: str
    address: str
    status: int = 200
    #: A variant of another page, whose looks need no picture of their own.
    variant: bool = False


DEEP = 10_000

#: Model pages by the name in their address, and the key of the row to open.
MODELS = {
    "retrieval/document": "document",
    "retrieval/collection": "collection",
    "retrieval/chunk": "chunk",
    "retrieval/search": "search",
    "retrieval/feedback": "feedback",
    "retrieval/judgment": "judgment",
    "retrieval/apikey": "apikey",
    "retrieval/worker": "worker",
    "retrieval/embeddingmodel": "model",
    "retrieval/index": "index",
    "auth/user": "user",
    "auth/group": "group",
    "admin/logentry": "logentry",
}
CAN_BE_ADDED = (
    "retrieval/collection",
    "retrieval/judgment",
    "retrieval/apikey",
    "auth/user",
    "auth/group",
)
CAN_BE_DELETED = (
    "retrieval/document",
    "retrieval/collection",
    "retrieval/feedback",
    "retrieval/judgment",
    "auth/group",
)
#: Lists with something chosen: (name of the list, name of the choice, query).
CHOICES = (
    ("retrieval/document", "failed", "state=failed"),
    ("retrieval/document", "working", "state=working"),
    ("retrieval/document", "searchable", "state=searchable"),
    ("retrieval/document", "of-collection", "collection={collection}"),
    ("retrieval/document", "failed-of-collection", "state=failed&collection={collection}"),
    ("retrieval/document", "origin", "origin=upload"),
    ("retrieval/document", "tag-and-language", "tag=guide&language=en"),
    ("retrieval/document", "source", "source=/srv/handbook"),
    ("retrieval/document", "changed", "changed_from=2020-01-01&changed_until=2030-01-01"),
    ("retrieval/document", "found", "q=invoice"),
    ("retrieval/document", "not-found", "q=nothing-has-this-name"),
    ("retrieval/document", "by-title", "o=1"),
    ("retrieval/document", "by-state", "o=3"),
    ("retrieval/document", "page-deep", "p={page}"),
    ("retrieval/collection", "found", "q=handbook"),
    ("retrieval/chunk", "disabled", "enabled=0"),
    ("retrieval/chunk", "of-collection", "collection={collection}"),
    ("retrieval/chunk", "of-small-collection", "collection={small_collection}"),
    ("retrieval/chunk", "found", "q=invoice"),
    ("retrieval/chunk", "not-found", "q=nothing+says+this"),
    ("retrieval/chunk", "page-deep", "p={page}"),
    ("retrieval/search", "low", "confidence__exact=low"),
    ("retrieval/search", "of-collection", "collection={collection}"),
    ("retrieval/search", "low-of-collection", "confidence__exact=low&collection={collection}"),
    ("retrieval/search", "of-small-collection", "collection={small_collection}"),
    ("retrieval/search", "found", "q=invoice"),
    ("retrieval/search", "not-found", "q=nobody+asked+this"),
    ("retrieval/search", "page-deep", "p={page}"),
    ("retrieval/feedback", "pending", "state__exact=pending"),
    ("retrieval/feedback", "rejected", "state__exact=rejected"),
    ("retrieval/feedback", "found", "q=invoice"),
    ("retrieval/feedback", "of-collection", "collection={collection}"),
    ("retrieval/judgment", "stale", "is_stale__exact=1"),
    ("retrieval/judgment", "of-collection", "collection={collection}"),
    ("retrieval/judgment", "found", "q=invoice"),
    ("retrieval/index", "live", "state__exact=live"),
    ("retrieval/apikey", "found", "q=chat"),
    ("admin/logentry", "by-user", "user={user}"),
    ("admin/logentry", "deletions", "kind=3"),
    ("admin/logentry", "of-user-and-kind", "user={user}&kind=3"),
    ("admin/logentry", "last-week", "days=7"),
    ("admin/logentry", "page-deep", "p={page}"),
)
OWN = (
    Page("dashboard", "/admin/"),
    Page("dashboard-of-collection", "/admin/?days=90&collection={collection_slug}", variant=True),
    Page("upload", "/admin/upload/"),
    Page("playground", "/admin/playground/?collection={collection_slug}"),
    Page(
        "playground-asked",
        "/admin/playground/?collection={collection_slug}&q={question}",
    ),
    Page(
        "playground-compared",
        "/admin/playground/?collection={collection_slug}&q={question}"
        "&compare=1&a-mode=hybrid&b-mode=lexical",
    ),
    *(
        Page(f"connect-{client}", f"/admin/connect/?client={client}")
        for client in ("nextchat", "nextchat-plugin", "fastchat", "gpt-actions", "mcp", "code")
    ),
    Page("plugin", "/admin/plugin/"),
    Page("plugin-reset", "/admin/plugin/reset/"),
    Page("plugin-doctor", "/admin/plugin-doctor/"),
    Page("plugin-doctor-own", "/admin/plugin-doctor/?kind=own"),
    Page("plugin-check", "/admin/plugin-doctor/checks/{check}/"),
    Page("plugin-compare", "/admin/plugin-doctor/compare/?new={check}"),
    Page("evaluation", "/admin/evaluation/?collection={collection_slug}"),
    Page("evaluation-run", "/admin/evaluation/{run}/"),
    Page("evaluation-compare", "/admin/evaluation/compare/?before={earlier_run}&after={run}"),
    Page("status", "/admin/status/"),
    Page("gaps", "/admin/gaps/"),
    Page(
        "gaps-growing",
        "/admin/gaps/?trend=growing&days=90&collection={collection_slug}",
        variant=True,
    ),
    Page("upload-write", "/admin/upload/?write={review}", variant=True),
    Page("review", "/admin/review/"),
    Page("review-narrowed", "/admin/review/?collection={collection}&q=invoice", variant=True),
    Page("review-deep", "/admin/review/?after=9.0~{review}", variant=True),
    Page("review-item", "/admin/review/{review}/"),
    Page("review-accept", "/admin/review/{review}/accept/answer/"),
    Page("review-accept-hide", "/admin/review/{review}/accept/hide/", variant=True),
    Page("key-revoke", "/admin/retrieval/apikey/{apikey}/revoke/"),
    Page("judgment-import", "/admin/retrieval/judgment/import/"),
    Page("palette", "/admin/search/"),
    Page("document-compare", "/admin/retrieval/document/{document}/compare/"),
    Page("document-failed", "/admin/retrieval/document/{failed}/change/"),
    Page("document-long", "/admin/retrieval/document/{long}/change/", variant=True),
    Page("document-source", "/admin/retrieval/document/{long}/change/?view=source", variant=True),
    Page("document-passage", "/admin/retrieval/document/{document}/change/?chunk={chunk}"),
    Page("passage-edit", "/admin/retrieval/document/chunks/{chunk}/edit/"),
    Page("collection-progress", "/admin/retrieval/collection/{collection}/progress/", variant=True),
    Page("inspector", "/admin/collections/{collection}/inspector/"),
    Page(
        "inspector-deep",
        "/admin/collections/{collection}/inspector/?after={document}-0",
        variant=True,
    ),
    Page(
        "inspector-before",
        "/admin/collections/{collection}/inspector/?before=999999-0",
        variant=True,
    ),
    Page(
        "inspector-found", "/admin/collections/{collection}/inspector/?q={question}", variant=True
    ),
    Page("inspector-record", "/admin/collections/{collection}/inspector/record/?id={chunk}"),
    Page("inspector-differences", "/admin/collections/{collection}/inspector/differences/"),
    Page("inspector-quality", "/admin/collections/{collection}/inspector/quality/"),
    Page("inspector-map", "/admin/collections/{collection}/inspector/map/"),
    Page("user-password", "/admin/auth/user/{user}/password/"),
    Page("password-change", "/admin/password_change/"),
    Page("search-anywhere", "/admin/search/?s=invoice", variant=True),
    Page("app-list", "/admin/retrieval/", variant=True),
    Page("not-found", "/admin/no-such-page/", status=404),
)
#: What people see before they have logged in.
LOGIN = Page("login", "/admin/login/")
#: What somebody sees who may not open a page.
FORBIDDEN = Page("forbidden", "/admin/retrieval/document/", status=403)


def pages() -> Iterator[Page]:
    """All of them, for somebody who may open everything."""
    yield from OWN
    for model, key in MODELS.items():
        name = model.partition("/")[2]
        yield Page(f"{name}-list", f"/admin/{model}/")
        yield Page(name, f"/admin/{model}/{{{key}}}/change/")
        yield Page(f"{name}-history", f"/admin/{model}/{{{key}}}/history/", variant=True)
        if model in CAN_BE_ADDED:
            yield Page(f"{name}-add", f"/admin/{model}/add/")
        if model in CAN_BE_DELETED:
            yield Page(f"{name}-delete", f"/admin/{model}/{{{key}}}/delete/")
    for model, choice, query in CHOICES:
        name = model.partition("/")[2]
        yield Page(f"{name}-list-{choice}", f"/admin/{model}/?{query}", variant=True)


def keys() -> dict[str, Any]:
    """What stands for `{document}` and the like, from the rows that there are; 0 where none is."""
    by_size = Collection.objects.alive().order_by("pk")
    collection = by_size.first()
    runs = EvaluationRun.objects.done().order_by("-pk")
    indexed = Document.objects.searchable().order_by("pk")
    return {
        "collection": key(by_size),
        "collection_slug": collection.slug if collection else "docs",
        "small_collection": key(by_size.reverse()),
        "document": key(indexed),
        "long": key(indexed.filter(external_id__startswith="long")),
        "failed": key(
            Document.objects.alive()
            .filter(latest_revision__state=Revision.State.FAILED)
            .order_by("pk")
        ),
        "chunk": key(Chunk.objects.filter(document=key(indexed)).order_by("pk")),
        "search": key(Search.objects.order_by("-created_at")),
        "feedback": key(Feedback.objects.order_by("pk")),
        "run": key(runs),
        "earlier_run": key(runs.reverse()),
        "judgment": key(Judgment.objects.order_by("pk")),
        "review": key(ReviewItem.objects.by_harm()),
        "apikey": key(ApiKey.objects.order_by("pk")),
        "check": key(Check.objects.order_by("-pk")),
        "worker": key(Worker.objects.order_by("pk")),
        "model": key(EmbeddingModel.objects.order_by("pk")),
        "index": key(Index.objects.order_by("pk")),
        "user": key(User.objects.order_by("pk")),
        "logentry": key(LogEntry.objects.order_by("pk")),
        "group": key(Group.objects.order_by("pk")),
        "question": "invoice",
        # As far as a list of 50 rows a page can be turned, where there are so many rows.
        "page": 100 if Document.objects.order_by()[:DEEP].count() == DEEP else 1,
    }


def key(rows: QuerySet[Any]) -> Any:
    row: Model | None = rows.first()
    return row.pk if row else 0
