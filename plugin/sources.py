"""The page that shows a quoted passage where it stands, to whoever got the answer."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from plugin.links import read_source_token
from plugin.voting import private, refusal
from retrieval.admin.rendering import rendered
from retrieval.exceptions import KnowledgeBaseError
from retrieval.surroundings import surroundings


@never_cache
@require_safe
def source_page(request: HttpRequest, token: str) -> HttpResponse:
    """The passage of a signed link; a link that is forged, old or outlived says so."""
    try:
        place = read_source_token(token)
        extract = surroundings(place.chunk_id, before=place.before, after=place.after)
    except KnowledgeBaseError as error:
        return refusal(request, error)
    name = extract.title or extract.external_id
    path = extract.heading_path
    context = {
        "path": path[1:] if path[:1] == (name,) else path,
        "extract": extract,
        "name": name,
        "before": rendered(extract.before, ()),
        "passage": rendered(extract.text, ()),
        "after": rendered(extract.after, ()),
    }
    return private(render(request, "plugin/source.html", context))
