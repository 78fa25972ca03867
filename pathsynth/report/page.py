"""``report.html``: one self-contained page for a trial or for a study."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import jinja2

from pathsynth.ledger.atomic import write_bytes, write_text
from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import TrialSummary, collect_trials, damaged, is_trial
from pathsynth.report.study_view import StudyView, study_view
from pathsynth.report.trial_view import TrialView, trial_view
from pathsynth.study.state import DONE

_NAME = "report.html"
_KEPT = {
    "classify": "classifier.json and scores.json",
    "generate": "images, sheet.png and attempts.parquet",
    "finetune": "adapter and history.csv",
    "pretrain": "base and result.json",
}
"""What a trial of a command that measures no agreement leaves in its folder."""


def write_report(folder: Path, real: bool = False) -> Path:
    """Write the page of a trial folder, or the dashboard of a study folder and a page for each of its finished trials; its path.

    A trial of a study that is damaged has a line with the reason instead of a page.

    Everything is inside the file, except images of studies too large for it, which lie in a folder beside it. No page asks a
    network for anything.

    Args:
        real: show real reference images, where the data are not phantoms too.

    Raises:
        RequestError: there is no such folder, or it holds no finished trial.
    """
    trials = collect_trials(folder)
    finished = [t for t in trials if t.finished]
    if not finished:
        raise RequestError(_without_result(folder, trials))
    if is_trial(folder):
        return write_trial_page(finished[0], real, in_study=(folder.absolute().parent / _NAME).is_file())
    return write_merged([_with_page(trial, real) if trial.finished else trial for trial in trials], folder, real)


def _without_result(folder: Path, trials: Sequence[TrialSummary]) -> str:
    """Why there is no page: nothing is done yet, or what is done is of a command that measures no agreement."""
    commands = {trial.settings.get("command", "") for trial in trials if trial.state == DONE}
    kept = [f"{command}: see {_KEPT[command]} in each trial's folder" for command in sorted(commands & _KEPT.keys())]
    if kept:
        return f"{folder} has no trial of run or evaluate, of which pages are made; {'; '.join(kept)}"
    if all(trial.state == DONE for trial in trials):
        return f"{folder} has no scores to report ({_states(trials)}); {_sheets(trials)}pathsynth evaluate scores an adapter"
    return f"{folder} holds no finished trial ({_states(trials)}); run it to its end first"


def _with_page(trial: TrialSummary, real: bool) -> TrialSummary:
    try:
        write_trial_page(trial, real, in_study=True)
    except RequestError as error:
        return damaged(trial, error)
    return trial


def write_trial_page(trial: TrialSummary, real: bool = False, in_study: bool = False) -> Path:
    """Write the page of a finished trial into its folder; its path. ``in_study``: the page of its study lies in the folder above.

    Raises:
        RequestError: something that it shows is damaged.
    """
    try:
        view = trial_view(trial, real, f"../{_NAME}" if in_study else "")
    except RequestError:
        raise
    except Exception as error:  # a damaged file leads its library to raise whatever it may
        raise RequestError(f"the files of {trial.folder} are damaged ({_one_line(error)}); run the trial again") from error
    return _write(trial.folder, "trial.html", view)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def write_merged(trials: Sequence[TrialSummary], folder: Path, real: bool = False, refresh: int = 0) -> Path:
    """Write the dashboard of these trials, wherever they lie, into ``folder``; its path.

    ``refresh``: seconds after which an open dashboard loads itself again; 0: never.

    Raises:
        RequestError: none of them is finished.
    """
    if not any(t.finished for t in trials):
        raise RequestError(f"no trial is finished ({_states(trials)}); run one to its end first")
    view = study_view(trials, folder, real)
    for name, content in view.beside:
        (folder / name).parent.mkdir(exist_ok=True)
        write_bytes(folder / name, content)
    return _write(folder, "study.html", view, script=_script(), refresh=refresh)


def _script() -> str:
    """The script of a study's page, as `make frontend` built it; no template, for braces mean something else in it."""
    return (Path(__file__).parent / "templates" / "study.js").read_text(encoding="utf-8").replace("</script", "<\\/script")


def _sheets(trials: Sequence[TrialSummary]) -> str:
    """Where the images of generated sets can be seen."""
    sheets = [str(t.folder / "sheet.png") for t in trials if (t.folder / "sheet.png").is_file()]
    return f"its images are on {', '.join(sheets)}; " if sheets else ""


def _states(trials: Sequence[TrialSummary]) -> str:
    return "; ".join(f"{t.name}: {t.state}" + (f", {t.problem}" if t.problem else "") for t in trials)


def _write(folder: Path, template: str, view: TrialView | StudyView, **parts: str | int) -> Path:
    """Render in memory, then put the page in place at once, so that a reader never sees half of it."""
    path = folder / _NAME
    write_text(path, _templates().get_template(template).render(view=view, **parts))
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
