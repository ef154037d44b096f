"""The page itself: which client, the key that is made on the spot, and the test."""

from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from kbadmin.pages.connect.guides import GUIDES
from plugin import turns
from plugin.rehearsal import Facts, rehearse
from retrieval.models import ApiKey, Collection, Document

#: Collections to choose from; any other one can be named in the address.
LISTED = 50
#: Characters of a document's title that make a question.
LONGEST_QUESTION = 120


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    """GET shows a client's guide; POST makes a key and shows the guide with it, once."""
    may_make_keys = _check(request)
    client = request.GET.get("client") or next(iter(GUIDES))
    if client not in GUIDES:
        return HttpResponseBadRequest(_("There is no such client. Choose one on the page."))
    collections = _collections(request.GET.get("collection", ""))
    key = ""
    if request.method == "POST":
        if not may_make_keys:
            raise PermissionDenied
        # Shown in the answer itself: until a next request it would have to be kept somewhere.
        row, key = ApiKey.issue(str(GUIDES[client].name))
        admin.site.get_model_admin(ApiKey).log_addition(request, row, [{"added": {}}])
    chosen = collections[0] if collections else None
    facts = _facts(chosen, key)
    return TemplateResponse(
        request,
        "kbadmin/connect.html",
        {
            **admin.site.each_context(request),
            "title": _("Connect"),
            "tabs": _tabs(client, chosen),
            "client": client,
            "guide": GUIDES[client],
            "instructions": GUIDES[client].write(facts),
            "collections": collections,
            "chosen": chosen,
            "issued_key": key,
            "asks_for_key": settings.PLUGIN_AUTH == "bearer",
            "may_make_keys": may_make_keys,
        },
    )


@require_POST
def test(request: HttpRequest) -> HttpResponse:
    """Play the client's own sequence, with a key that lives as long as it takes."""
    if not (request.user.is_active and request.user.is_staff):
        # A login page must not be swapped into this one.
        response = HttpResponse(status=204)
        response["HX-Refresh"] = "true"
        return response
    _check(request)
    client = request.POST.get("client", "")
    if client not in GUIDES:
        return HttpResponseBadRequest(_("There is no such client. Choose one on the page."))
    collections = _collections(request.POST.get("collection", ""))
    row, key = ApiKey.issue(f"Test of {client}")
    # The requests that are played want turns of their own.
    turns.step_aside()
    try:
        steps = rehearse(client, _facts(collections[0] if collections else None, key))
    finally:
        row.delete()
    is_swapped = request.headers.get("HX-Request") == "true"
    return TemplateResponse(
        request,
        "kbadmin/connect_steps.html" if is_swapped else "kbadmin/connect_tested.html",
        {
            **admin.site.each_context(request),
            "title": _("Connect"),
            "guide": GUIDES[client],
            "client": client,
            "steps": steps,
            "is_good": all(step.is_good for step in steps),
        },
    )


def _check(request: HttpRequest) -> bool:
    """Whether keys may be made. Raises PermissionDenied for whom the page is not."""
    if not request.user.has_perm("retrieval.view_apikey"):
        raise PermissionDenied
    return request.user.has_perm("retrieval.add_apikey")


def _collections(slug: str) -> list[Collection]:
    """Those to choose from, the chosen one first; the one asked for, or the default."""
    wanted = slug or settings.DEFAULT_COLLECTION
    alive = Collection.objects.alive().only("slug", "title")
    first = list(alive.filter(slug=wanted))
    others = alive.exclude(slug=wanted).order_by("title")
    return first + list(others[:LISTED])


def _facts(collection: Collection | None, key: str) -> Facts:
    return Facts(
        base=settings.PUBLIC_URL,
        server=settings.PLUGIN_SERVER_URL,
        key=key,
        collection=collection.slug if collection else settings.DEFAULT_COLLECTION,
        origin="{0.scheme}://{0.netloc}".format(urlsplit(settings.NEXTCHAT_URL)),
        question=_question(collection),
    )


def _question(collection: Collection | None) -> str:
    """Something that the collection can answer: the title of its newest document."""
    newest = (
        Document.objects.alive()
        .filter(collection=collection)
        .exclude(title="")
        .order_by("-pk")
        .values_list("title", flat=True)
        .first()
    )
    return newest[:LONGEST_QUESTION] if newest else _("What is in this knowledge base?")


def _tabs(client: str, chosen: Collection | None) -> list[dict[str, Any]]:
    address = reverse("admin:connect")
    also = {"collection": chosen.slug} if chosen else {}
    return [
        {
            "name": guide.name,
            "url": f"{address}?{urlencode({'client': name, **also})}",
            "is_chosen": name == client,
        }
        for name, guide in GUIDES.items()
    ]
