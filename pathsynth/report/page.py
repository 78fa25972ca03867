"""``report.html``: one self-contained page for a trial or for a study."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2

from pathsynth.ledger.atomic import write_text
from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import TrialSummary, collect_trials, is_trial
from pathsynth.report.study_view import StudyView, study_view
from pathsynth.report.trial_view import TrialView, trial_view

_NAME = "report.html"


def write_report(folder: Path) -> Path:
    """Write the page of a trial folder, or of a study folder and of each of its finished trials; the page's path.

    Images and styles are inside the file; it needs no network and runs no script.

    Raises:
        RequestError: there is no such folder, or it holds no finished trial.
    """
    trials = collect_trials(folder)
    finished = [t for t in trials if t.finished]
    if not finished:
        raise RequestError(f"{folder} holds no finished trial ({_states(trials)}); run it to its end first")
    if is_trial(folder):
        return _write(folder, "trial.html", trial_view(finished[0]))
    for trial in finished:
        _write(trial.folder, "trial.html", trial_view(trial))
    return _write(folder, "study.html", study_view(trials))


def _states(trials: list[TrialSummary]) -> str:
    return "; ".join(f"{t.name}: {t.state}" + (f", {t.problem}" if t.problem else "") for t in trials)


def _write(folder: Path, template: str, view: TrialView | StudyView) -> Path:
    """Render in memory, then put the page in place at once, so that a reader never sees half of it."""
    path = folder / _NAME
    write_text(path, _templates().get_template(template).render(view=view))
    return path


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pathsynth.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
