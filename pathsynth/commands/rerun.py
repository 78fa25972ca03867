"""`pathsynth rerun <trial folder> [--into <folder>]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.markup import escape
from rich.table import Table

from pathsynth.ledger.errors import RequestError
from pathsynth.studies.execution.trial_rerun import foreign_targets, repeat
from pathsynth.studies.trials.closing import EXIT_DONE, EXIT_FAILED
from pathsynth.studies.trials.state import DONE
from pathsynth.studies.trials.trial_diff import Compared, compare_trials, differing_versions
from pathsynth.terminal.tables import print_table


def rerun_trial(folder: Path, into: Path | None, yes: bool) -> int:
    """Repeat a trial, print what is the same and what is not, and return the exit status: 0 if all is the same, else 1.

    A manifest can name any class, and a trial may come from another person: classes that no shipped configuration names run only after
    a yes, given on a terminal or as ``--yes``.

    Raises:
        RequestError: as :func:`pathsynth.studies.execution.trial_rerun.repeat`, or there was no yes.
        KeyboardInterrupt: asked to stop.
    """
    _ask_for(foreign_targets(folder), yes)
    place, state = repeat(folder, into)
    if state.state != DONE:
        print(f"the rerun is {state.state}: {place}")
        return EXIT_FAILED
    compared = compare_trials(folder, place)
    print_table(_table(compared))
    for line in differing_versions(folder, place):
        print(f"another version: {line}")
    same = all(row.same for row in compared)
    print(f"{'the same' if same else 'not the same'}: {place}")
    return EXIT_DONE if same else EXIT_FAILED


def _ask_for(classes: Sequence[str], yes: bool) -> None:
    if not classes or yes:
        return
    line = f"the manifest runs code of {', '.join(classes)}"
    if not sys.stdin.isatty():
        raise RequestError(f"{line}; look at it, then allow it with --yes")
    if not typer.confirm(f"{line}; run it?"):
        raise RequestError(f"{line}, which was not allowed; nothing was run")


def _table(compared: Sequence[Compared]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("result", "rerun", "what it is, or was → is now"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "rerun")
    for row in compared:
        table.add_row(escape(row.what), "[green]same[/]" if row.same else "[red]differs[/]", escape(row.detail))
    return table
