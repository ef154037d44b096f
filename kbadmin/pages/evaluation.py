"""Evaluation: how well questions are answered, over time; runs are started and watched here."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from kbadmin.pages import evaluation_run, trials
from kbadmin.pages.playground import SettingsForm
from retrieval import evaluation_runs
from retrieval.admin import audit, trial_state
from retrieval.admin.base import CappedPaginator
from retrieval.admin.golden_import import LARGEST
from retrieval.evaluation import GOLDEN_SET
from retrieval.exceptions import KnowledgeBaseError
from retrieval.models import Collection, EvaluationRun, Judgment, Worker
from retrieval.questions import QuestionSet, read_questions

#: Runs in the chart and among those that a collection is told to have.
CHARTED = 60
ROWS = 25
WAITING_SHOWN = 10
#: Passages that are asked for unless somebody says otherwise: metrics look at ten documents.
DEPTH = "10"
#: Of the metrics that a run has: those that are charted and listed.
METRICS = ("hit@1", "recall@5", "MRR@10", "nDCG@10")
#: What a list needs not: a file of questions may stand there.
HEAVY = ("wanted", "left_out", "settings")


class StartForm(forms.Form):
    name = forms.CharField(
        required=False,
        max_length=200,
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("What you try, to find the run again"),
    )
    file = forms.FileField(
        required=False,
        allow_empty_file=True,
        label=gettext_lazy("Other questions"),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file and file.size > LARGEST:
            raise forms.ValidationError(
                _("It is larger than %(size)s. Split it.") % {"size": filesizeformat(LARGEST)}
            )
        return file


def urls(site: admin.AdminSite) -> list[URLPattern]:
    return [
        path("evaluation/", site.admin_view(page), name="evaluation"),
        # Not behind admin_view: a login page must not be swapped into the list.
        path("evaluation/progress/", progress, name="evaluation_progress"),
        path(
            "evaluation/compare/",
            site.admin_view(evaluation_run.compared),
            name="evaluation_compare",
        ),
        path("evaluation/trials/<int:pk>/", trials.progress, name="evaluation_trial"),
        path(
            "evaluation/trials/<int:pk>/<slug:name>/",
            site.admin_view(trials.act),
            name="evaluation_trial_act",
        ),
        path("evaluation/<int:pk>/", site.admin_view(evaluation_run.page), name="evaluation_run"),
        path("evaluation/<int:pk>/delete/", site.admin_view(delete), name="evaluation_delete"),
    ]


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("retrieval.view_evaluationrun"):
        raise PermissionDenied
    collection = chosen(request)
    if request.method == "POST":
        if not request.user.has_perm("retrieval.add_evaluationrun"):
            raise PermissionDenied
        if collection is None:
            raise Http404
        return (
            try_settings(request, collection)
            if "try" in request.POST
            else start(request, collection)
        )
    return show(request, collection)


def chosen(request: HttpRequest) -> Collection | None:
    collections = Collection.objects.alive().select_related("live_index").order_by("title")
    named = request.POST.get("collection") or request.GET.get("collection", "")
    found = collections.filter(slug=named).first()
    return found if found or named else collections.first()


def show(
    request: HttpRequest,
    collection: Collection | None,
    form: StartForm | None = None,
    settings: SettingsForm | None = None,
    tried: trials.TryForm | None = None,
) -> HttpResponse:
    if collection is None and request.GET.get("collection"):
        raise Http404
    context = {
        **admin.site.each_context(request),
        "title": _("Evaluation"),
        "collection": collection,
        "may_start": request.user.has_perm("retrieval.add_evaluationrun"),
        "may_delete": request.user.has_perm("retrieval.delete_evaluationrun"),
    }
    is_bad = form is not None or tried is not None
    if collection is not None:
        context |= {
            "collections": Collection.objects.alive().order_by("title")[:200],
            "form": form or StartForm(),
            "settings": settings or SettingsForm({"a-top_k": DEPTH}, collection, "a"),
            "is_open": form is not None or "start" in request.GET,
            "try": tried,
            "try_open": tried is not None,
            "largest": LARGEST,
            **golden_set(collection),
            **runs(request, collection),
            **waiting(collection),
        }
        may_try = trials.may_try(request) and collection.live_index and not context["trial"]
        if may_try and not tried and context["golden"].count:
            context["try"] = trials.TryForm(collection)
    return TemplateResponse(
        request, "kbadmin/evaluation.html", context, status=400 if is_bad else 200
    )


def golden_set(collection: Collection) -> dict[str, Any]:
    rows = Judgment.objects.filter(collection=collection).order_by("pk")
    return {
        "golden": CappedPaginator(rows, 1),
        "stale": CappedPaginator(rows.filter(is_stale=True), 1).count,
    }


def runs(request: HttpRequest, collection: Collection) -> dict[str, Any]:
    """The runs of one kind of questions: other questions have other numbers."""
    done = EvaluationRun.objects.filter(collection=collection).done().order_by("-created_at", "-pk")
    recent = list(done.values_list("questions_source", flat=True)[:CHARTED])
    sources = list(dict.fromkeys(recent))
    source = request.GET.get("questions", "")
    source = source if source in sources else (sources[0] if sources else "")
    listed = done.filter(questions_source=source).select_related("index__embedding_model")
    rows: Paginator[Any] = CappedPaginator(listed.defer(*HEAVY), ROWS)
    return {
        "sources": [
            (one, f"?{urlencode({'collection': collection.slug, 'questions': one})}", one == source)
            for one in sources
        ],
        "source": source,
        "is_golden": source == GOLDEN_SET,
        "runs": rows.get_page(request.GET.get("p", "1")),
        "columns": METRICS,
        "series": series(listed),
        "any_runs": bool(sources),
    }


def series(listed: QuerySet[EvaluationRun]) -> dict[str, Any]:
    """What the chart shows, oldest first: means and the ends of their intervals."""
    rows = list(listed.values("pk", "name", "created_at", "metrics", "question_count")[:CHARTED])
    rows.reverse()

    def numbers(metric: str, part: str) -> list[float | None]:
        return [row["metrics"].get(metric, {}).get(part) for row in rows]

    return {
        "times": [row["created_at"].isoformat() for row in rows],
        "names": [row["name"] or f"#{row['pk']}" for row in rows],
        "questions": [row["question_count"] for row in rows],
        "metrics": {
            metric: {part: numbers(metric, part) for part in ("mean", "low", "high")}
            for metric in METRICS
        },
    }


def waiting(collection: Collection) -> dict[str, Any]:
    """Runs that are made or wait for a worker, and those that failed last."""
    trial = trial_state.of(collection)
    rows = EvaluationRun.objects.filter(collection=collection).defer(*HEAVY)
    if trial is not None:
        # They are told of with the settings that they are made for.
        its = [trial.trial.before_id or 0, trial.trial.after_id or 0]
        rows = rows.exclude(pk__in=its)
    unfinished = list(rows.unfinished().order_by("created_at", "pk")[:WAITING_SHOWN])
    failed = rows.filter(state=EvaluationRun.State.FAILED).order_by("-created_at")
    is_due = bool(unfinished) or (trial is not None and trial.is_moving)
    return {
        "trial": trial,
        "unfinished": unfinished,
        "failed": list(failed[:WAITING_SHOWN]),
        "no_worker": is_due and not Worker.objects.alive().exists(),
    }


def start(request: HttpRequest, collection: Collection) -> HttpResponse:
    form = StartForm(request.POST, request.FILES)
    settings = SettingsForm(request.POST.dict(), collection, "a")
    questions: QuestionSet | None = None
    is_usable = form.is_valid() and settings.is_valid()
    if is_usable and (file := form.cleaned_data["file"]):
        try:
            questions = read_questions(file.name, file.read())
        except KnowledgeBaseError as error:
            form.add_error("file", error.message)
    elif is_usable and not Judgment.objects.filter(collection=collection).exists():
        form.add_error("file", _("The golden set is empty. Give a file of questions, or fill it."))
    if not is_usable or form.errors:
        return show(request, collection, form, settings)
    run = evaluation_runs.request(
        collection,
        questions=questions,
        settings=settings.settings,
        index=settings.cleaned_data["index"],
        top_k=settings.cleaned_data["top_k"],
        name=form.cleaned_data["name"],
    )
    audit.record(request, audit.Deed.EVALUATE, [run])
    messages.success(request, _("The run waits for a worker; it appears here when it is done."))
    return redirect(f"{reverse('admin:evaluation')}?{urlencode({'collection': collection.slug})}")


def try_settings(request: HttpRequest, collection: Collection) -> HttpResponse:
    """Begin to compare the collection's settings with others."""
    if not trials.may_try(request):
        raise PermissionDenied
    if collection.live_index is None:
        raise Http404
    form = trials.TryForm(collection, request.POST.dict())
    trial = form.begin()
    if trial is None:
        return show(request, collection, tried=form)
    audit.record(request, audit.Deed.TRIAL, [collection], detail=str(trial))
    messages.success(request, _("The worker compares both; what it finds appears here."))
    return redirect(f"{reverse('admin:evaluation')}?{urlencode({'collection': collection.slug})}")


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a run, or stop one that is being made."""
    run = EvaluationRun.objects.select_related("collection").filter(pk=pk).first()
    may_stop = run is not None and run.is_unfinished
    needed = "add" if may_stop else "delete"
    if not request.user.has_perm(f"retrieval.{needed}_evaluationrun"):
        raise PermissionDenied
    if run is None:
        raise Http404
    if may_stop:
        stopped = evaluation_runs.cancel(pk)
        messages.info(request, _("Cancelled.") if stopped else _("It was done already."))
        if stopped:
            audit.record(request, audit.Deed.CANCEL, [run])
    else:
        audit.record(request, audit.Deed.DELETE, [run])
        run.delete()
        messages.success(request, _("The run was deleted."))
    kept = urlencode({"collection": run.collection.slug})
    return redirect(f"{reverse('admin:evaluation')}?{kept}")


@require_GET
def progress(request: HttpRequest) -> HttpResponse:
    """The bars of runs that are made; once one is done, the page is loaded anew."""
    done = HttpResponse(status=204)
    done["HX-Refresh"] = "true"
    user = request.user
    if not (user.is_active and user.is_staff and user.has_perm("retrieval.view_evaluationrun")):
        return done
    collection = chosen(request)
    if collection is None:
        return done
    context = waiting(collection)
    if str(len(context["unfinished"])) != request.GET.get("n", ""):
        return done
    context |= {
        "collection": collection,
        "may_start": user.has_perm("retrieval.add_evaluationrun"),
    }
    return TemplateResponse(request, "kbadmin/evaluation_progress.html", context)
