"""`pathsynth report <trial or study folder>`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pathsynth.report.collect import collect_trials
from pathsynth.report.page import write_report
from pathsynth.report.table import demo_table

_WIDE = 160


def make_report(folder: Path) -> None:
    """Write the page, print the main scores as a table, and last where the page is.

    Raises:
        RequestError: there is no such folder, or no finished trial in it.
    """
    page = write_report(folder)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    console.print(demo_table(collect_trials(folder)))
    print(f"report: {page}")
