"""Asking a trial's fine-tune for a validation beside its schedule."""

from __future__ import annotations

from pathlib import Path

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.requests import REQUESTED_SHEETS, VALIDATION, leave_request
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.studies.trials.manifest import Manifest, manifest_of
from pathsynth.studies.trials.state import RUNNING, read_state

FINETUNE = "finetune"


def ask_for_validation(trial: Path) -> None:
    """Leave the request where the fine-tune looks at each step: its next one answers it. The adapter stays the same, bit by bit.

    Raises:
        RequestError: the folder is no trial's, it is not being fine-tuned now, or it never validates.
    """
    manifest, state = manifest_of(trial), read_state(trial)
    if state.state != RUNNING or state.stage != FINETUNE:
        now = f"at {state.stage}" if state.state == RUNNING and state.stage else state.state
        raise RequestError(f"{trial.name} is {now}; a validation can be requested while it is being fine-tuned")
    if not manifest.config.validation.every:
        raise RequestError(f"{trial.name} has no validations (callbacks.regeneration); one can be requested where there are some")
    work = finetune_work(trial, manifest)
    if not work.is_dir():
        raise RequestError(f"the fine-tune of {trial.name} has not begun its first step; try again in a moment")
    leave_request(work / VALIDATION)


def requested_sheets(trial: Path) -> Path:
    """The folder of the contact sheets of validations that were requested.

    Raises:
        RequestError: the folder is no trial's.
    """
    return finetune_work(trial, manifest_of(trial)) / REQUESTED_SHEETS


def finetune_work(trial: Path, manifest: Manifest) -> Path:
    """Where the fine-tune of a trial keeps what it continues from; another trial with the same fine-tune has the same."""
    identity = next(stage.identity for stage in manifest.plan.stages if stage.name == FINETUNE)
    return StageStore(trial.absolute().parents[1] / STAGES).work(FINETUNE, identity)
