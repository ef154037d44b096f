"""How far the settings that a collection tries have come, in words."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from retrieval import trials
from retrieval.models import Collection, Index, Trial
from retrieval.models.trial import GATED_METRIC


@dataclass(frozen=True, slots=True)
class TrialState:
    """A trial as pages show it."""

    trial: Trial

    @property
    def title(self) -> str:
        if self.trial.is_gate:
            return _("New settings wait for the golden set")
        return _("Settings B: %(name)s") % {"name": self.trial}

    @property
    def is_moving(self) -> bool:
        """Whether a worker has something to do before anybody can decide."""
        return self.trial.state in {Trial.State.MEASURING, Trial.State.SWITCHING}

    @property
    def is_waiting(self) -> bool:
        return self.trial.state == Trial.State.WAITING

    @property
    def is_comparable(self) -> bool:
        return self.is_waiting and bool(self.trial.before_id and self.trial.after_id)

    @property
    def may_switch(self) -> bool:
        """Whether there is anything left to switch to."""
        gone = {Index.State.DAMAGED, Index.State.RETIRED}
        index = self.trial.index
        return self.is_waiting and not (
            self.trial.has_index and (index is None or index.state in gone)
        )

    @property
    def tone(self) -> str:
        if self.is_moving:
            return "building"
        return "failed" if self.trial.problem or trials.is_worse(self.trial) else "ready"

    @property
    def percent(self) -> int | None:
        """Of what is being done; None if that has not begun."""
        trial = self.trial
        if trial.index is not None and trial.index.state == Index.State.BUILDING:
            return trial.index.progress_done * 100 // max(trial.index.progress_total, 1)
        runs = [run for run in (trial.before, trial.after) if run is not None]
        if not runs:
            return None
        return sum(100 if not run.is_unfinished else run.percent for run in runs) // 2

    @property
    def sentence(self) -> str:
        trial = self.trial
        index = trial.index
        if index is not None and index.state == Index.State.BUILDING:
            progress = {"done": index.progress_done, "total": index.progress_total}
            if trial.state == Trial.State.SWITCHING:
                return _("Its index is brought up to date and then goes live.")
            return (
                _("Its index is built beside the live one: %(done)s of %(total)s documents.")
                % progress
            )
        if trial.state == Trial.State.MEASURING:
            return _("The golden set is asked, of the live settings and of these.")
        if trial.problem:
            return _("It could not be measured: %(problem)s") % {"problem": trial.problem}
        return f"{self._difference} {self._decision}".strip()

    @property
    def _difference(self) -> str:
        verdict: dict[str, Any] = self.trial.verdict
        if not verdict:
            return ""
        return _(
            "%(metric)s changes by %(mean)s (95 %% interval %(low)s to %(high)s): %(won)d won, "
            "%(lost)d lost, %(same)d unchanged."
        ) % {
            "metric": GATED_METRIC,
            **{name: f"{verdict[name]:+.3f}" for name in ("mean", "low", "high")},
            **{name: verdict[name] for name in ("won", "lost", "same")},
        }

    @property
    def _decision(self) -> str:
        if self.trial.is_gate and trials.is_worse(self.trial):
            return _(
                "That is more than the %(tolerance)s by which it may fall: it does not go live by "
                "itself."
            ) % {"tolerance": f"{self.trial.tolerance:.3f}"}
        return _("It is kept in step with the documents until somebody decides.")


def of(collection: Collection) -> TrialState | None:
    """What a collection tries now, in one query."""
    trial = opened().filter(collection=collection).first()
    return TrialState(trial) if trial else None


def opened() -> Any:
    """Those that are not decided, with all that is told of them."""
    return (
        Trial.objects.open()
        .select_related("collection", "index__embedding_model", "before", "after")
        .defer(
            *(f"{run}__{name}" for run in ("before", "after") for name in ("wanted", "left_out"))
        )
    )
