"""The commands that send waiting records to W&B or MLflow. No torch, no wandb, no MLflow: closing lines need none of them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from pathsynth.tracking.outbox import outboxes

_RUNS = "wandb/offline-run-*"


def sync_hint(trials: Iterable[Path]) -> str | None:
    """The command that sends the offline runs of the trials' studies; None where there are none, or each was sent once.

    Runs lie in the trials' folders, or all in the one that ``WANDB_DIR`` names. They are sent one at a time: `wandb sync` of many
    stops at one that a kill cut short, and leaves out what comes after it.
    """
    common = os.environ.get("WANDB_DIR")
    if common:
        waiting = any(map(_unsent, Path(common).glob(_RUNS))) and any(trials)
        patterns = [f"{shlex.quote(_short(Path(common)))}/{_RUNS}"] if waiting else []
    else:
        studies = sorted({trial.parent for trial in trials if any(map(_unsent, trial.glob(_RUNS)))})
        patterns = [f"{shlex.quote(_short(study))}/*/{_RUNS}" for study in studies]
    if not patterns:
        return None
    places = " ".join(patterns)
    return f'W&B runs are kept offline; to send them: for run in {places}; do wandb sync "$run"; done'


def send_hint(trials: Iterable[Path]) -> str | None:
    """The command that sends the waiting MLflow records of the trials' studies; None where there are none."""
    studies = sorted({trial.parent for trial in trials if any(outbox.waits for outbox in outboxes(trial))})
    if not studies:
        return None
    return f"records for MLflow wait; to send them: pathsynth send {' '.join(shlex.quote(_short(study)) for study in studies)}"


def _unsent(run: Path) -> bool:
    """One that was cut short is never marked as synced, and sending it again would double its rows."""
    return any(run.glob("*.wandb")) and not any(run.glob("*.wandb.sync*"))


def _short(path: Path) -> str:
    """From here where that is shorter."""
    here = Path(os.path.abspath(path))
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
