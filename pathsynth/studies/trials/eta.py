"""How far a study is, and how long it may take: counted and estimated from the rows of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from pathsynth.ledger.records import Metric
from pathsynth.studies.trials.state import DONE, OPEN, RUNNING, STATES
from pathsynth.studies.trials.trial_table import TrialRow, study_scorers
from pathsynth.vocabulary.durations import format_duration


@dataclass(frozen=True)
class StudyProgress:
    """Trials by state, and the seconds until all that run, wait or were interrupted are done.

    ``seconds_left`` is None where neither plan nor finished trials tell how long one takes, and 0 where nothing is left. It counts on
    as many trials side by side as run now.
    """

    trials: int
    counts: dict[str, int]
    seconds_left: float | None

    def __str__(self) -> str:
        parts = [f"{self.counts[DONE]} of {self.trials} done"]
        parts += [f"{self.counts[state]} {state}" for state in STATES[1:] if self.counts[state]]
        return ", ".join(parts) + self._left()

    def _left(self) -> str:
        if self.seconds_left == 0:
            return ""
        if self.seconds_left is None:
            return "; no estimate before a trial is done"
        return f"; about {format_duration(self.seconds_left)} {'left' if self.counts[RUNNING] else 'of work left'}"


def study_progress(rows: Sequence[TrialRow], planned: Sequence[float | None] = (), now: datetime | None = None) -> StudyProgress:
    """The progress of one study's trials.

    Args:
        rows: the trials.
        planned: for each, how long the stages take that it still needs; None if unknown: the median of the others is taken.
        now: the time to which running ones are counted.
    """
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    return StudyProgress(len(rows), counts, _seconds_left(rows, planned or [None] * len(rows), now or datetime.now(UTC)))


def _seconds_left(rows: Sequence[TrialRow], planned: Sequence[float | None], now: datetime) -> float | None:
    """Work that is left, shared among the trials that run now; never less than the longest running one needs."""
    took = [seconds for row in rows if row.state == DONE and (seconds := row.seconds())]
    usual = median(took) if took else None
    left = [(row, _trial_seconds(row, by_plan, usual, now)) for row, by_plan in zip(rows, planned, strict=True) if row.state in OPEN]
    if not left:
        return 0.0
    known = [seconds for _, seconds in left if seconds is not None]
    if len(known) < len(left):
        return None
    running = [seconds for row, seconds in left if row.state == RUNNING and seconds is not None]
    return max(sum(known) / max(1, len(running)), *running, 1.0)


def _trial_seconds(row: TrialRow, by_plan: float | None, usual: float | None, now: datetime) -> float | None:
    if by_plan is not None or usual is None:
        return by_plan
    return max(usual - (row.seconds(now) or 0.0), row.stage_seconds_left or 0.0) if row.state == RUNNING else usual


def progress_by_study(rows: Sequence[TrialRow], planned: Sequence[float | None] = ()) -> dict[str, StudyProgress]:
    """The progress of each study, by its name; ``planned`` as for :func:`study_progress`."""
    every = list(zip(rows, planned or [None] * len(rows), strict=True))
    names = dict.fromkeys(row.study for row in rows)
    return {name: study_progress(*_columns([(row, left) for row, left in every if row.study == name])) for name in names}


def _columns(pairs: Sequence[tuple[TrialRow, float | None]]) -> tuple[list[TrialRow], list[float | None]]:
    return [row for row, _ in pairs], [left for _, left in pairs]


def status_record(folders: Sequence[Path], rows: Sequence[TrialRow], planned: Sequence[float | None] = ()) -> dict[str, Any]:
    """What a program reads: every trial, every study and the totals, with keys that stay; ``planned`` as for :func:`study_progress`."""
    scorers = study_scorers(rows)
    return {
        "trials": [_trial(folder, row, row.score(scorers[row.study])) for folder, row in zip(folders, rows, strict=True)],
        "studies": {study: _counts(progress) for study, progress in progress_by_study(rows, planned).items()},
        "totals": _counts(study_progress(rows, planned)),
    }


def _trial(folder: Path, row: TrialRow, score: Metric | None) -> dict[str, Any]:
    came = asdict(row.came)
    counted = {key: came[key] if row.state == RUNNING else None for key in ("step", "steps", "rate")}
    counts = {key: came[key] for key in ("stage", "detail")} | counted
    times = {"seconds": row.seconds(), "stage_seconds_left": row.stage_seconds_left, "started": came["started"], "ended": came["ended"]}
    named = {"study": row.study, "name": row.name, "folder": str(folder.absolute()), "state": row.state}
    return {**named, **counts, "reason": row.reason, **times, "macro_f1": score.to_json() if score else None}


def _counts(progress: StudyProgress) -> dict[str, Any]:
    return {"trials": progress.trials, **progress.counts, "seconds_left": progress.seconds_left}
