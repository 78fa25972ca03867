"""`pathsynth validate <trial folder>`: a validation now, beside the schedule."""

from __future__ import annotations

from pathlib import Path

from pathsynth.studies.trials.validating import ask_for_validation, requested_sheets


def validate_trial(trial: Path) -> None:
    """Ask for it, and say where its sheets will be.

    Raises:
        RequestError: as :func:`pathsynth.studies.trials.validating.ask_for_validation`.
    """
    ask_for_validation(trial)
    print(f"requested; after its next step {trial.name} writes contact sheets to {requested_sheets(trial)}")
