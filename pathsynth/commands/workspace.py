"""`pathsynth workspace <study folder>`: a saved view of the study in W&B, for a team."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import TrialSummary, collect_trials

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

_SCORES = {
    "macro-F1 before filtering": ("generated/before_filtering/gate/macro_f1", "generated/before_filtering/judge/macro_f1"),
    "what the filter does": ("generated/before_filtering/gate/acceptance", "generated/after_filtering/judge/accuracy"),
    "cost": ("generated/before_filtering/gate/accepted_per_1000_calls",),
    "closeness to real images": ("generated/before_filtering/judge/kid", "generated/before_filtering/judge/coverage"),
}
_CURVES = {"validation/step": ("validation/macro_f1",), "trainer/global_step": ("finetune/loss", "finetune/held_out_loss")}


@dataclass(frozen=True)
class Place:
    """Where a study's runs are in W&B."""

    entity: str
    project: str


def save_workspace(study: Path) -> None:
    """Make a saved view of the study's runs and print its address.

    Raises:
        RequestError: no trial was tracked online, W&B is offline by its mode, or has no key or no network, or the extra is not installed.
    """
    trials = collect_trials(study)
    place = place_of(trials)
    if place is None:
        raise RequestError(f"no trial in {study} was tracked online; run it with a W&B key and without WANDB_MODE=offline")
    if os.environ.get("WANDB_MODE", "online") != "online":
        raise RequestError(f"WANDB_MODE={os.environ['WANDB_MODE']} keeps W&B offline, and a view is saved online; unset it")
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise RequestError("a view needs wandb-workspaces; install it: pip install 'pathsynth[workspace]'") from error
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        address = workspace(place, trials[0].study).save().url
    except Exception as error:  # network, account and server may each refuse, with any exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(f"W&B did not save a view in {place.entity}/{place.project} ({reason}); log in with `wandb login`") from error
    print(f"view: {address}")


def place_of(trials: Sequence[TrialSummary]) -> Place | None:
    """Entity and project of the first trial that can be seen online."""
    for trial in trials:
        parts = urlsplit(trial.address).path.strip("/").split("/")
        if len(parts) == 4 and parts[2] == "runs":
            return Place(parts[0], parts[1])
    return None


def workspace(place: Place, study: str) -> Workspace:
    """The view: the study's evaluated trials, their scores as bars and their training as lines, a section each."""
    import wandb_workspaces.reports.v2 as panels
    from wandb_workspaces.expr import Metric
    from wandb_workspaces.workspaces import RunsetSettings, Section, Workspace

    shown: dict[str, list[Any]] = {name: [panels.BarPlot(title=m, metrics=[m]) for m in metrics] for name, metrics in _SCORES.items()}
    shown["training"] = [panels.LinePlot(title=m, x=axis, y=[m]) for axis, metrics in _CURVES.items() for m in metrics]
    sections = [Section(name, own, is_open=True) for name, own in shown.items()]
    runs = RunsetSettings(filters=[Metric("Group") == study, Metric("JobType") == "evaluate"])
    return Workspace(place.entity, place.project, name=f"pathsynth: {study}", sections=sections, runset_settings=runs)
