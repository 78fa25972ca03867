"""Studies as the page shows them: their trials, progress, and the newest validation sheet. Reads files only; no torch, no NiceGUI."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import format_score
from pathsynth.report.validation_sheets import sheet_folders
from pathsynth.studies.planning.estimate import seconds_left
from pathsynth.studies.trials.eta import study_progress
from pathsynth.studies.trials.manifest import manifest_of
from pathsynth.studies.trials.state import DONE, RUNNING
from pathsynth.studies.trials.trial_table import TrialRow, study_scorers, trial_folders, trial_rows
from pathsynth.studies.trials.validating import FINETUNE
from pathsynth.vocabulary.durations import format_duration

_SHEETS = ("after_regeneration-*.png", "first_attempts-*.png")
_ENDED_SHEETS = ("grids/accepted.png", "sheet.png")
_MOST = 8
"""Trials of a study whose manifests are read each time."""
PAGE = "report.html"
_SERVED = (".html", ".png", ".jpg", ".webp", ".svg")


@dataclass(frozen=True)
class WatchedStudy:
    """A study by its files; ``line`` says how many of its trials are done, and how long the others may take."""

    name: str
    folder: Path
    trials: tuple[Path, ...]
    rows: tuple[TrialRow, ...]
    line: str

    @property
    def running(self) -> bool:
        """Whether a process works on one of its trials."""
        return any(row.state == RUNNING for row in self.rows)

    @property
    def fine_tuned(self) -> tuple[Path, ...]:
        """The trials that are being fine-tuned now."""
        pairs = zip(self.trials, self.rows, strict=True)
        return tuple(trial for trial, row in pairs if row.state == RUNNING and row.stage == FINETUNE)

    @property
    def has_scores(self) -> bool:
        """Whether there are scores to show on a page."""
        return any(row.f1_gate or row.f1_judge for row in self.rows)


def watched(folder: Path) -> list[WatchedStudy]:
    """The studies in a folder: that of all studies, a study's, or a trial's. None where there is no such folder yet."""
    try:
        trials = trial_folders(folder)
    except RequestError:
        return []
    by_study: dict[Path, list[Path]] = {}
    for trial in trials:
        by_study.setdefault(trial.absolute().parent, []).append(trial)
    return [_study(place, members) for place, members in by_study.items()]


def _study(folder: Path, trials: Sequence[Path]) -> WatchedStudy:
    rows = tuple(trial_rows(trials))
    return WatchedStudy(folder.name, folder, tuple(trials), rows, str(study_progress(rows, seconds_left(trials, rows))))


def study_named(folder: Path, name: str) -> WatchedStudy:
    """One of the studies in a folder.

    Raises:
        RequestError: there is none of that name.
    """
    match = next((study for study in watched(folder) if study.name == name), None)
    if match is None:
        raise RequestError(f"no study {name} in {folder}")
    return match


def trial_named(study: WatchedStudy, name: str) -> Path:
    """A trial of a study.

    Raises:
        RequestError: there is none of that name.
    """
    found = next((trial for trial, row in zip(study.trials, study.rows, strict=True) if row.name == name), None)
    if found is None:
        raise RequestError(f"no trial {name} in {study.folder}")
    return found


def cells(row: TrialRow, scorer: str) -> tuple[str, ...]:
    """A trial as a line of a table: name, state, stage, step, rate, time left, score, reason."""
    came = row.came
    counts = row.state == RUNNING and came.step is not None
    score = row.score(scorer)
    left = row.stage_seconds_left
    return (
        row.name,
        row.state,
        row.stage,
        f"{came.step} of {came.steps} {came.detail}" if counts else "",
        f"{came.rate:.3g}/s" if counts and came.rate else "",
        format_duration(left) if left is not None else "",
        format_score(score) if score else "",
        row.reason,
    )


HEADINGS = ("trial", "state", "stage", "step", "rate", "left in the stage", "macro-F1 before filtering", "reason")


def scorer_of(study: WatchedStudy) -> str:
    """The scorer that its trials are compared by."""
    return study_scorers(study.rows)[study.rows[0].study]


@dataclass(frozen=True)
class Sheet:
    """A contact sheet on the disk, and when it was written."""

    path: Path
    written: datetime


def newest_sheet(trial: Path) -> Sheet | None:
    """The sheet of a trial's newest validation; of a trial that has ended, that of its accepted images. None where there is none (yet)."""
    found = [path for place in sheet_folders(trial) for pattern in _SHEETS for path in place.rglob(pattern)]
    found = found or [trial / name for name in _ENDED_SHEETS if (trial / name).is_file()]
    times = [(path.stat().st_mtime, -i, path) for i, path in enumerate(found) if path.is_file()]
    if not times:
        return None
    written, _, path = max(times)
    return Sheet(path, datetime.fromtimestamp(written).astimezone())


@dataclass(frozen=True)
class StudyView:
    """A study on the page: its trials, the newest sheet of ``sheet_of`` (a trial's name), and the commands that continue it."""

    study: WatchedStudy
    sheet_of: str
    sheet: Sheet | None
    commands: tuple[str, ...]


def views(folder: Path, chosen: tuple[str, str] | None = None) -> list[StudyView]:
    """The studies in a folder; ``chosen``: study and name of the trial whose sheet is wanted, else it is that of one that runs."""
    return [_view(study, chosen[1] if chosen and chosen[0] == study.name else "") for study in watched(folder)]


def _view(study: WatchedStudy, chosen: str) -> StudyView:
    pairs = list(zip(study.trials, study.rows, strict=True))
    stopped = [trial for trial, row in pairs if row.state not in (DONE, RUNNING)][:_MOST]
    commands = tuple(dict.fromkeys(command for command in map(command_of, stopped) if command))
    order = sorted(pairs, key=lambda pair: (pair[1].name != chosen, pair[1].state != RUNNING))[: 1 if chosen else _MOST]
    sheets = ((row.name, sheet) for trial, row in order if (sheet := newest_sheet(trial)))
    name, sheet = next(sheets, (chosen, None))
    return StudyView(study, name, sheet, commands)


def command_of(trial: Path) -> str:
    """The command that continues or repeats a trial; empty where its manifest lacks it."""
    try:
        manifest = manifest_of(trial)
    except RequestError:
        return ""
    return shlex.join(["pathsynth", manifest.config.command, *manifest.overrides])


def report_file(study: WatchedStudy, path: str) -> Path:
    """A file of a study's page, or of a trial's that it links to.

    Raises:
        RequestError: there is none, or it is not part of a page.
    """
    place = (study.folder / path).resolve()
    inside = place.is_relative_to(study.folder.resolve())
    hidden = any(part.startswith(".") for part in Path(path).parts)
    if not inside or hidden or place.suffix not in _SERVED or not place.is_file():
        raise RequestError(f"no {path} in the page of {study.name}")
    return place


def is_stale(study: WatchedStudy) -> bool:
    """Whether a study's page is missing, or older than a result."""
    page = study.folder / PAGE
    results = [trial / "result.json" for trial in study.trials if (trial / "result.json").is_file()]
    return not page.is_file() or any(result.stat().st_mtime > page.stat().st_mtime for result in results)
