"""One evaluation run, question by question, and two of them side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from kbadmin.pages.playground import MODE_NAMES
from retrieval.admin import trial_state
from retrieval.admin.base import CappedPaginator
from retrieval.evaluation import Change, Comparison, compare
from retrieval.exceptions import KnowledgeBaseError
from retrieval.metrics import Interval
from retrieval.models import EvaluationAnswer, EvaluationRun
from retrieval.types import Script

ROWS = 50
OUTCOMES = {
    "lost": gettext_lazy("Lost"),
    "won": gettext_lazy("Won"),
    "same": gettext_lazy("Unchanged"),
}
FOUND = {
    "all": gettext_lazy("All"),
    "missed": gettext_lazy("Not found"),
    "low": gettext_lazy("Found below the first place"),
    "first": gettext_lazy("In the first place"),
}


def runs() -> QuerySet[EvaluationRun]:
    return (
        EvaluationRun.objects.done()
        .filter(collection__deleted_at=None)
        .select_related("collection", "index__embedding_model")
        .defer("wanted")
    )


def may_look(request: HttpRequest) -> None:
    if not request.user.has_perm("retrieval.view_evaluationrun"):
        raise PermissionDenied


@require_GET
def page(request: HttpRequest, pk: int) -> HttpResponse:
    may_look(request)
    run = runs().filter(pk=pk).first()
    if run is None:
        raise Http404
    found = request.GET.get("found", "all")
    answers = run.answers.order_by("order")
    if found == "missed":
        answers = answers.filter(ranks=[])
    elif found == "first":
        answers = answers.filter(ranks__0=1)
    elif found == "low":
        answers = answers.exclude(ranks=[]).exclude(ranks__0=1)
    pages: Paginator[EvaluationAnswer] = CappedPaginator(answers, ROWS)
    shown = pages.get_page(request.GET.get("p", "1"))
    earlier = (
        runs()
        .filter(collection=run.collection, questions_source=run.questions_source)
        .filter(created_at__lt=run.created_at)
        .order_by("-created_at")
        .first()
    )
    context = {
        **admin.site.each_context(request),
        "title": str(run),
        "run": run,
        "facts": described(run),
        "metrics": [(name, Interval(**values)) for name, values in run.metrics.items()],
        "found": found if found in FOUND else "all",
        "filters": [(key, label, f"?found={key}", key == found) for key, label in FOUND.items()],
        "answers": shown,
        "rows": [(answer, asked(run, answer.question)) for answer in shown],
        "earlier": earlier,
        "may_delete": request.user.has_perm("retrieval.delete_evaluationrun"),
    }
    return TemplateResponse(request, "kbadmin/evaluation_run.html", context)


def described(run: EvaluationRun) -> dict[str, str]:
    """What decided the answers, in words: the same keys for every run."""
    used = run.settings.get("retrieval", {})
    index = run.settings.get("index", {})
    weights = used.get("dense_weight", {})
    return {
        _("Search by"): str(MODE_NAMES.get(run.mode, run.mode)),
        _("Passages (top k)"): str(run.top_k),
        _("Weight of meaning, alphabetic"): str(weights.get(Script.ALPHABETIC.value, "–")),
        _("Weight of meaning, Chinese"): str(weights.get(Script.CJK.value, "–")),
        _("Least score"): str(used.get("min_score", "–")),
        _("Neighbouring chunks"): str(used.get("context", "–")),
        _("Reranker"): run.settings.get("reranker") or "–",
        _("Embedding model"): run.settings.get("model", {}).get("name", "–"),
        _("Chunks"): _("%(size)s tokens, %(overlap)s overlap")
        % {"size": index.get("chunk_size", "–"), "overlap": index.get("chunk_overlap", "–")},
        _("Distance"): index.get("space", "–"),
    }


def asked(run: EvaluationRun, question: str, other: EvaluationRun | None = None) -> str:
    """The playground with a question and the settings of a run, or of two."""
    wanted = {"collection": run.collection.slug, "q": question, **_side("a", run)}
    if other is not None:
        wanted |= {"compare": "1", **_side("b", other)}
    return f"{reverse('admin:playground')}?{urlencode(wanted)}"


def _side(prefix: str, run: EvaluationRun) -> dict[str, Any]:
    used: Mapping[str, Any] = run.settings.get("retrieval", {})
    weights = used.get("dense_weight", {})
    given = {
        "mode": run.mode,
        "top_k": run.top_k,
        "alphabetic": weights.get(Script.ALPHABETIC.value, ""),
        "cjk": weights.get(Script.CJK.value, ""),
        "min_score": used.get("min_score", 0),
        "context": used.get("context", 0),
    }
    if run.index is not None and run.index.state in ("live", "ready", "retired"):
        given["index"] = run.index.pk
    return {f"{prefix}-{name}": value for name, value in given.items()}


# --- Two runs -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A metric of two runs."""

    name: str
    before: float | None
    after: float | None
    difference: Interval

    @property
    def verdict(self) -> tuple[str, str]:
        """A tone and a word: whether the difference is more than chance."""
        if not self.difference.excludes_zero:
            return "queued", _("no certain difference")
        return ("high", _("better")) if self.difference.mean > 0 else ("failed", _("worse"))


