"""`pathsynth report <trial or study folder> [--format html|md|csv|parquet]`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pathsynth.ledger.errors import RequestError
from pathsynth.report.collect import collect_trials
from pathsynth.report.page import write_report
from pathsynth.report.table import demo_table

_WIDE = 160


def make_report(folder: Path, form: str = "html") -> None:
    """Write the page (or the tables in another form), print the main scores as a table, and last where the file is.

    Raises:
        RequestError: there is no such folder or form, or no finished trial in it.
    """
    page = write_report(folder) if form == "html" else _exported(folder, form)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    console.print(demo_table(collect_trials(folder)))
    print(f"report: {page}")


def _exported(folder: Path, form: str) -> Path:
    from pathsynth.report.export import FORMS, export  # loads pandas

    if form not in FORMS:
        raise RequestError(f"--format {form} is not known; choose html, {', '.join(FORMS)}")
    return export(folder, form)
