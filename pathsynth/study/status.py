"""The table of trials: how far each came, its first score, and what went wrong. Reads files only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import Metric, read_result
from pathsynth.study.state import DONE, FAILED, INTERRUPTED, RUNNING, read_state

MANIFEST, RESULT = "manifest.json", "result.json"
_WIDE = 200
_COLOURS = {DONE: "green", RUNNING: "cyan", FAILED: "red", INTERRUPTED: "yellow"}


@dataclass(frozen=True)
class TrialRow:
    """A line of the table; ``f1`` is the macro-F1 before filtering by the gate."""

    study: str
    name: str
    state: str
    stage: str
    f1: Metric | None
    reason: str


def trial_row(folder: Path) -> TrialRow:
    state = read_state(folder)
    stage = state.stage if state.state != DONE else ""
    f1, reason = None, state.reason
    if (folder / RESULT).is_file():
        try:
            f1 = read_result(folder / RESULT).find("macro_f1", "before filtering", "gate")
        except RequestError as error:
            reason = reason or str(error)
    return TrialRow(folder.parent.name, folder.name, state.state, stage, f1, reason)


def trial_folders(root: Path) -> list[Path]:
    """The trials in ``root``: a trial's own folder, a study's, or the folder of all studies.

    Raises:
        RequestError: there is no such folder.
    """
    if not root.is_dir():
        raise RequestError(f"no folder {root}; trials appear there after `pathsynth run`, or name another folder")
    if (root / MANIFEST).is_file():
        return [root]
    found = [path.parent for path in (*root.glob(f"*/{MANIFEST}"), *root.glob(f"*/*/{MANIFEST}"))]
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def print_rows(rows: Iterable[TrialRow], console: Console | None = None) -> None:
    """Print the table; away from a terminal it is as wide as it needs to be."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_WIDE)
    console.print(_table(list(rows)))


def _table(rows: Sequence[TrialRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    several = len({row.study for row in rows}) > 1
    headings = [*(["study"] if several else []), "trial", "state", "before-filter F1, gate", "reason or stage"]
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("trial", "state"))
    for row in rows:
        colour = _COLOURS.get(row.state, "dim")
        told = row.reason or row.stage
        table.add_row(
            *([escape(row.study)] if several else []), escape(row.name), f"[{colour}]{row.state}[/]", _interval(row.f1), escape(told)
        )
    return table


def _interval(metric: Metric | None) -> str:
    if metric is None:
        return "–"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f} (n = {metric.n})"
    return f"{metric.value:.3f} ({metric.low:.3f}–{metric.high:.3f}, n = {metric.n})"
