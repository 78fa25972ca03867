"""``report.html``: one self-contained page for a trial, a generated set, a classifier, or a study."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import jinja2

from pathsynth.ledger.atomic import write_bytes, write_text
from pathsynth.ledger.errors import RequestError
from pathsynth.report.classifier_study import compares_classifiers
from pathsynth.report.classifier_view import ClassifierView, classifier_view
from pathsynth.report.collect import TrialSummary, collect_trials, damaged, is_trial, without_people
from pathsynth.report.glossary import Term, load_glossary
from pathsynth.report.overview import OverviewView, has_page, is_classifier, is_set, overview_view
from pathsynth.report.set_view import SetView, set_view
from pathsynth.report.study_view import StudyView, study_view
from pathsynth.report.trial_images import LEDGER
from pathsynth.report.trial_view import TrialView, trial_view
from pathsynth.studies.trials.state import DONE, RUNNING

_NAME = "report.html"
_TRIALS = "report_trials"
"""The folder beside the page of several studies that holds the pages of their trials."""
_KEPT = {
    "finetune": "adapter and history.csv",
    "pretrain": "base and result.json",
}
"""What a trial of a command that has nothing to show leaves in its folder."""


def write_report(folder: Path, real: bool = False, anonymous: bool = False) -> Path:
    """Write the page of a trial folder or a generated set, or that of a study folder and a page for each of its trials; its path.

    A trial of a study that is damaged has a line with the reason instead of a page.

    Everything is inside the file, except images of studies too large for it, which lie in a folder beside it. No page asks a
    network for anything.

    Args:
        folder: of the trial, the set or the study.
        real: show real reference images, where the data are not phantoms too.
        anonymous: leave out who ran the trials, and on which machine.

    Raises:
        RequestError: there is no such folder, or it holds nothing that has a page.
    """
    if is_image_set(folder):
        return _write(folder / _NAME, "set.html", _sound(folder, lambda: set_view(folder, None)))
    trials = [without_people(t) if anonymous else t for t in collect_trials(folder)]
    if not (has_page(trials[0]) if is_trial(folder) else _is_shown(trials)):
        raise RequestError(_without_page(folder, trials))
    if is_trial(folder):
        return write_trial_page(trials[0], real, in_study=(folder.absolute().parent / _NAME).is_file())
    return write_merged([_with_page(trial, real) if has_page(trial) else trial for trial in trials], folder, real)


def _is_shown(trials: Sequence[TrialSummary]) -> bool:
    """Whether there is something to show of a study: a trial that has a page, or one that runs."""
    return any(has_page(t) or t.state == RUNNING for t in trials)


def is_image_set(folder: Path) -> bool:
    """Whether the folder is a generated set that no trial drew alone, as ``join`` makes one."""
    return (folder / LEDGER).is_file() and not is_trial(folder)


def _without_page(folder: Path, trials: Sequence[TrialSummary]) -> str:
    """Why there is no page: nothing is done yet, what is done is of a command that has nothing to show, or its files are gone."""
    commands = {trial.settings.get("command", "") for trial in trials if trial.state == DONE}
    kept = [f"{command}: see {_KEPT[command]} in each trial's folder" for command in sorted(commands & _KEPT.keys())]
    if kept:
        return f"{folder} has no trial of run, evaluate, generate or classify, of which pages are made; {'; '.join(kept)}"
    if any(trial.state == DONE for trial in trials):
        lost = f"{LEDGER} of a generation or scores.json of a classifier is not in the folder of a trial that is done"
        return f"{folder} has no page: {lost}; give the trial's command again with study.force=true"
    return f"{folder} holds no finished trial ({_states(trials)}); finish one first"


def _with_page(trial: TrialSummary, real: bool) -> TrialSummary:
    try:
        write_trial_page(trial, real, in_study=True)
    except RequestError as error:
        return damaged(trial, error)
    return trial


def write_trial_page(trial: TrialSummary, real: bool = False, in_study: bool = False) -> Path:
    """Write the page of a trial that has one, into its folder or where its ``page`` is to lie; its path.

    ``in_study``: the page of its study lies in the folder above.

    Raises:
        RequestError: something that it shows is damaged.
    """
    study_page = f"../{_NAME}" if in_study else ""
    path = trial.page or trial.folder / _NAME
    if is_set(trial):
        return _write(path, "set.html", _sound(trial.folder, lambda: set_view(trial.folder, trial, study_page)))
    if is_classifier(trial):
        return _write(path, "classifier.html", _sound(trial.folder, lambda: classifier_view(trial, study_page)))
    return _write(path, "trial.html", _sound(trial.folder, lambda: trial_view(trial, real, study_page)))


_View = TypeVar("_View")


def _sound(folder: Path, view: Callable[[], _View]) -> _View:
    """What a page shows.

    Raises:
        RequestError: the files that it is made of are damaged.
    """
    try:
        return view()
    except RequestError:
        raise
    except Exception as error:  # a library may raise anything for a damaged file
        raise RequestError(f"the files of {folder} are damaged ({_one_line(error)}); run the trial again") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def write_merged(trials: Sequence[TrialSummary], folder: Path, real: bool = False, refresh: int = 0) -> Path:
    """Write the page of these trials, wherever they lie, into ``folder``; its path.

    It compares those that are scored; where none is, it lists generated sets and classifiers.

    ``refresh``: seconds after which an open page loads itself again; 0: never.

    Raises:
        RequestError: none of them has anything to show.
    """
    if not _is_shown(trials):
        raise RequestError(f"no trial is finished ({_states(trials)}); finish one first")
    if any(map(has_page, trials)) and not any(t.finished for t in trials) and not compares_classifiers(trials):
        return _write(folder / _NAME, "overview.html", _sound(folder, lambda: overview_view(trials, folder)), refresh=refresh)
    view = _sound(folder, lambda: study_view(trials, folder, real))
    for name, content in view.beside:
        (folder / name).parent.mkdir(exist_ok=True)
        write_bytes(folder / name, content)
    return _write(folder / _NAME, "study.html", view, script=_script(), refresh=refresh)


def write_collection(trials: Sequence[TrialSummary], folder: Path, real: bool = False) -> Path:
    """Write the page of trials of several studies into ``folder``, and below it a page for each trial, wherever the trial lies; its path.

    Raises:
        RequestError: none of them has anything to show.
    """
    below = folder / _TRIALS
    is_new = not below.exists()
    named = [replace(t, page=below / f"{i:03d}-{t.folder.name}.html") if has_page(t) else t for i, t in enumerate(trials)]
    try:
        if any(t.page for t in named):
            below.mkdir(exist_ok=True)
        return write_merged([_with_page(t, real) if t.page else t for t in named], folder, real)
    except BaseException:
        if is_new:
            shutil.rmtree(below, ignore_errors=True)  # only the study's page links to them
        raise


def _script() -> str:
    """The script of a study's page, as `make frontend` built it; no template, for braces mean something else in it."""
    return (Path(__file__).parent / "templates" / "study.js").read_text(encoding="utf-8").replace("</script", "<\\/script")


def _states(trials: Sequence[TrialSummary]) -> str:
    return "; ".join(f"{t.name}: {t.state}" + (f", {t.problem}" if t.problem else "") for t in trials)


def _write(path: Path, template: str, view: TrialView | SetView | ClassifierView | OverviewView | StudyView, **parts: str | int) -> Path:
    """Render in memory, then put the page in place at once, so that a reader never sees half of it."""
    write_text(path, _templates().get_template(template).render(view=view, words=Words(), **parts))
    return path


class Words:
    """The glossary as a page is made: ``use`` gives a term and keeps it, so that what the page says of each stands on it once."""

    def __init__(self) -> None:
        self.all = load_glossary()
        self._used: dict[str, Term] = {}

    def use(self, key: str) -> Term:
        """The term of ``key``, which the page will then explain."""
        return self._used.setdefault(key, self.all[key])

    @property
    def used(self) -> tuple[Term, ...]:
        """Terms that the page has used, in the order of first use."""
        return tuple(self._used.values())


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pathsynth.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
