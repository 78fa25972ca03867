"""`pathsynth status [folder] [--watch] [--json]`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from pathsynth.commands.interrupt import ctrl_c
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.local_cache import file_stamp, remembered_text
from pathsynth.studies.trials.eta import progress_by_study, status_record
from pathsynth.studies.trials.state import OPEN
from pathsynth.studies.trials.trial_table import MANIFEST, RESULT, TrialRow, most_urgent, print_rows, table_of, trial_folders, trial_rows
from pathsynth.studies.trials.variants import variants

_EVERY_SECONDS = 2.0


def show_status(folder: Path, watch: bool = False, as_json: bool = False) -> None:
    """Print the table of the trials in ``folder``, and what there is to say of its studies.

    Below the table stand how far each study is, which configuration of it is better, and in what trials of one name differ.
    ``watch`` refreshes it every two seconds until Ctrl-C. ``as_json`` prints an object with ``trials``, a list of
    ``study, name, folder, state, stage, detail, reason, step, steps, rate`` (a second), ``seconds`` (so far, or in all),
    ``stage_seconds_left, started, ended`` (ISO 8601, UTC) and ``macro_f1`` (before filtering, by the scorer that the
    study is ranked by: a record as in result.json); ``studies``, by name, and ``totals``, each with ``trials, done, running, failed,
    interrupted, waiting, seconds_left``, and each study with its ``verdict`` in a line. What is not known is null.

    Raises:
        RequestError: there is no such folder, or the flags do not go together.
    """
    if watch and (as_json or not Console().is_terminal):
        raise RequestError("--watch needs a terminal and no --json; leave it out, or use watch(1)")
    if watch:
        _watch(folder)
    elif as_json:
        print(json.dumps(_record(folder), indent=2))
    else:
        _print(folder)


def _print(folder: Path) -> None:
    trials = trial_folders(folder)
    rows = trial_rows(trials)
    if not rows:
        print(f"no trials in {folder}")
        return
    print_rows(rows)
    for line in (*_lines(trials, rows), *_verdict_lines(trials, rows), *variants(trials)):
        print(line)


def _record(folder: Path) -> dict[str, Any]:
    trials = trial_folders(folder)
    rows = trial_rows(trials)
    record, verdicts = status_record(trials, rows, _planned(trials, rows)), _verdicts(trials, rows)
    return {**record, "studies": {study: {**progress, "verdict": verdicts.get(study)} for study, progress in record["studies"].items()}}


def _verdicts(trials: Sequence[Path], rows: Sequence[TrialRow]) -> dict[str, str]:
    """The headline of each study of which two trials or more have a score, as its report gives it."""
    scored: dict[str, int] = Counter(row.study for row in rows if row.f1_gate or row.f1_judge)
    if max(scored.values(), default=0) < 2:
        return {}
    found = {}
    for study in (study for study, count in scored.items() if count > 1):
        own = [(trial, row) for trial, row in zip(trials, rows, strict=True) if row.study == study]
        depends_on = [[str(trial), row.state, *_stamps(trial)] for trial, row in own]
        found[study] = remembered_text("verdicts", own[0][0].parent, depends_on, partial(_headline, own))
    return found


def _headline(trials: Sequence[tuple[Path, TrialRow]]) -> str:
    from pathsynth.report.answer import headline  # loads numpy
    from pathsynth.report.collect import collect_scores
    from pathsynth.report.study_verdict import study_verdict

    known = {trial: [score for score in (row.f1_gate, row.f1_judge) if score] for trial, row in trials}
    return headline(study_verdict(collect_scores(known)))


def _stamps(trial: Path) -> list[list[int] | None]:
    """Of what a verdict is made of; None for a file that is not there."""
    return [list(file_stamp(path)) if path.is_file() else None for path in (trial / MANIFEST, trial / RESULT)]


def _verdict_lines(trials: Sequence[Path], rows: Sequence[TrialRow]) -> list[str]:
    several = len({row.study for row in rows}) > 1
    return [f"{study}: {verdict}" if several else verdict for study, verdict in _verdicts(trials, rows).items()]


def _planned(trials: Sequence[Path], rows: Sequence[TrialRow]) -> list[float | None]:
    """How long each open trial still takes by its plan."""
    if not any(row.state in OPEN for row in rows):
        return [None] * len(rows)
    from pathsynth.studies.planning.estimate import seconds_left  # loads what plans are made of

    return seconds_left(trials, rows)


def _lines(trials: Sequence[Path], rows: Sequence[TrialRow]) -> list[str]:
    """How far each study is, in a line; it has its name where there are several."""
    found = progress_by_study(rows, _planned(trials, rows))
    return [f"{study}: {progress}" if len(found) > 1 else str(progress) for study, progress in found.items()]


def _watch(folder: Path) -> None:
    from rich.live import Live

    with ctrl_c() as pressed, Live(console=Console(), auto_refresh=False) as live:
        while not pressed.is_set():
            live.update(_view(trial_folders(folder), live.console.height), refresh=True)
            pressed.wait(_EVERY_SECONDS)


def _view(trials: Sequence[Path], height: int) -> Group:
    """What fits on a screen of that height: first the trials that something happens to, and every study's lines."""
    rows = trial_rows(trials)
    lines = [*_lines(trials, rows), *_verdict_lines(trials, rows)]
    shown = most_urgent(rows, max(3, height - len(lines) - 3))
    more = [f"… and {len(rows) - len(shown)} more trials"] if len(shown) < len(rows) else []
    return Group(table_of(shown), *map(Text, [*more, *lines]))
