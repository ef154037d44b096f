"""Settings that are tried beside those of a collection: begun, watched, switched to, discarded."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from kbadmin.pages.playground import SettingsForm
from retrieval import trials
from retrieval.admin import audit, trial_state
from retrieval.admin.index_state import ReindexForm, initial
from retrieval.exceptions import KnowledgeBaseError
from retrieval.models import Collection, Trial
from retrieval.retrieval_settings import as_json, parse_stored

#: Of the settings of search: those that a trial's metrics do not depend on.
NOT_TRIED = ("top_k", "index")


def may_try(request: HttpRequest) -> bool:
    user = request.user
    return user.has_perm("retrieval.add_evaluationrun") and user.has_perm(
        "retrieval.change_collection"
    )


class NameForm(forms.Form):
    name = forms.CharField(
        required=False,
        max_length=190,
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("What you try, to find the runs again"),
    )
    prefix = "trial"


class TryForm:
    """The settings of side B; side A is the collection as it is."""

    def __init__(self, collection: Collection, data: dict[str, Any] | None = None) -> None:
        self.collection = collection
        live = collection.live_index
        assert live is not None  # noqa: S101 - asked by whoever shows it
        self.live = live
        self.name = NameForm(data)
        self.index = ReindexForm(data, initial=initial(live))
        self.search = SettingsForm(data or {}, collection, "b")
        self.problem = ""

    @property
    def searched(self) -> list[Any]:
        return [field for field in self.search if field.name not in NOT_TRIED]

    def begin(self) -> Trial | None:
        """Begin the trial; None if it cannot be, with what is wrong in the forms."""
        if not all([self.name.is_valid(), self.index.is_valid(), self.search.is_valid()]):
            return None
        changed = {
            name: value
            for name, value in self.index.cleaned_data.items()
            if value != self.live.settings[name]
        }
        try:
            return trials.start(
                self.collection,
                index=changed or None,
                retrieval_settings=stored(self.collection, self.search),
                name=self.name.cleaned_data["name"],
            )
        except KnowledgeBaseError as error:
            self.problem = error.message
            return None


def stored(collection: Collection, form: SettingsForm) -> dict[str, Any] | None:
    """Settings as a collection's row stores them; None if they are those that it has."""
    if form.settings == parse_stored(collection.retrieval_settings):
        return None
    kept = {
        name: value
        for name, value in collection.retrieval_settings.items()
        if name in ("thresholds", "calibration")
    }
    return as_json(form.settings) | kept


@require_GET
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The box of a trial; once it has come further, its page is loaded anew."""
    changed = HttpResponse(status=204)
    changed["HX-Refresh"] = "true"
    user = request.user
    may_look = user.has_perm("retrieval.view_collection") or user.has_perm(
        "retrieval.view_evaluationrun"
    )
    if not (user.is_active and user.is_staff and may_look):
        return changed
    trial = trial_state.opened().filter(pk=pk).first()
    if trial is None or trial.state != request.GET.get("state"):
        return changed
    context = {"trial": trial_state.TrialState(trial), "back": request.GET.get("back", "")}
    return TemplateResponse(request, "kbadmin/trial.html", context)


@require_POST
def act(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    if not request.user.has_perm("retrieval.change_collection"):
        raise PermissionDenied
    trial = Trial.objects.select_related("collection").filter(pk=pk).first()
    if trial is None or name not in ACTIONS:
        raise Http404
    do, deed = ACTIONS[name]
    try:
        done = do(pk)
    except KnowledgeBaseError as error:
        messages.error(request, error.message)
    else:
        audit.record(request, deed, [trial.collection], detail=str(trial))
        messages.success(request, _told(done))
    if request.POST.get("back") == "collection":
        page = reverse("admin:retrieval_collection_change", args=[trial.collection_id])
        return redirect(f"{page}#kb-index")
    kept = urlencode({"collection": trial.collection.slug})
    return redirect(f"{reverse('admin:evaluation')}?{kept}")


def _told(trial: Trial) -> str:
    words = {"collection": trial.collection.title}
    told = {
        Trial.State.ADOPTED: _("%(collection)s is searched with the new settings from now on."),
        Trial.State.SWITCHING: _("The new settings take over as soon as the index is complete."),
        Trial.State.DISCARDED: _("Discarded. %(collection)s stays as it is."),
        Trial.State.MEASURING: _("The golden set is asked once more."),
    }
    return told[Trial.State(trial.state)] % words


ACTIONS: dict[str, tuple[Callable[[int], Trial], audit.Deed]] = {
    "adopt": (trials.adopt, audit.Deed.TRIAL_ADOPT),
    "discard": (trials.discard, audit.Deed.TRIAL_DISCARD),
    "again": (trials.measure_again, audit.Deed.EVALUATE),
}
