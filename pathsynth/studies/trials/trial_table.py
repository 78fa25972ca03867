"""The table of trials: how far each came, its first score, and what went wrong. Reads files only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.local_cache import FileNotes
from pathsynth.ledger.records import Metric, format_score, read_metrics
from pathsynth.studies.trials.state import DONE, FAILED, INTERRUPTED, PRUNED, RUNNING, WAITING, TrialState, read_state
from pathsynth.terminal.tables import print_table
from pathsynth.vocabulary.durations import format_duration

MANIFEST, RESULT = "manifest.json", "result.json"
GATE, JUDGE = "gate", "judge"
SCORE = "macro-F1 before filtering"
"""The main score, as people read it everywhere."""
_LOG_COLUMNS = 200
_COLOURS = {DONE: "green", RUNNING: "cyan", FAILED: "red", INTERRUPTED: "yellow", PRUNED: "magenta"}


@dataclass(frozen=True)
class TrialRow:
    """A line of the table. ``f1_gate``, ``f1_judge``: macro-F1 before filtering by each; ``came``: how far the process came.

    ``made``: of a trial without these scores, what it made.
    """

    study: str
    name: str
    state: str
    stage: str
    f1_gate: Metric | None
    reason: str
    came: TrialState = field(default_factory=lambda: TrialState(WAITING))
    f1_judge: Metric | None = None
    made: str = ""

    def score(self, scorer: str) -> Metric | None:
        """Macro-F1 before filtering by ``scorer``; None where it was not measured."""
        return self.f1_judge if scorer == JUDGE else self.f1_gate

    @property
    def stage_seconds_left(self) -> float | None:
        """Of the stage that is running, at the rate so far; None where it does not count or the rate is not known."""
        return seconds_left(self.came) if self.state == RUNNING else None

    def seconds(self, now: datetime | None = None) -> float | None:
        """From the trial's start to its end, or to ``now`` while it runs; None where either is not known."""
        return self.came.seconds(now)


def trial_rows(folders: Iterable[Path]) -> list[TrialRow]:
    """The lines of trials. A result that was read before and has not changed since is not read again: a thousand are 80 MB."""
    trials = list(folders)
    notes = {study: FileNotes("scores", study) for study in {folder.parent for folder in trials}}
    rows = [trial_row(folder, partial(_noted_scores, notes[folder.parent])) for folder in trials]
    for known in notes.values():
        known.save()
    return rows


def _noted_scores(notes: FileNotes, path: Path) -> tuple[Metric, ...]:
    records = notes.value(path, lambda: [metric.to_json() for metric in _scores(path)])
    return tuple(Metric.from_json(record) for record in records)


def _scores(path: Path) -> tuple[Metric, ...]:
    return read_metrics(path, "macro_f1", "before filtering")


def trial_row(folder: Path, read_scores: Callable[[Path], Iterable[Metric]] = _scores) -> TrialRow:
    """The line of a trial, from its state and its result. A result that cannot be read is the reason where there is no other.

    ``read_scores``: how macro-F1 is read from a result.
    """
    state = read_state(folder)
    stage = state.stage if state.state != DONE else ""
    scores, reason = {}, state.reason
    if (folder / RESULT).is_file():
        try:
            scores = {metric.scorer: metric for metric in read_scores(folder / RESULT)}
        except RequestError as error:
            reason = reason or str(error)
    named = folder.absolute()
    return TrialRow(named.parent.name, named.name, state.state, stage, scores.get(GATE), reason, state, scores.get(JUDGE))


def main_scorer(scores: Iterable[tuple[Metric | None, Metric | None]]) -> str:
    """Whose macro-F1 the trials of a study are ranked by, of each one's by gate and judge: the judge's where all that have one have it."""
    return JUDGE if all(judge for gate, judge in scores if gate or judge) else GATE


def study_scorers(rows: Sequence[TrialRow]) -> dict[str, str]:
    """The main scorer of each study, by its name."""
    return {study: main_scorer((r.f1_gate, r.f1_judge) for r in rows if r.study == study) for study in dict.fromkeys(r.study for r in rows)}


def trial_folders(root: Path) -> list[Path]:
    """The trials in ``root``: a trial's own folder, a study's, or the folder of all studies.

    Raises:
        RequestError: there is no such folder.
    """
    if not root.is_dir():
        raise RequestError(f"no folder {root}; trials appear there after `pathsynth run`, or name another folder")
    if (root / MANIFEST).is_file():
        return [root]
    folders = [path.parent for path in (*root.glob(f"*/{MANIFEST}"), *root.glob(f"*/*/{MANIFEST}"))]
    return sorted(path for path in folders if not any(part.startswith(".") for part in path.relative_to(root).parts))


def print_rows(rows: Iterable[TrialRow], console: Console | None = None) -> None:
    """Print the table."""
    print_table(table_of(list(rows)), console, _LOG_COLUMNS)


def most_urgent(rows: Sequence[TrialRow], count: int) -> list[TrialRow]:
    """At most ``count`` rows in their order: running ones, then what went wrong, what waits, and what is done."""
    order = (RUNNING, FAILED, INTERRUPTED, WAITING, PRUNED, DONE)
    ranks = {state: rank for rank, state in enumerate(order)}
    chosen = sorted(range(len(rows)), key=lambda i: ranks.get(rows[i].state, 0))[:count]
    return [rows[i] for i in sorted(chosen)]


def table_of(rows: Sequence[TrialRow]) -> Table:
    """The table of the rows; a column of studies where there are several, and the scorer in the heading where there is one for all."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    several = len({row.study for row in rows}) > 1
    scorers = study_scorers(rows)
    used = {scorers[row.study] for row in rows if row.f1_gate or row.f1_judge}
    one_scorer = next(iter(used)) if len(used) == 1 else ""
    score = f"{SCORE}, {one_scorer}" if one_scorer else SCORE if used or not any(row.made for row in rows) else "made"
    headings = [*(["study"] if several else []), "trial", "state", score, "reason or stage"]
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("trial", "state"))
    for row in rows:
        colour = _COLOURS.get(row.state, "dim")
        scorer = scorers[row.study]
        metric = row.score(scorer)
        result = format_score(metric) + ("" if one_scorer else f" by the {scorer}") if metric else row.made or "–"
        study = [Text(row.study)] if several else []
        table.add_row(*study, Text(row.name), Text(row.state, colour), Text(result), Text(_status_text(row)))
    return table


def _status_text(row: TrialRow) -> str:
    """The reason of what went wrong, or how far the trial is."""
    return row.reason or (progress_words(row.came) if row.state == RUNNING else row.stage)


def progress_words(came: TrialState) -> str:
    """How far a trial that runs is: "finetune: 120 of 600 steps, 3.1/s, 3 min left"; of a stage that does not count its name alone."""
    if came.step is None:
        return came.stage
    rate = f", {came.rate:.3g}/s" if came.rate else ""
    left = seconds_left(came)
    count = f"{came.step} of {came.steps} {came.detail}".rstrip()
    return f"{came.stage}: {count}{rate}" + (f", {format_duration(left)} left" if left is not None else "")


def seconds_left(came: TrialState) -> float | None:
    """Of the stage that is running, at the rate so far; None where it does not count or the rate is not known."""
    if came.step is None or came.steps is None or not came.rate:
        return None
    return max(0, came.steps - came.step) / came.rate