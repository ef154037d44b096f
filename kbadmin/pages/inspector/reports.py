"""What a worker finds out about an index: asked for, watched and shown."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from kbadmin.pages.inspector import shell
from retrieval import inspection, reports
from retrieval.models import Chunk, Index, IndexReport, Worker
from retrieval.quality import FINDINGS

#: Finding → (name, what it means and what to do).
MEANINGS = {
    "missing": (
        gettext_lazy("Missing in Chroma"),
        gettext_lazy("They are not found by meaning. “Compare and repair” brings them back."),
    ),
    "zero_norm": (
        gettext_lazy("Vectors of zero"),
        gettext_lazy("They are near to nothing, or to everything. Reindex to embed them again."),
    ),
    "odd_norm": (
        gettext_lazy("Odd norms"),
        gettext_lazy("Longer or shorter than the others: perhaps another model made them."),
    ),
    "empty": (gettext_lazy("Empty"), gettext_lazy("No text to be found by.")),
    "too_short": (
        gettext_lazy("Too short"),
        gettext_lazy("Less than 20 columns of text (10 Chinese characters): hardly a meaning."),
    ),
    "over_limit": (
        gettext_lazy("Over the token limit"),
        gettext_lazy("The model does not read their end. Reindex with smaller chunks."),
    ),
    "duplicates": (
        gettext_lazy("Duplicates"),
        gettext_lazy("They repeat the text of another chunk and take its place in answers."),
    ),
}


def report_of(index: Index, kind: str) -> IndexReport | None:
    return index.reports.filter(kind=kind).first()


def facts(report: IndexReport | None, kind: str) -> dict[str, Any]:
    """What the box with the button and the progress needs."""
    waits = report is not None and report.is_unfinished
    return {
        "report": report,
        "kind": kind,
        "percent": percent(report),
        "no_worker": waits and not Worker.objects.alive().exists(),
    }


def percent(report: IndexReport | None) -> int:
    if report is None or not report.progress_total:
        return 0
    return min(100 * report.progress_done // report.progress_total, 100)


@require_GET
def quality(request: HttpRequest, pk: int) -> HttpResponse:
    about = shell.inspected(request, pk)
    report = report_of(about.index, IndexReport.Kind.QUALITY)
    data = report.data if report and report.made_at else {}
    examples = data.get("examples", {})
    chunks = {
        chunk.pk: chunk
        for chunk in inspection.by_ids(about.index, [pk for ids in examples.values() for pk in ids])
    }
    groups = [
        {"size": group["size"], "examples": linked(about, chunks, group["ids"])}
        for group in data.get("groups", ())
    ]
    findings = [
        {
            "name": MEANINGS[name][0],
            "meaning": MEANINGS[name][1],
            "count": data.get("counts", {}).get(name, 0),
            "examples": linked(about, chunks, examples.get(name, ())),
            "groups": groups if name == "duplicates" else (),
        }
        for name in FINDINGS
    ]
    context = shell.context(
        request,
        about,
        "inspector_quality",
        data=data,
        findings=[finding for finding in findings if finding["count"]],
        passed=[finding["name"] for finding in findings if not finding["count"]],
        **facts(report, IndexReport.Kind.QUALITY),
    )
    return TemplateResponse(request, "kbadmin/inspector/quality.html", context)


def linked(about: shell.Inspected, chunks: dict[int, Chunk], ids: Any) -> list[dict[str, Any]]:
    return [{"chunk": chunks[pk], "url": about.record_url(pk)} for pk in ids if pk in chunks]


@require_GET
def differences(request: HttpRequest, pk: int) -> HttpResponse:
    about = shell.inspected(request, pk)
    report = report_of(about.index, IndexReport.Kind.DIFFERENCES)
    data = report.data if report and report.made_at else {}
    ids = {name: data.get(name, []) for name in ("missing", "stale", "orphaned")}
    rows = {
        row.vector_id: row
        for row in inspection.by_ids(
            about.index, inspection.numbers_of(ids["missing"] + ids["stale"] + ids["orphaned"])
        )
    }
    # Whole records only of those that the database knows nothing of.
    records, problem = shell.fetch(about.index, ids["orphaned"])
    orphans = shell.listed(about, [(id_, rows.get(id_)) for id_ in ids["orphaned"]], records)
    checked = about.index.checked_at
    context = shell.context(
        request,
        about,
        "inspector_differences",
        data=data,
        counts=data.get("counts", {}),
        kept=reports.IDS_KEPT,
        missing=[(id_, about.record_url(id_), rows.get(id_)) for id_ in ids["missing"]],
        stale=[(id_, about.record_url(id_), rows.get(id_)) for id_ in ids["stale"]],
        orphans=orphans,
        problem=problem,
        repaired_at=checked
        if report and report.made_at and checked and checked > report.made_at
        else None,
        **facts(report, IndexReport.Kind.DIFFERENCES),
    )
    return TemplateResponse(request, "kbadmin/inspector/differences.html", context)


@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Have a report made, or stop it."""
    about = shell.inspected(request, pk, "retrieval.change_collection")
    kind = request.POST.get("kind", "")
    if kind not in IndexReport.Kind:
        raise Http404
    if "cancel" in request.POST:
        stopped = reports.cancel(about.index, kind)
        text = _("Cancelled.") if stopped else _("It was done already.")
        messages.info(request, text)
    else:
        reports.request(about.index, kind)
    return redirect(about.url(f"inspector_{kind}"))


@require_GET
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The bar of a report that is made; once it is done, the page is loaded anew."""
    done = HttpResponse(status=204)
    done["HX-Refresh"] = "true"
    if not (request.user.is_active and request.user.is_staff):
        return done
    about = shell.inspected(request, pk)
    kind = request.GET.get("kind", "")
    report = report_of(about.index, kind)
    if report is None or not report.is_unfinished:
        return done
    context = {
        "collection": about.collection,
        "index": about.index,
        "may_change": request.user.has_perm("retrieval.change_collection"),
        **facts(report, kind),
    }
    return TemplateResponse(request, "kbadmin/inspector/progress.html", context)