@require_GET
def compared(request: HttpRequest) -> HttpResponse:
    may_look(request)
    keys = [request.GET.get(name, "") for name in ("before", "after")]
    wanted = [int(key) for key in keys if key.isdecimal()]
    found = runs().in_bulk(wanted)
    if len(found) < 2:
        messages.info(request, _("Choose two different runs to compare."))
        one = next(iter(found.values()), None)
        kept = f"?{urlencode({'collection': one.collection.slug})}" if one else ""
        return redirect(f"{reverse('admin:evaluation')}{kept}")
    before, after = (found[key] for key in wanted)
    context = {
        **admin.site.each_context(request),
        "title": _("Two runs compared"),
        "before": before,
        "after": after,
        "turned": f"?{urlencode({'before': after.pk, 'after': before.pk})}",
        "settings": settings_of(before, after),
        **decision(before, after),
    }
    try:
        comparison = compare(before, after)
    except KnowledgeBaseError as error:
        context["problem"] = error.message
    else:
        context |= compared_answers(request, before, after, comparison)
    return TemplateResponse(request, "kbadmin/evaluation_compare.html", context)


def decision(before: EvaluationRun, after: EvaluationRun) -> dict[str, Any]:
    """The trial that the two were made for, if it waits for somebody."""
    trial = trial_state.opened().filter(before=before, after=after).first()
    return {"trial": trial_state.TrialState(trial) if trial else None, "is_compared": True}


def settings_of(before: EvaluationRun, after: EvaluationRun) -> list[tuple[str, str, str]]:
    """What the two were asked differently with."""
    old, new = described(before), described(after)
    return [(name, old[name], new[name]) for name in old if old[name] != new[name]]


def compared_answers(
    request: HttpRequest, before: EvaluationRun, after: EvaluationRun, comparison: Comparison
) -> dict[str, Any]:
    kinds: dict[str, Sequence[Change]] = {
        "lost": comparison.lost,
        "won": comparison.won,
        "same": comparison.same,
    }
    # What became worse is looked at first.
    first = next((kind for kind, changes in kinds.items() if changes), "same")
    outcome = request.GET.get("outcome", first)
    outcome = outcome if outcome in kinds else first
    pages: Paginator[Change] = Paginator(kinds[outcome], ROWS)
    shown = pages.get_page(request.GET.get("p", "1"))
    here = {"before": before.pk, "after": after.pk}
    return {
        "comparison": comparison,
        "lines": [
            Line(
                name,
                before.metrics.get(name, {}).get("mean"),
                after.metrics.get(name, {}).get("mean"),
                difference,
            )
            for name, difference in comparison.differences.items()
        ],
        "filters": [
            (label, len(kinds[kind]), f"?{urlencode({**here, 'outcome': kind})}", kind == outcome)
            for kind, label in OUTCOMES.items()
        ],
        "outcome": outcome,
        "kept": urlencode({**here, "outcome": outcome}),
        "changes": shown,
        "rows": [(change, asked(before, change.question, after)) for change in shown],
    }
