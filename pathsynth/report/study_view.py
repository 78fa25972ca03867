"""What the page of a study shows: its trials side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pathsynth.report.collect import TrialSummary
from pathsynth.report.plots import IntervalRow, interval_plot
from pathsynth.report.scores import Cell, Scores, cell
from pathsynth.report.sheets import Strip, class_strips
from pathsynth.report.trial_view import beside_paper, class_name


@dataclass(frozen=True)
class StudyRow:
    """One trial in the table; ``link`` is its own report, relative to the study's folder (empty: it has none)."""

    name: str
    link: str
    differing: tuple[str, ...]
    state: str
    problem: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class PictureRow:
    """First attempts and accepted images of one class."""

    name: str
    first: Strip | None
    accepted: Strip | None


@dataclass(frozen=True)
class TrialPictures:
    """The pictures of one trial, a row a class."""

    label: str
    link: str
    rows: tuple[PictureRow, ...]


@dataclass(frozen=True)
class StudyView:
    """A study as its page shows it."""

    title: str
    question: str
    data: str
    finished: int
    rows: tuple[StudyRow, ...]
    plot: str
    beside_paper: bool
    pictures: tuple[TrialPictures, ...]


def study_view(trials: Sequence[TrialSummary]) -> StudyView:
    """The view of a study with at least one finished trial.

    Raises:
        RequestError: a sheet of one of the trials is damaged.
    """
    finished = [t for t in trials if t.finished]
    published = all(beside_paper(_slugs(t)) for t in finished)
    return StudyView(
        title=finished[0].study,
        question=next((t.question for t in trials if t.question), ""),
        data=", ".join(dict.fromkeys(m.data for t in finished if t.result for m in t.result.metrics)),
        finished=len(finished),
        rows=tuple(_row(t) for t in trials),
        plot=interval_plot([IntervalRow(t.label, t.f1_gate, t.f1_judge) for t in finished], published),
        beside_paper=published,
        pictures=tuple(p for t in finished if (p := _pictures(t)).rows),
    )


def _slugs(trial: TrialSummary) -> tuple[str, ...]:
    return Scores(trial.result.metrics).slugs if trial.result else ()


def _row(trial: TrialSummary) -> StudyRow:
    scores = (trial.f1_gate, trial.f1_judge, trial.acceptance, trial.accepted_judge)
    return StudyRow(trial.name, _link(trial), trial.differing, trial.state, trial.problem, tuple(cell(m) for m in scores))


def _link(trial: TrialSummary) -> str:
    return f"{quote(trial.folder.name)}/report.html" if trial.finished else ""


def _pictures(trial: TrialSummary) -> TrialPictures:
    slugs = _slugs(trial)
    first, accepted = (_strips(trial, name, len(slugs)) for name in ("first_attempts", "accepted"))
    drawn = any((*first, *accepted))
    rows = tuple(PictureRow(class_name(slug), a, b) for slug, a, b in zip(slugs, first, accepted, strict=True))
    return TrialPictures(trial.label, _link(trial), rows if drawn else ())


def _strips(trial: TrialSummary, name: str, classes: int) -> tuple[Strip | None, ...]:
    path = trial.folder / "grids" / f"{name}.png"
    return (class_strips(path, classes, columns=10, largest=64) if classes else None) or (None,) * classes
