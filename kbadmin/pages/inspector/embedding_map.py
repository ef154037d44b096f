"""The map of an index's embeddings: drawn by a script, listed for those who cannot see it."""

from collections import Counter, defaultdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from kbadmin.pages.inspector import shell
from kbadmin.pages.inspector.reports import facts, report_of
from retrieval import inspection
from retrieval.models import Attribute, Chunk, Document, IndexReport

#: Groups with a colour of their own; the rest share one.
COLOURS = 8
#: Characters of a text that the map tells.
SAID = 160
#: Front-matter keys that can colour the map.
KEYS = 12
LISTED = 50


@require_GET
def page(request: HttpRequest, pk: int) -> HttpResponse:
    about = shell.inspected(request, pk)
    report = report_of(about.index, IndexReport.Kind.MAP)
    data = report.data if report and report.made_at else {}
    stored = data.get("points", [])
    given = request.GET.get("from", "")
    begin = min(int(given), len(stored)) if given.isdecimal() and len(given) < 7 else 0
    listed = inspection.by_ids(about.index, [row[0] for row in stored[begin : begin + LISTED]])
    end = begin + LISTED
    keys = keys_of([row[0] for row in stored])
    context = shell.context(
        request,
        about,
        "inspector_map",
        data=data,
        drawn=len(stored),
        shares=[round(100 * share) for share in data.get("shares", [])],
        listed=[(chunk, about.record_url(chunk.pk)) for chunk in listed],
        is_list_open=bool(given),
        before_url=f"?from={max(begin - LISTED, 0)}{index_query(about)}" if begin else "",
        after_url=f"?from={end}{index_query(about)}" if end < len(stored) else "",
        colour_by=colour_by([row[0] for row in stored], keys),
        choices=[("document", _("Document")), ("source", _("Source"))]
        + [(f"key:{key}", key) for key in keys],
        points_url=about.url("inspector_points"),
        **facts(report, IndexReport.Kind.MAP),
    )
    return TemplateResponse(request, "kbadmin/inspector/map.html", context)


def index_query(about: shell.Inspected) -> str:
    is_live = about.index.pk == about.collection.live_index_id
    return "" if is_live else f"&index={about.index.pk}"


def keys_of(chunks: list[int]) -> list[str]:
    """The front-matter keys that most of the documents on the map have."""
    documents = Chunk.objects.filter(pk__in=chunks).values("document_id")
    rows = Attribute.objects.filter(document__in=documents).values_list("key", "document_id")
    common = Counter(key for key, _document in set(rows))
    return sorted(key for key, _number in common.most_common(KEYS))


def colour_by(chunks: list[int], keys: list[str]) -> str:
    """What tells most at first sight: tags, or else where the documents come from."""
    if "tags" in keys:
        return "key:tags"
    sources = Document.objects.filter(chunks__in=chunks).order_by().values("source").distinct()[:2]
    return "source" if len(sources) > 1 else "document"


@require_GET
def points(request: HttpRequest, pk: int) -> HttpResponse:
    """The map as JSON, coloured by what `by` names. A chunk that is not searched any more is
    left out: from the commit that deletes it, its text is shown nowhere."""
    if not (request.user.is_active and request.user.is_staff):
        return JsonResponse({"error": _("You are logged out. Load the page anew.")}, status=403)
    about = shell.inspected(request, pk)
    report = report_of(about.index, IndexReport.Kind.MAP)
    stored = report.data.get("points", []) if report else []
    places = {row[0]: (row[1], row[2]) for row in stored}
    chunks = [
        chunk for chunk in inspection.by_ids(about.index, list(places)) if inspection.is_live(chunk)
    ]
    by = request.GET.get("by", "document")
    names = groups(chunks, by)
    if names is None:
        return JsonResponse({"error": _("The map cannot be coloured by this.")}, status=400)
    common = [name for name, _number in Counter(names.values()).most_common(COLOURS)]
    colours = {name: place for place, name in enumerate(common)}
    sizes = Counter(colours.get(name, COLOURS) for name in names.values())
    legend = [{"name": name, "size": sizes[place]} for place, name in enumerate(common)]
    if sizes[COLOURS]:
        legend.append({"name": _("others"), "size": sizes[COLOURS]})
    return JsonResponse(
        {
            "legend": legend,
            "points": [
                {
                    "x": places[chunk.pk][0],
                    "y": places[chunk.pk][1],
                    "group": colours.get(names[chunk.pk], COLOURS),
                    "name": names[chunk.pk],
                    "title": str(chunk.document),
                    "text": chunk.beginning[:SAID],  # type: ignore[attr-defined]  # annotated
                    "url": about.record_url(chunk.pk),
                }
                for chunk in chunks
            ],
        }
    )


def groups(chunks: list[Chunk], by: str) -> dict[int, str] | None:
    """The name of the group of each chunk, by its key; None for what nothing is known by."""
    if by == "document":
        return {chunk.pk: str(chunk.document) for chunk in chunks}
    if by == "source":
        return {chunk.pk: chunk.document.source or _("uploaded") for chunk in chunks}
    kind, colon, key = by.partition(":")
    if kind != "key" or not colon or not key or "\0" in key:
        return None
    values: dict[int, list[str]] = defaultdict(list)
    rows = Attribute.objects.filter(
        document__in={chunk.document_id for chunk in chunks}, key=key[:100]
    ).order_by("pk")
    for document, text, number in rows.values_list("document_id", "string", "number"):
        values[document].append(text if text is not None else f"{number:g}")
    # Of a list its first value: a point has one colour.
    return {
        chunk.pk: values[chunk.document_id][0] if values[chunk.document_id] else _("without")
        for chunk in chunks
    }
