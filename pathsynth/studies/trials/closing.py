"""The end of a command: what became of its trials, as a table and as an exit status."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pathsynth.ledger.atomic import read_json
from pathsynth.ledger.records import Metric, format_score
from pathsynth.studies.trials.outcomes import Outcome, read_outcomes
from pathsynth.studies.trials.state import DONE, INTERRUPTED, PRUNED, RUNNING, read_state, write_state
from pathsynth.studies.trials.trial_table import RESULT, TrialRow, print_rows, trial_rows
from pathsynth.terminal.work_line import working_on
from pathsynth.tracking.syncing import send_hint, sync_hint

_PATIENCE_SECONDS = 20.0
_REFUSED = "refused"
_ATTEMPTS, _SCORES = "attempts.parquet", "scores.json"

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_INTERRUPTED = 0, 1, 2, 130


def close(outcomes_folder: Path, interrupted: bool) -> int:
    """Print the closing table and return the exit status.

    After an interruption, own trials that are still stopping are waited for, so that the table is right; those that
    another process carries out are left to it, and a line says which.
    """
    outcomes = read_outcomes(outcomes_folder)
    if interrupted:
        with working_on("waiting for trials that are stopping"):
            _wait_for([outcome.folder for outcome in outcomes if outcome.own and outcome.folder])
    rows = _rows(outcomes)
    if rows:
        print()
        print_rows(rows)
    if interrupted:
        _print_remaining([outcome.folder for outcome in outcomes if outcome.folder and not outcome.own])
        if not outcomes:  # nothing had begun: the mark of the request is all that there is
            shutil.rmtree(outcomes_folder, ignore_errors=True)
    folders = [outcome.folder for outcome in outcomes if outcome.folder]
    for hint in filter(None, (sync_hint(folders), send_hint(folders))):
        print(hint)
    if interrupted:
        return EXIT_INTERRUPTED
    return _status(rows)


def _status(rows: Sequence[TrialRow]) -> int:
    states = {row.state for row in rows}
    if states <= {DONE, PRUNED}:
        return EXIT_DONE
    return EXIT_REFUSED if states == {_REFUSED} else EXIT_FAILED


def _rows(outcomes: Sequence[Outcome]) -> list[TrialRow]:
    rows = iter(trial_rows([outcome.folder for outcome in outcomes if outcome.folder]))
    return [_with_product(next(rows), o.folder) if o.folder else TrialRow("", o.name, _REFUSED, "", None, o.refused) for o in outcomes]


def _with_product(row: TrialRow, folder: Path) -> TrialRow:
    return replace(row, made=format_product(folder)) if row.state == DONE else row


def format_product(folder: Path) -> str:
    """What a trial without agreement scores made: "35 images of 36 in 40 attempts", "accuracy 0.913 [0.890, 0.932] n=450"; else nothing."""
    if (folder / RESULT).is_file():
        return ""
    if (folder / _ATTEMPTS).is_file():
        import pyarrow.parquet  # slow to import

        rows = pyarrow.parquet.read_table(folder / _ATTEMPTS, columns=["class_slug", "slot", "accepted"]).to_pylist()
        slots = {(row["class_slug"], row["slot"]) for row in rows}
        return f"{sum(row['accepted'] for row in rows):,} images of {len(slots):,} in {len(rows):,} attempts"
    if (folder / _SCORES).is_file():
        records = [Metric.from_json(record) for record in read_json(folder / _SCORES)]
        overall = [m for m in records if m.metric == "accuracy" and m.class_ is None]
        return f"accuracy {format_score(overall[-1])} on {overall[-1].split}" if overall else ""
    return ""


def _wait_for(folders: Sequence[Path]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(read_state(folder).state == RUNNING for folder in folders) and time.monotonic() < deadline:
        time.sleep(0.1)
    for folder in folders:
        state = read_state(folder)
        if state.state == INTERRUPTED:  # one that was killed could not say so itself
            write_state(folder, state)


def _print_remaining(folders: Sequence[Path]) -> None:
    left = [folder.name for folder in folders if read_state(folder).state == RUNNING]
    if left:
        print(f"left to the processes that run them: {', '.join(left)}")
