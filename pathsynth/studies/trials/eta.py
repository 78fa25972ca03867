"""How far a study is, and how long it may take: counted and estimated from the rows of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from pathsynth.ledger.records import Metric
from pathsynth.studies.trials.state import DONE, INTERRUPTED, RUNNING, STATES, WAITING
from pathsynth.studies.trials.trial_table import TrialRow, duration, study_scorers


@dataclass(frozen=True)
class StudyProgress:
    """Trials by state, and the seconds until all that run, wait or were interrupted are done.

    ``seconds_left`` is None where no finished trial tells how long one takes, and 0 where nothing is left. It counts on as
    many trials side by side as run now.
    """

    trials: int
    counts: dict[str, int]
    seconds_left: float | None

    def __str__(self) -> str:
        told = [f"{self.counts[DONE]} of {self.trials} done"]
        told += [f"{self.counts[state]} {state}" for state in STATES[1:] if self.counts[state]]
        return ", ".join(told) + self._left()

    def _left(self) -> str:
        if self.seconds_left == 0:
            return ""
        if self.seconds_left is None:
            return "; no estimate before a trial is done"
        return f"; about {duration(self.seconds_left)} {'left' if self.counts[RUNNING] else 'of work left'}"


def study_progress(rows: Sequence[TrialRow], now: datetime | None = None) -> StudyProgress:
    """The study_progress of one study's trials; ``now`` is the time to which running ones are counted."""
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    return StudyProgress(len(rows), counts, _seconds_left(rows, counts, now or datetime.now(UTC)))


def _seconds_left(rows: Sequence[TrialRow], counts: dict[str, int], now: datetime) -> float | None:
    """Work that is left, shared among the trials that run now; never less than the longest running one needs."""
    open_ = counts[RUNNING] + counts[INTERRUPTED] + counts[WAITING]
    if not open_:
        return 0.0
    took = [seconds for row in rows if row.state == DONE and (seconds := row.seconds())]
    if not took:
        return None
    one = median(took)
    running = [max(one - (row.seconds(now) or 0.0), row.stage_seconds_left or 0.0) for row in rows if row.state == RUNNING]
    work = sum(running) + one * (open_ - len(running))
    return max(work / max(1, len(running)), *running, 1.0)


def progress_by_study(rows: Sequence[TrialRow]) -> dict[str, StudyProgress]:
    """The study_progress of each study, by its name."""
    return {study: study_progress([row for row in rows if row.study == study]) for study in dict.fromkeys(row.study for row in rows)}


def status_record(folders: Sequence[Path], rows: Sequence[TrialRow]) -> dict[str, Any]:
    """What a program reads: every trial, every study and the totals, with keys that stay."""
    scorers = study_scorers(rows)
    return {
        "trials": [_trial(folder, row, row.score(scorers[row.study])) for folder, row in zip(folders, rows, strict=True)],
        "studies": {study: _counts(told) for study, told in progress_by_study(rows).items()},
        "totals": _counts(study_progress(rows)),
    }


def _trial(folder: Path, row: TrialRow, score: Metric | None) -> dict[str, Any]:
    came = asdict(row.came)
    counted = {key: came[key] if row.state == RUNNING else None for key in ("step", "steps", "rate")}
    kept = {key: came[key] for key in ("stage", "detail")} | counted
    times = {"seconds": row.seconds(), "stage_seconds_left": row.stage_seconds_left, "started": came["started"], "ended": came["ended"]}
    named = {"study": row.study, "name": row.name, "folder": str(folder.absolute()), "state": row.state}
    return {**named, **kept, "reason": row.reason, **times, "macro_f1": score.to_json() if score else None}


def _counts(told: StudyProgress) -> dict[str, Any]:
    return {"trials": told.trials, **told.counts, "seconds_left": told.seconds_left}
