"""Content of the page of a study without agreement scores: its generated sets and its classifiers, a line each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pathsynth.ledger.errors import RequestError
from pathsynth.report.classifier_view import SCORES, main_scores, read_scores
from pathsynth.report.collect import TrialSummary
from pathsynth.report.scores import Cell
from pathsynth.report.set_view import ClassCounts, accepted_images, set_counts
from pathsynth.report.strips import Strip, image_strip
from pathsynth.report.trial_images import LEDGER
from pathsynth.studies.trials.state import DONE

_STRIP, _LARGEST = 9, 64


@dataclass(frozen=True)
class SetLine:
    """A generated set: its name, the link to its page, its counts over all classes, and some of its images (None: it has none)."""

    name: str
    link: str
    counts: ClassCounts
    strip: Strip | None


@dataclass(frozen=True)
class ClassifierLine:
    """A classifier: its name, the link to its page, and its main scores on the images that ``where`` names."""

    name: str
    link: str
    accuracy: Cell | None
    f1: Cell | None
    where: str


@dataclass(frozen=True)
class OverviewView:
    """``others``: name, state and reason of the trials that have no page."""

    title: str
    question: str
    sets: tuple[SetLine, ...]
    classifiers: tuple[ClassifierLine, ...]
    others: tuple[tuple[str, str, str], ...]


def is_set(trial: TrialSummary) -> bool:
    """Whether the trial drew a set of images that nothing has scored."""
    return trial.result is None and trial.state == DONE and (trial.folder / LEDGER).is_file()


def is_classifier(trial: TrialSummary) -> bool:
    """Whether the trial trained a classifier and nothing else."""
    return trial.result is None and trial.state == DONE and (trial.folder / SCORES).is_file()


def has_page(trial: TrialSummary) -> bool:
    """Whether the trial has a page of its own: it was evaluated, or it is a generated set or a classifier."""
    return trial.finished or is_set(trial) or is_classifier(trial)


def overview_view(trials: Sequence[TrialSummary], home: Path) -> OverviewView:
    """The view of a study; ``home`` is the folder that its page will lie in.

    Raises:
        RequestError: an image, or the files of a trial, are damaged.
    """
    return OverviewView(
        title=trials[0].study,
        question=next((t.question for t in trials if t.question), ""),
        sets=tuple(_set_line(t, home) for t in trials if is_set(t)),
        classifiers=tuple(_classifier_line(t, home) for t in trials if is_classifier(t)),
        others=tuple((t.name, t.state, t.problem) for t in trials if not (is_set(t) or is_classifier(t))),
    )


def _set_line(trial: TrialSummary, home: Path) -> SetLine:
    return SetLine(
        trial.label,
        _link(trial, home),
        set_counts(trial.folder, trial.settings)[-1],
        image_strip(accepted_images(trial.folder, _STRIP), _STRIP, _LARGEST),
    )


def _classifier_line(trial: TrialSummary, home: Path) -> ClassifierLine:
    try:
        records = read_scores(trial.folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{trial.folder / SCORES} is damaged ({error}); run the trial again") from error
    return ClassifierLine(trial.label, _link(trial, home), *main_scores(records))


def _link(trial: TrialSummary, home: Path) -> str:
    page = trial.page or trial.folder / "report.html"
    return quote(os.path.relpath(page, home)) if page.is_file() else ""
